"""Texts that Hypothesis makes to break what reads them: JSON gone wrong in every way that has a name, and in others."""

import json

from hypothesis import strategies as st

PIECES = [
    # half characters, raw and as JSON spells them, and what no text should hold
    *(
        "\ud800",
        "\\ud800",
        '"\\udfff"',
        "\x00",
        "\\u0000",
        "\x01",
        "\x7f",
        "\x85",
        "\u2028",
        "\ufeff",
        "\ufffe",
        "\U0001f600",
    ),
    # numbers that take all memory or all digits, or are none
    *("1e999999999", "-1e-999999999", "1E400", "0e-400000", "9" * 400, "-0", "0.1e1", "NaN", "-Infinity", "1_0", "0x1"),
    # keys given twice, keys that Python knows, and what JSON is made of
    *('"orderId":"B",', '"":1,', '"__class__":1,', '"model_config":1,', '"t":"m","v":{}', "null", "true", "{}", "[]"),
    *("{", "}", "[", "]", '"', ",", ":", "\\", "/*", "'", " ", "\n", "[" * 40, '{"a":' * 40, "}" * 40),
]
# Any character, halves of surrogate pairs included.
any_text = st.text(st.characters(exclude_categories=[]))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=12,
)
json_texts = values.map(json.dumps)
nested = st.builds(
    lambda opening, depth, closing: opening * depth + closing * depth,
    st.sampled_from(["[", '{"a":', '[{"a":', '{"attributes":']),
    st.integers(1, 3_000),
    st.sampled_from(["", "]", "}", "}]"]),
)


@st.composite
def broken(draw, texts):
    """One of the texts with a few pieces cut out, doubled or put in."""
    text = draw(texts)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 12)))
        change = draw(st.sampled_from(["cut", "double", "put"]))
        middle = {"cut": "", "double": text[start:end] * 2, "put": None}[change]
        text = text[:start] + (draw(st.sampled_from(PIECES)) if middle is None else middle) + text[end:]
    return text


@st.composite
def changed(draw, data):
    """The data, which is JSON's, with one of the values in it replaced, added or gone."""
    data = json.loads(json.dumps(draw(data)))
    parent = data
    while (inner := [value for value in parent.values() if isinstance(value, dict) and value]) and draw(st.booleans()):
        parent = draw(st.sampled_from(inner))
    name = draw(st.sampled_from(sorted(parent)) | any_text)
    if draw(st.booleans()):
        parent.pop(name, None)
    else:
        parent[name] = draw(values)
    return data
