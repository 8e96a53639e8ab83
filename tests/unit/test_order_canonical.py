"""The canonical form of an order. Executions start with it, so one changed byte turns a redelivery into a conflict."""

import hashlib
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.orders.fields import MAX_CANONICAL_BYTES
from shared.orders.order import order_from, parse_order
from tests.unit.orders import order_data, order_of, spellings

SMALLEST = b'{"orderId":"ORDER-123"}'
FULL = (
    '{"attributes":{"channel":"web","note":"Gr\u00fc\u00dfe \U0001f600"},"currency":"EUR","customerId":"CUST-00004",'
    '"items":[{"quantity":2,"sku":"CD-BUNDLE","unitPrice":"29.33"},{"quantity":1,"sku":"MUG 2","unitPrice":"100"}],'
    '"orderId":"ORDER-124","placedAt":"1997-01-01T12:00:00.250000Z"}'
).encode()


def canonical(text):
    return parse_order(text).canonical_bytes()


def with_price(spelling):
    return '{"orderId":"A","items":[{"sku":"S","quantity":1,"unitPrice":' + spelling + "}]}"


def placed_at(spelling):
    return json.dumps({"orderId": "A", "placedAt": spelling})


# ── bytes that must never change ──────────────────────────────────────────────────────────────────


def test_the_smallest_order_keeps_its_bytes_and_its_digest():
    order = parse_order('{"orderId": "ORDER-123"}')
    assert order.canonical_bytes() == SMALLEST
    assert order.digest() == "f84ebc211b395ab309d907df35a64aec26a76433116aeed51772cc36a41ca4ee"


def test_a_full_order_keeps_its_bytes_and_its_digest():
    order = parse_order(
        """
        {
            "orderId": "ORDER-124",
            "placedAt": "1997-01-01T14:00:00.25+02:00",
            "items": [
                {"sku": "CD-BUNDLE", "unitPrice": 29.330, "quantity": 2},
                {"sku": "MUG 2", "unitPrice": "100.00", "quantity": 1}
            ],
            "customerId": "CUST-00004",
            "currency": "EUR",
            "attributes": {"note": "Gr\\u00fc\\u00dfe \\ud83d\\ude00", "channel": "web"}
        }
        """
    )
    assert order.canonical_bytes() == FULL
    assert order.digest() == "fbc0048ee6cd9c3f1b56f6fa33c07ed570e805fd69e6afd525a76ec37b84bb39"


def test_each_character_has_one_canonical_spelling():
    text = '{"orderId":"A","attributes":{"a":"\\u0041\\/\\u002f\\"\\\\ \\b\\f\\n\\r\\t\\u0000\\u001f\\u007f\\u2028"}}'
    expected = '{"attributes":{"a":"A//\\"\\\\ \\b\\f\\n\\r\\t\\u0000\\u001f\u007f\u2028"},"orderId":"A"}'
    assert canonical(text) == expected.encode()


# ── one order, one form ───────────────────────────────────────────────────────────────────────────


@given(order_data())
def test_parsing_canonical_bytes_gives_the_same_bytes_and_the_same_order(data):
    order = order_from(data)
    again = parse_order(order.canonical_bytes().decode())
    assert again == order
    assert again.canonical_bytes() == order.canonical_bytes()


@given(order_data())
def test_canonical_bytes_are_sorted_json_without_spaces_or_unset_fields(data):
    expected = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert order_from(data).canonical_bytes() == expected


@given(st.data(), order_data())
def test_every_spelling_of_an_order_has_the_same_canonical_bytes_and_digest(drawn, data):
    expected = order_from(data)
    order = parse_order(drawn.draw(spellings(data)))
    assert order.canonical_bytes() == expected.canonical_bytes()
    assert order.digest() == hashlib.sha256(expected.canonical_bytes()).hexdigest()


@given(order_data(), order_data())
def test_two_orders_have_the_same_bytes_only_when_they_are_equal(one, other):
    first, second = order_from(one), order_from(other)
    assert (first.canonical_bytes() == second.canonical_bytes()) == (first == second) == (one == other)


@given(order_data())
def test_the_order_in_the_ledger_is_read_back_as_the_same_order(data):
    order = order_from(data)
    assert order_from(order.canonical()) == order


@pytest.mark.parametrize(
    "spelling",
    ["29.33", "29.330", "2933e-2", "2933E-2", "0.2933e2", "0.2933E+02", '"29.33"', '"29.330000"', '"029.33"'],
)
def test_a_price_is_the_same_in_every_spelling(spelling):
    assert canonical(with_price(spelling)) == canonical(with_price('"29.33"'))
    assert b'"unitPrice":"29.33"' in canonical(with_price(spelling))


@pytest.mark.parametrize("spelling", ["0", "0.00", "-0", "-0.0", "0e10", "0E-400000", "0E+400000", '"0"', '"000.000"'])
def test_a_price_of_zero_is_the_same_in_every_spelling(spelling):
    assert b'"unitPrice":"0"' in canonical(with_price(spelling))


@pytest.mark.parametrize("spelling", ["100", "1e2", "1E+2", "10e1", "100.0", '"100"', '"0100.000"'])
def test_a_whole_price_has_neither_exponent_nor_point(spelling):
    assert b'"unitPrice":"100"' in canonical(with_price(spelling))


@pytest.mark.parametrize(
    "spelling",
    [
        "1997-01-01T12:00:00Z",
        "1997-01-01t12:00:00z",
        "1997-01-01 12:00:00Z",
        "1997-01-01T12:00:00.000Z",
        "1997-01-01T12:00:00+00:00",
        "1997-01-01T12:00:00-00:00",
        "1997-01-01T13:00:00+01:00",
        "1996-12-31T23:30:00-12:30",
    ],
)
def test_a_time_is_the_same_in_every_zone_and_spelling(spelling):
    assert canonical(placed_at(spelling)) == b'{"orderId":"A","placedAt":"1997-01-01T12:00:00Z"}'


@pytest.mark.parametrize(
    "text",
    [
        '{"orderId":"A"}',
        ' {\n"orderId" :\t"A" }\r\n',
        '{"orderId":"\\u0041"}',
        '{"orderId":"A","customerId":null}',
        '{"orderId":"A","currency":null,"placedAt":null}',
        '{"orderId":"A","items":[],"attributes":{}}',
    ],
)
def test_null_and_empty_fields_are_the_same_as_unset_fields(text):
    assert canonical(text) == b'{"orderId":"A"}'


@pytest.mark.parametrize(
    "change",
    [
        {"orderId": "B"},
        {"customerId": "c"},
        {"currency": "EUR"},
        {"placedAt": "1997-01-01T12:00:00.000001Z"},
        {"items": [{"sku": "S", "quantity": 2, "unitPrice": "1"}]},
        {"items": [{"sku": "S", "quantity": 1, "unitPrice": "1.000001"}]},
        {"items": [{"sku": "s", "quantity": 1, "unitPrice": "1"}]},
        {"items": [{"sku": "S", "quantity": 1, "unitPrice": "1"}] * 2},
        {"attributes": {"a": "x "}},
        {"attributes": {"A": "x"}},
        {"attributes": {"a": ""}},
    ],
)
def test_an_order_with_any_difference_has_another_digest(change):
    data = {
        "orderId": "A",
        "customerId": "C",
        "currency": "USD",
        "placedAt": "1997-01-01T12:00:00Z",
        "items": [{"sku": "S", "quantity": 1, "unitPrice": "1"}],
        "attributes": {"a": "x"},
    }
    assert order_from({**data, **change}).digest() != order_from(data).digest()


def test_an_attribute_with_an_empty_value_is_kept():
    assert canonical('{"orderId":"A","attributes":{"gift":""}}') == b'{"attributes":{"gift":""},"orderId":"A"}'


def test_the_order_of_items_is_part_of_the_order():
    one, other = ({"sku": sku, "quantity": 1, "unitPrice": "1"} for sku in "AB")
    assert order_from({"orderId": "A", "items": [one, other]}) != order_from({"orderId": "A", "items": [other, one]})


def test_an_order_cannot_be_changed():
    order = parse_order('{"orderId":"A"}')
    with pytest.raises(ValidationError):
        order.order_id = "B"


def test_orders_without_attributes_do_not_share_them():
    parse_order('{"orderId":"A"}').attributes["a"] = "x"
    assert canonical('{"orderId":"B"}') == b'{"orderId":"B"}'


# ── at most 64 KiB ────────────────────────────────────────────────────────────────────────────────


def test_an_order_of_exactly_64_kib_is_accepted():
    assert MAX_CANONICAL_BYTES == 65_536
    assert len(order_from(order_of(65_536)).canonical_bytes()) == 65_536


def test_the_limit_counts_the_canonical_form_not_the_text():
    data = order_of(65_536)
    text = json.dumps(data, indent=20)
    assert len(text) > 2 * 65_536
    assert parse_order(text).canonical_bytes() == order_from(data).canonical_bytes()


def test_money_in_the_canonical_form_is_a_string():
    data = order_from(
        {"orderId": "A", "items": [{"sku": "S", "quantity": 1, "unitPrice": Decimal("0.10")}]}
    ).canonical()
    assert data["items"][0]["unitPrice"] == "0.1"
