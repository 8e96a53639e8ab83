"""No text costs much more than the most expensive order. The tests count operations; they do not measure time.

Time and memory are measured by `python -m bench.worst_message`.
"""

import json
from json import decoder, scanner

import pytest
from hypothesis import example, given, settings, target
from hypothesis import strategies as st
from pydantic import ValidationError

from bench.worst_message import HOSTILE, ORDERS, filled
from orchestrator.payload import refusal
from shared.errors import InvalidOrder, OrderTooLarge
from shared.orders import mistakes
from shared.orders.exact_json import MAX_TEXT_LENGTH
from shared.orders.order import Order, order_from, parse_order
from tests.unit.events import invocation
from tests.unit.orders import order_data

MESSAGE = 1024 * 1024
LINE = {"sku": "S", "quantity": 1, "unitPrice": "1"}


class Visited:
    """Counts the decoded values and keys, also for a truncated text, and the values whose mistakes are looked for."""

    def __init__(self, monkeypatch):
        self.decoded = self.explained = 0
        reasons = mistakes._reasons

        def counted_reasons(rule, value):
            self.explained += 1
            return reasons(rule, value)

        monkeypatch.setattr(scanner, "make_scanner", self._scanner)
        monkeypatch.setattr(mistakes, "_reasons", counted_reasons)

    def by(self, text):
        """The two counts and the errors of a text."""
        self.decoded = self.explained = 0
        try:
            parse_order(text)
        except InvalidOrder as refused:
            return self.decoded, self.explained, refused.errors
        return self.decoded, self.explained, ()

    def _scanner(self, context):
        context.parse_array = lambda at, scan: decoder.JSONArray(at, self._counted(scan, 1))
        context.parse_object = lambda at, strict, scan, *rest: decoder.JSONObject(
            at, strict, self._counted(scan, 2), *rest
        )
        return self._counted(scanner.py_make_scanner(context), 1)

    def _counted(self, scan, number):
        def counted(text, index):
            self.decoded += number
            return scan(text, index)

        return counted


@pytest.fixture
def visited(monkeypatch):
    return Visited(monkeypatch)


@pytest.fixture
def most_decoded(visited):
    """The number of decoded values of the most expensive order. Other texts are compared with it."""
    return max(visited.by(text)[0] for text in ORDERS.values())


scalars = st.sampled_from(["0", "1.5", '""', "null", '"S"', "9" * 64, '"\U0001f600"', '"\\ud800"', "x"])
pieces = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda values: f"[{','.join(values)}]"),
        st.lists(inner, max_size=4).map(
            lambda values: "{" + ",".join(f'"{n}":{value}' for n, value in enumerate(values)) + "}"
        ),
        st.builds(lambda depth, value: "[" * depth + value + "]" * depth, st.integers(1, 400), inner),
    ),
    max_leaves=8,
) | st.sampled_from([json.dumps(LINE), '{"sku":1,"quantity":1.5,"unitPrice":"x"}'])
PLACES = {
    "array": ("[", "]", False),
    "object": ("{", "}", True),
    "items": ('{"orderId":"A","items":[', "]}", False),
    "an item": ('{"orderId":"A","items":[{', "}]}", True),
    "attributes": ('{"orderId":"A","attributes":{', "}}", True),
}


@st.composite
def filled_texts(draw):
    """A text of up to 1 MiB that repeats one piece in one of the places, complete or truncated."""
    beginning, end, named = PLACES[draw(st.sampled_from(sorted(PLACES)))]
    piece = (draw(st.sampled_from(['"@":', '"!@":', '"a":'])) if named else "") + draw(pieces)
    size = draw(st.sampled_from([MESSAGE, MAX_TEXT_LENGTH, 80_000, 4_000]))
    most = draw(st.sampled_from([400_000, 20_000, 10_000, 4_000, 2_000, 50]))
    return filled(beginning, piece, draw(st.sampled_from([end, ""])), size, most)


@pytest.mark.slow
@settings(max_examples=150)
@given(filled_texts())
@example(HOSTILE["1 MiB of empty objects"])
@example(HOSTILE["empty objects"])
@example(HOSTILE["1,200 arrays nested 400 deep"])
@example(HOSTILE["decimals that break off"])
@example(HOSTILE["texts of empty objects"])
@example(HOSTILE["base64 of empty objects"])
@example(HOSTILE["base64 of an order, not in JSON"])
def test_no_text_decodes_more_than_five_times_the_values_of_the_most_expensive_order(visited, most_decoded, text):
    decoded, _, _ = visited.by(text)
    target(decoded)
    assert decoded <= 5 * most_decoded


@pytest.mark.slow
@settings(max_examples=150)
@given(filled_texts())
@example(HOSTILE["unknown fields"])
@example(HOSTILE["8,000 wrong attributes"])
@example(HOSTILE["2,000 items of wrong values"])
@example(HOSTILE["an item of unknown fields"])
@example(HOSTILE["unknown fields of the last item"])
@example(HOSTILE["2,000 items of wrong values in an envelope"])
@example(HOSTILE["items of wrong values in a text"])
@example(HOSTILE["wrong orders in a list"])
@example(HOSTILE["items that have a key twice"])
def test_no_text_has_more_values_explained_than_it_may_have(visited, text):
    _, explained, errors = visited.by(text)
    target(explained)
    assert explained <= 20_000
    assert len(errors) <= 300


# ── before decoding ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_text_is_refused(text):
    with pytest.raises(InvalidOrder):
        parse_order(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x" * 393_217, "393217 characters, more than the 393216 allowed"),
        ('{"orderId":"A"}' + " " * 393_216, "393231 characters, more than the 393216 allowed"),
        (filled("[", "[]", "]", most=20_000), "more than the 20000 JSON values allowed"),
        ("[" + '"' * 80_001, "more than the 20000 JSON values allowed"),
    ],
    ids=["characters", "white space", "values", "quotes"],
)
def test_a_text_larger_than_an_order_is_refused_before_it_is_decoded(monkeypatch, text, reason):
    monkeypatch.setattr(json, "loads", None)
    with pytest.raises(OrderTooLarge) as refused:
        parse_order(text)
    assert str(refused.value) == reason
    answer = refusal(invocation(text))
    assert answer["Error"]["ErrorType"].endswith("OrderTooLarge")


def test_a_text_of_384_ki_characters_is_decoded():
    assert parse_order('{"orderId":"A"}'.ljust(393_216)).order_id == "A"


def test_commas_beside_escaped_quotes_are_not_counted_as_values():
    items = [{**LINE, "sku": '"' + "," * 62 + '"'}] * 550
    assert len(parse_order(json.dumps({"orderId": "A", "items": items})).items) == 550


@given(order_data())
def test_an_escaped_order_is_at_most_six_times_its_canonical_form(data):
    def spelled(value):
        if isinstance(value, dict):
            return "{" + ",".join(f"{spelled(key)}:{spelled(inner)}" for key, inner in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ",".join(map(spelled, value)) + "]"
        return utf_16_escaped(value) if isinstance(value, str) else json.dumps(value)

    text = spelled(data)
    parsed = parse_order(text)
    assert parsed == order_from(data)
    assert len(text) <= 6 * len(parsed.canonical_bytes())


def utf_16_escaped(text):
    units = text.encode("utf-16-be").hex()
    return '"' + "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)) + '"'


@pytest.mark.parametrize("first", ["S", '"', "\\", '\\"', '"\\'])
def test_the_content_of_a_string_does_not_count_as_json_values(first):
    """If an escape were misread, the end of the string `first` would be missed."""
    sku = ",[{" * 20
    data = {"orderId": "A", "items": [{**LINE, "sku": first}, *[{**LINE, "sku": sku}] * 500]}
    assert len(sku) * 500 > 20_000
    assert parse_order(json.dumps(data)) == order_from(data)


@pytest.mark.parametrize("text", ORDERS.values(), ids=ORDERS)
def test_the_most_expensive_orders_are_orders(text):
    assert 55_000 < len(parse_order(text).canonical_bytes()) <= 65_536


@pytest.mark.parametrize("text", ["x" * 300_000, "7" * 300_000, '"' * 300_000, "a,b\n" * 70_000, "<a>,</a>" * 40_000])
def test_a_text_that_is_no_list_or_object_is_not_refused_for_its_values(text):
    """It has at most one. A long CSV is named as CSV."""
    with pytest.raises(InvalidOrder) as refused:
        parse_order(text)
    assert "JSON values" not in str(refused.value)


# ── before pydantic validates each entry ──────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "data",
    [
        {f"f{n}": 0 for n in range(19_000)},
        {"items": [LINE] * 2_001},
        {"attributes": {f"!{n}": 0 for n in range(19_000)}},
        {"items": [{**LINE, "quantity": 0}] * 2_000},
    ],
    ids=["fields", "items", "attributes", "wrong items"],
)
def test_pydantic_keeps_few_errors(data):
    """It would keep an error of 200 bytes for each entry. Their reasons are looked for one by one."""
    with pytest.raises(ValidationError) as refused:
        Order.model_validate({"orderId": "A", **data})
    assert refused.value.error_count() <= 32


def test_two_thousand_items_are_validated_and_then_too_large():
    with pytest.raises(OrderTooLarge):
        order_from({"orderId": "A", "items": [LINE] * 2_000})
