"""Hypothesis strategies for hostile texts: JSON that is invalid or damaged in many ways."""

import json

from hypothesis import strategies as st

PIECES = [
    # lone surrogates, raw and escaped, and characters that no text should contain
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
    # numbers that need much memory or many digits, and invalid numbers
    *("1e999999999", "-1e-999999999", "1E400", "0e-400000", "9" * 400, "-0", "0.1e1", "NaN", "-Infinity", "1_0", "0x1"),
    # duplicate keys, names with a meaning in Python, and JSON syntax
    *('"orderId":"B",', '"":1,', '"__class__":1,', '"model_config":1,', '"t":"m","v":{}', "null", "true", "{}", "[]"),
    *("{", "}", "[", "]", '"', ",", ":", "\\", "/*", "'", " ", "\n", "[" * 40, '{"a":' * 40, "}" * 40),
]
# Any character, with lone surrogates too.
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
    """A text in which a few pieces are removed, doubled or inserted."""
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
    """JSON data in which one value is replaced, added or removed."""
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
