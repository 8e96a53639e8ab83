"""docs/order.schema.json against the parser: what the one accepts, the other accepts too."""

import json
import re
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.validators import extend

from bench.worst_message import HOSTILE, ORDERS
from shared.errors import InvalidOrder, NotJson, OrderTooLarge
from shared.orders.currencies import CURRENCIES
from shared.orders.exact_json import decode
from shared.orders.order import parse_order
from tests.unit.hostile import any_text, broken, changed, json_texts
from tests.unit.orders import order_data, spellings
from tools.generated_docs import DOCS, order_schema
from tools.template_check import ROOT

FEWER = settings(max_examples=settings.default.max_examples // 2)
LINE = {"sku": "S", "quantity": 1, "unitPrice": "1"}
SCHEMA = json.loads((DOCS / "order.schema.json").read_text())
WHAT_NO_SCHEMA_SAYS = {"should have at most 6 digits after the point", "key given twice in one object"}


def as_python(schema):
    """The schema with Python's spelling of its patterns: `$` is the end, not the place before a last line end."""
    if isinstance(schema, dict):
        return {
            name.removesuffix("$") + r"\Z" if name.startswith("^") else name: (
                part.removesuffix("$") + r"\Z" if name == "pattern" else as_python(part)
            )
            for name, part in schema.items()
        }
    return [as_python(part) for part in schema] if isinstance(schema, list) else schema


def is_integer(_checker, value):
    whole = isinstance(value, Decimal) and value.is_finite() and value.adjusted() < 30 and value == int(value)
    return whole or (isinstance(value, int) and not isinstance(value, bool))


# Exact numbers, as the parser reads them.
Validator = extend(Draft202012Validator, type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", is_integer))
VALIDATOR = Validator(as_python(SCHEMA))


def agree(text):
    """Whether the text is an order. Fails if the schema and the parser disagree about what a schema can say."""
    try:
        data = decode(text).data
    except (NotJson, OrderTooLarge):
        with pytest.raises(InvalidOrder):
            parse_order(text)
        return False
    valid = VALIDATOR.is_valid(data)
    try:
        parse_order(text)
    except OrderTooLarge:
        assert valid  # the parser compares the size last
        return False
    except InvalidOrder as refused:
        reasons = {re.sub(r" \(\d+ times.*\)$", "", error.reason) for error in refused.errors}
        assert not valid or reasons <= WHAT_NO_SCHEMA_SAYS, reasons
        return False
    assert valid, next(VALIDATOR.iter_errors(data)).message
    return True


def test_the_schema_is_a_json_schema_and_the_codes():
    Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(order_schema()) == SCHEMA


def test_the_schema_accepts_every_sample():
    lines = (ROOT / "samples" / "cdnow_orders.jsonl").read_text().splitlines()
    assert all(agree(line) for line in lines)
    for line in (ROOT / "samples" / "special_cases.jsonl").read_text().splitlines():
        agree(json.loads(line)["body"])


@pytest.mark.parametrize("text", ORDERS.values(), ids=ORDERS)
def test_the_schema_accepts_the_largest_orders(text):
    assert agree(text)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_the_schema_refuses_what_is_hostile(text):
    assert not agree(text)


values = st.one_of(
    st.sampled_from([None, True, 0, 1, 2.0, -1, 1.5, "", [], {}, "x", "1", 10**12, 10**12 - 1, 1_000_000, 1_000_001]),
    st.sampled_from(["é", "\ud800", "a\n", " a", "A" * 48, "A" * 49, "A" * 64, "A" * 65, "x" * 256, "x" * 257]),
    st.sampled_from([*sorted(CURRENCIES), "usd", "XXX", "XAU", "DEM"]),
    st.from_regex(r"-?[0-9]{1,31}(\.[0-9]{1,31})?\n?", fullmatch=True),
    any_text,
)
digits = st.sampled_from("0123456789")


@st.composite
def times(draw):
    """Times that are nearly RFC 3339."""
    year = draw(st.sampled_from(["0000", "0001", "1900", "1996", "2000", "2025", "9999"]))
    parts = [draw(st.integers(0, top)) for top in (13, 32, 25, 61, 61)]
    month, day, hour, minute, second = (f"{part:02}" for part in parts)
    if draw(st.booleans()):
        month, day = draw(st.sampled_from([("01", "01"), ("12", "31"), ("02", "28"), ("02", "29"), ("04", "30")]))
    fraction = draw(st.sampled_from(["", "", ".", ".5", ".1234567", ",5"]))
    zone = draw(st.sampled_from(["", "Z", "z", "+00:00", "-00:00", "+01:00", "-23:59", "+24:00", "+0100", "-01:60"]))
    separator = draw(st.sampled_from(["T", "t", " ", "", "T "]))
    return (
        f"{year}-{month}-{day}{separator}{hour}:{minute}:{second}{fraction}{zone}{draw(st.sampled_from(['', chr(10)]))}"
    )


@FEWER
@given(times())
@example("0001-01-01T00:00:00+00:01")
@example("0001-01-01T23:00:00+01:00")
@example("0001-01-01T00:00:00-23:59")
@example("9999-12-31T23:59:59-00:01")
@example("9999-12-31T23:59:59.999999999+23:59")
@example("1997-01-01T12:00:00.123456789123Z")
def test_schema_and_parser_agree_about_every_time(time):
    agree(json.dumps({"orderId": "A", "placedAt": time}))


@FEWER
@given(
    st.sampled_from(["orderId", "customerId", "currency", "placedAt", "items", "attributes", "other"]),
    values | st.dictionaries(any_text | st.sampled_from(["a", "A" * 64, "A" * 65, "a b"]), values, max_size=3),
)
def test_schema_and_parser_agree_about_every_value_of_a_field(name, value):
    agree(json.dumps({"orderId": "A", name: value}))


@FEWER
@given(st.sampled_from(["sku", "quantity", "unitPrice", "other"]), values)
def test_schema_and_parser_agree_about_every_value_of_an_item(name, value):
    agree(json.dumps({"orderId": "A", "items": [LINE, {**LINE, name: value}]}))


@FEWER
@given(
    st.sampled_from(["quantity", "unitPrice"]),
    st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,6})?", fullmatch=True),
)
@example("unitPrice", "0.1234567")
@example("unitPrice", "1." + "0" * 5_000)
@example("quantity", "1." + "0" * 5_000)
@example("quantity", "1" + "0" * 5_000)
def test_schema_and_parser_agree_about_every_number(name, number):
    agree(json.dumps({"orderId": "A", "items": [{**LINE, name: "@"}]}).replace('"@"', number))


@pytest.mark.parametrize("number", [0, 50, 51])
def test_schema_and_parser_have_the_same_limit_for_attributes(number):
    assert agree(json.dumps({"orderId": "A", "attributes": {f"{n}": "x" for n in range(number)}})) is (number <= 50)
    assert agree(json.dumps({"orderId": "A", "attributes": {f"{n}": None for n in range(number)}})) is (number <= 50)


@pytest.mark.parametrize("number", [1_500, 2_001])
def test_schema_and_parser_have_the_same_limit_for_items(number):
    assert agree(json.dumps({"orderId": "A", "items": [LINE] * number}).replace(" ", "")) is (number <= 2_000)


@FEWER
@given(order_data().flatmap(spellings) | changed(order_data()).map(json.dumps) | broken(json_texts) | json_texts)
def test_schema_and_parser_agree_about_any_text(text):
    agree(text)


def test_the_exceptions_are_only_what_no_schema_says():
    """`multipleOf` could say the digits of a number. Validators divide in binary, and would refuse 29.33."""
    for text in (
        '{"orderId":"A","items":[{"sku":"S","quantity":1,"unitPrice":0.0000001}]}',
        '{"orderId":"A","orderId":"A"}',
        json.dumps({"orderId": "A", "attributes": {str(n): "\x01" * 256 for n in range(50)}}),
    ):
        assert not agree(text)
        assert VALIDATOR.is_valid(decode(text).data)
