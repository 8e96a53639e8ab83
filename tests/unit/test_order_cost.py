"""No text costs much more than the most expensive order. The tests count operations; they do not measure time.

Time and memory are measured by `python -m bench.worst_message`.
"""

import json
from contextlib import suppress
from json import decoder, scanner

import pytest
from hypothesis import example, given, settings, target
from hypothesis import strategies as st

from bench.worst_message import HOSTILE, ORDERS, filled
from orchestrator.payload import refusal
from shared.errors import InvalidOrder, OrderTooLarge
from shared.orders import order
from shared.orders.exact_json import MAX_TEXT_LENGTH
from shared.orders.order import order_from, parse_order
from tests.unit.orders import order_data
from tests.unit.test_payload import invocation

MESSAGE = 1024 * 1024
LINE = {"sku": "S", "quantity": 1, "unitPrice": "1"}


class Visited:
    """Counts the decoded values and keys, also for a truncated text, and the errors that are built."""

    def __init__(self, monkeypatch):
        self.decoded = self.errors = 0
        field_errors = order._field_errors

        def counted_errors(error):
            self.errors += error.error_count()
            return field_errors(error)

        monkeypatch.setattr(scanner, "make_scanner", self._scanner)
        monkeypatch.setattr(order, "_field_errors", counted_errors)

    def by(self, text):
        self.decoded = self.errors = 0
        with suppress(InvalidOrder):
            parse_order(text)
        return self.decoded, self.errors

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
@example(HOSTILE["1 MiB of [{},{},…]"])
@example(HOSTILE["[{},{},…]"])
@example(HOSTILE["1,200 arrays nested 400 deep"])
@example(HOSTILE["decimals that break off"])
def test_no_text_decodes_more_than_five_times_the_values_of_the_most_expensive_order(visited, most_decoded, text):
    decoded, _ = visited.by(text)
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
def test_no_text_builds_more_than_two_hundred_errors(visited, text):
    _, errors = visited.by(text)
    target(errors)
    assert errors <= 200


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
        ('"' * 80_001, "more than the 20000 JSON values allowed"),
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


# ── before pydantic validates each entry ──────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("data", "field", "reason"),
    [
        ({f"f{n}": 0 for n in range(33)}, "", "should have at most 32 fields"),
        ({"items": [{f"f{n}": 0 for n in range(33)}]}, "items.0", "should have at most 32 fields"),
        ({"items": [LINE] * 2_001}, "items", "should have at most 2000 items"),
        ({"attributes": {f"!{n}": 0 for n in range(51)}}, "attributes", "should have at most 50 attributes"),
        ({"k" * 2_049: 0}, "", "should have names of at most 2048 characters in all"),
        ({"items": [{"k" * 2_049: 0}]}, "items.0", "should have names of at most 2048 characters in all"),
        ({"attributes": {"k" * 3_201: ""}}, "attributes", "should have names of at most 3200 characters in all"),
    ],
    ids=["fields", "fields of an item", "items", "attributes", "names", "names of an item", "names of attributes"],
)
def test_too_many_or_too_long_entries_give_one_error(data, field, reason):
    with pytest.raises(InvalidOrder) as refused:
        order_from(data if field == "" else {"orderId": "A", **data})
    assert [(error.field, error.reason) for error in refused.value.errors] == [(field, reason)]


def test_invalid_items_are_named_up_to_twenty_errors():
    items = [LINE, {**LINE, "quantity": 0}, "S", LINE, {**LINE, "sku": "", "gift": 1}]
    with pytest.raises(InvalidOrder) as refused:
        order_from({"orderId": "A", "items": items, "currency": "usd"})
    assert [error.field for error in refused.value.errors] == [
        *("items.1.quantity", "items.2", "items.4.sku", "items.4.gift", "currency")
    ]
    with pytest.raises(InvalidOrder) as refused:
        order_from({"orderId": "A", "items": [LINE, *[{}] * 1_000]})
    assert len(refused.value.errors) == 21
    assert refused.value.errors[19].field == "items.7.quantity"
    assert str(refused.value.errors[20]) == "and more"
