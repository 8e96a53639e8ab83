"""What a producer is told about an order with mistakes: all of them, in JSON's words, each once."""

import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench.worst_message import HOSTILE
from shared.aws.rejected_orders import MAX_FIELD_ERRORS_BYTES, field_errors_json
from shared.errors import InvalidOrder
from shared.orders.order import order_from, parse_order
from tests.unit.hostile import changed, json_texts
from tests.unit.orders import order_data

LINE = {"sku": "S", "quantity": 1, "unitPrice": "1"}
PYTHON = re.compile(
    r"tuple|dict\b|dictionary|instance|\bOrder\b|\bint\b|integer|\bbool|None|True|False|Input|utf-8-sig|pydantic|valid",
)


def told(data):
    """The field errors of data, or of a text, as a producer reads them in a reject."""
    with pytest.raises(InvalidOrder) as refused:
        parse_order(data if isinstance(data, str) else json.dumps(data))
    return [
        f"{error['field']}: {error['reason']}".removeprefix(": ")
        for error in json.loads(field_errors_json(refused.value.errors))
    ]


def errors_of(text):
    """The errors of a text, or None for an order."""
    try:
        parse_order(text)
    except InvalidOrder as refused:
        return refused.errors
    return None


# ── each mistake once, the top level first ────────────────────────────────────────────────────────


def test_the_mistakes_of_the_top_level_come_first():
    order = {"items": [{"sku": ""}], "attributes": {"a": 1}, "coupon": 1, "currency": 1, "orderId": ""}
    fields = [line.partition(":")[0] for line in told(order)]
    assert fields[:3] == ["orderId", "currency", "coupon"]
    assert [field.count(".") for field in fields] == sorted(field.count(".") for field in fields)
    assert set(fields[3:]) == {"attributes.a", "items.0.sku", "items.0.quantity", "items.0.unitPrice"}


def test_the_same_mistake_in_every_line_is_one_entry():
    assert told({"orderId": "A", "items": [{**LINE, "name": "x"}] * 30}) == ["items.*.name: unknown field (30 times)"]


def test_a_mistake_in_some_lines_names_these_lines():
    items = [LINE, {**LINE, "quantity": 0}, LINE, {**LINE, "quantity": 0}]
    assert told({"orderId": "A", "items": items}) == [
        "items.*.quantity: should be a whole number from 1 to 1000000 (2 times: items.1, items.3)"
    ]


def test_a_mistake_in_very_many_lines_names_the_first():
    items = [LINE, *[{**LINE, "sku": ""}] * 11]
    (error,) = told({"orderId": "A", "items": items})
    assert error.endswith(" (11 times, the first in items.1)")


def test_a_mistake_in_one_line_has_the_path_of_this_line():
    assert told({"orderId": "A", "items": [LINE, {**LINE, "unitPrice": -1}]}) == [
        "items.1.unitPrice: should not be negative"
    ]


def test_no_mistake_hides_behind_another_number_of_mistakes():
    """The order of a real shop has about 90 fields, and each of its lines about 30."""
    order = {f"shop_field_{n}": n for n in range(90)} | {"orderId": 7}
    order["items"] = [{f"line_field_{n}": n for n in range(30)} for _ in range(40)]
    lines = told(order)
    assert len(lines) == 91 + 33
    assert not any("more" in line for line in lines)
    assert "shop_field_89: unknown field" in lines
    assert lines[-1] == "items.*.line_field_29: unknown field (40 times)"


def test_more_names_than_a_reject_has_space_for_are_counted():
    lines = told({"orderId": 7, "items": [{f"{'n' * 50}{n}": 1} for n in range(1_000)]})
    assert lines[0].startswith("orderId: ")
    named = [line for line in lines if "nnn" in line]
    assert 50 < len(named) < 1_000
    assert f"items.*.*: unknown field ({1_000 - len(named)} times)" in lines


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_reject_has_space_for_every_error_of_a_hostile_text(text):
    with pytest.raises(InvalidOrder) as refused:
        parse_order(text)
    written = field_errors_json(refused.value.errors)
    assert len(written) <= MAX_FIELD_ERRORS_BYTES
    assert len(json.loads(written)) == len(refused.value.errors)


# ── JSON's words ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ([], "should be an object, not a list"),
        ('"A"', "should be an object, not a string"),
        (7, "should be an object, not a number"),
        (None, "should be an object, not null"),
        (True, "should be an object, not true or false"),
        ({}, "orderId: is required"),
        ({"orderId": "A", "items": LINE}, "items: should be a list, not an object"),
        ({"orderId": "A", "items": "x"}, "items: should be a list, not a string"),
        ({"orderId": "A", "items": [7]}, "items.0: should be an object, not a number"),
        ({"orderId": "A", "attributes": []}, "attributes: should be an object, not a list"),
        (
            {"orderId": "A", "items": [{**LINE, "quantity": "2"}]},
            "items.0.quantity: should be a whole number from 1 to 1000000, not a string",
        ),
        (
            {"orderId": "A", "items": [{**LINE, "unitPrice": None}]},
            "items.0.unitPrice: should be a string or a number that is a decimal such as 12.50, not null",
        ),
        (
            {"orderId": 1001},
            (
                "orderId: should be a string of 1 to 48 letters (A-Z, a-z), digits, - and _, the first of them a letter"
                " or a digit, not a number"
            ),
        ),
        (
            {"orderId": "#1001"},
            (
                "orderId: should be a string of 1 to 48 letters (A-Z, a-z), digits, - and _, the first of them a letter"
                " or a digit"
            ),
        ),
        (
            {"orderId": "A", "customerId": ""},
            (
                "customerId: should be a string of 1 to 64 letters (A-Z, a-z), digits and _ . : | @ -, the first of"
                " them a letter or a digit: leave it out or write null"
            ),
        ),
        (
            {"orderId": "A", "placedAt": "2026-01-31"},
            (
                "placedAt: should be a string that is an existing time with a zone, as in RFC 3339, such as"
                " 1997-01-01T12:00:00Z or 1997-01-01T13:00:00+01:00"
            ),
        ),
        (
            {"orderId": "A", "attributes": {"gift wrap": "yes"}},
            (
                "attributes.gift wrap: the attribute's name should be a name of 1 to 64 letters (A-Z, a-z), digits and"
                " _ . -"
            ),
        ),
        (
            {"orderId": "A", "attributes": {"weight": 7}},
            (
                "attributes.weight: should be a string of at most 256 characters, none of them half of a surrogate"
                " pair, not a number"
            ),
        ),
        (
            {"orderId": "A", "attributes": {f"{n}": "" for n in range(51)}},
            "attributes: should have at most 50 attributes, and has 51",
        ),
        ({"orderId": "A", "items": [LINE] * 2_001}, "items: should have at most 2000 items, and has 2001"),
    ],
)
def test_a_mistake_is_described_in_words_of_json(data, error):
    assert told(data) == [error]


@given(json_texts | changed(order_data()).map(json.dumps))
@example('"\\ud800"')
def test_no_error_has_a_word_of_python(text):
    for error in errors_of(text) or ():
        assert not PYTHON.search(error.reason.replace("a Python", "")), error.reason


# ── near misses ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "field"),
    [
        *(
            (name, "orderId")
            for name in ("order_id", "orderID", "OrderId", "order-id", "id", "order_number", "ordreId")
        ),
        *((name, "customerId") for name in ("customer_id", "customer", "buyer", "customerID", "custommerId")),
        *((name, "items") for name in ("line_items", "lineItems", "lines", "Items", "orderLines", "item", "positions")),
        *((name, "currency") for name in ("currency_code", "Currency", "curency")),
        *((name, "placedAt") for name in ("created_at", "placed_at", "orderDate", "timestamp")),
        *((name, "attributes") for name in ("metadata", "Attributes", "custom_fields")),
    ],
)
def test_a_near_miss_of_a_field_of_the_order_is_named(name, field):
    order = {"orderId": "A", name: "x"} if field != "orderId" else {name: "x"}
    assert f"{name}: unknown field, did you mean {field}?" in told(order)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        *((name, "sku") for name in ("SKU", "product_id", "articleNumber", "id", "code", "MATNR")),
        *((name, "quantity") for name in ("qty", "Quantity", "count", "quantiy")),
        *((name, "unitPrice") for name in ("price", "unit_price", "UnitPrice", "unit_amount", "unitPrise", "amount")),
    ],
)
def test_a_near_miss_of_a_field_of_an_item_is_named(name, field):
    line = {key: value for key, value in LINE.items() if key != field} | {name: "x"}
    assert f"items.0.{name}: unknown field, did you mean {field}?" in told({"orderId": "A", "items": [line]})


def test_a_field_that_is_there_is_no_near_miss():
    assert told({"orderId": "A", "items": [{**LINE, "price": "1"}]}) == ["items.0.price: unknown field"]


def test_a_field_at_the_wrong_level_says_where_it_belongs():
    assert told({"orderId": "A", "sku": "S", "items": [{**LINE, "currency": "USD"}]}) == [
        "sku: unknown field, sku is a field of an item",
        "items.0.currency: unknown field, currency is a field of the order",
    ]


@pytest.mark.parametrize(
    ("value", "code"),
    [("usd", "USD"), ("Eur", "EUR"), (" GBP ", "GBP"), ("€", "EUR"), ("US$", "USD"), ("Dollars", "USD")],
)
def test_a_currency_in_another_spelling_is_named_for_the_producer(value, code):
    (error,) = told({"orderId": "A", "currency": value})
    assert error.endswith(f"such as USD, did you mean {code}?")


@pytest.mark.parametrize("value", ["chf", "Chf "])
def test_the_named_currency_is_not_in_the_error_text(value):
    """The text is logged, and the currency is a value of the order."""
    with pytest.raises(InvalidOrder) as refused:
        parse_order(json.dumps({"orderId": "A", "currency": value}))
    assert refused.value.errors[0].hint == "did you mean CHF?"
    assert "CHF" not in str(refused.value) + repr(refused.value.errors)


# ── null ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("field", ["customerId", "items", "currency", "placedAt", "attributes"])
def test_null_means_unset_for_every_optional_field(field):
    assert order_from({"orderId": "A", field: None}).canonical_bytes() == b'{"orderId":"A"}'


def test_null_means_unset_for_an_attribute():
    order = order_from({"orderId": "A", "attributes": {"gift": None, "note": "x"}})
    assert order.canonical_bytes() == b'{"attributes":{"note":"x"},"orderId":"A"}'
    assert order_from({"orderId": "A", "attributes": {"gift": None}}).digest() == order_from({"orderId": "A"}).digest()


@pytest.mark.parametrize("name", ["orderId", "sku", "quantity", "unitPrice"])
def test_null_is_no_value_of_a_required_field(name):
    data = {"orderId": None} if name == "orderId" else {"orderId": "A", "items": [{**LINE, name: None}]}
    (error,) = told(data)
    assert error.endswith(", not null")


def test_null_is_no_value_of_an_unknown_field():
    assert told({"orderId": "A", "coupon": None})[0].startswith("coupon: unknown field")


# ── every refusal has a reason ────────────────────────────────────────────────────────────────────

names = st.sampled_from(["orderId", "order_id", "items", "lines", "sku", "qty", "currency", "attributes", "body", "x"])
shapes = st.recursive(
    st.sampled_from([None, True, 1, 0, "", "A", "USD", '{"orderId":"A"}', '["a"]']),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=15,
)


@given(shapes, shapes)
@example({"orderId": "A"}, {"orderId": {"S": "A"}})
@example({"items": {"L": []}}, {"M": {}})
def test_every_refused_message_has_a_reason(value, other):
    for data in (value, {"orderId": "A", "items": value}, {"attributes": value, "detail": other}, [value, other]):
        errors = errors_of(json.dumps(data))
        assert errors is None or errors
        entries = [(error.field, error.reason) for error in errors or ()]
        assert all(reason for _, reason in entries)
        assert len(set(entries)) == len(entries)
