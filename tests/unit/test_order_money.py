"""Money is exact: a price is the decimal that the producer wrote, or it is refused. It is never rounded."""

import json
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors import InvalidOrder
from shared.orders.order import order_from, parse_order
from tests.unit.orders import prices

NOT_A_DECIMAL = "should be a string or a number that is a decimal such as 12.50"
TOO_LARGE = "should have at most 12 digits before the point"
TOO_FINE = "should have at most 6 digits after the point"
NEGATIVE = "should not be negative"


def price_in(spelling):
    """Return the price for a JSON spelling, or the reason of its refusal."""
    try:
        order = parse_order('{"orderId":"A","items":[{"sku":"S","quantity":1,"unitPrice":' + spelling + "}]}")
    except InvalidOrder as refused:
        (error,) = refused.errors
        assert error.field == "items.0.unitPrice"
        return error.reason
    return order.items[0].unit_price


@given(prices, st.booleans())
def test_a_price_is_the_decimal_that_was_written(price, as_string):
    spelling = f"{price:f}"
    read = price_in(f'"{spelling}"' if as_string else spelling)
    assert type(read) is Decimal
    assert read == price


@given(digits=st.from_regex(r"\A-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,24})?\Z"), exponent=st.none() | st.integers(-30, 30))
@example(digits="29.330000000000000000001", exponent=None)
@example(digits="0.1", exponent=13)
@example(digits="1", exponent=12)
@example(digits="999999999999.999999", exponent=None)
@example(digits="-0.0", exponent=None)
def test_a_number_is_exact_or_refused(digits, exponent):
    value = Fraction(digits) * Fraction(10) ** (exponent or 0)
    read = price_in(digits if exponent is None else f"{digits}e{exponent}")
    if value < 0:
        assert read == NEGATIVE
    elif value >= 10**12:
        assert read == TOO_LARGE
    elif (value * 10**6).denominator != 1:
        assert read == TOO_FINE
    else:
        assert Fraction(read) == value


@pytest.mark.parametrize("spelling", ["0.0000001", "1e-7", "29.330000000000000000001", '"29.3300001"', "1E-400000"])
def test_a_price_with_more_than_six_fraction_digits_is_refused(spelling):
    assert price_in(spelling) == TOO_FINE


@pytest.mark.parametrize("spelling", ["1E-2000000", "1e-999999999999999999", "9e-1000020"])
def test_a_price_too_small_for_decimal_arithmetic_does_not_become_zero(spelling):
    assert price_in(spelling) == TOO_FINE


@pytest.mark.parametrize("spelling", ["1000000000000", "1e12", "1E+400000", '"1000000000000"', "9" * 5_000, "9" * 64])
def test_a_price_with_more_than_twelve_digits_before_the_point_is_refused(spelling):
    assert price_in(spelling) == TOO_LARGE


@pytest.mark.parametrize("spelling", ["1e9999999999999999999", "1e-9999999999999999999"])
def test_a_price_beyond_the_exponents_of_decimal_is_refused_with_both_limits(spelling):
    assert price_in(spelling) == f"{TOO_LARGE} and 6 after it"


@pytest.mark.parametrize("spelling", ["-1", "-0.000001", "-1e6", '"-1"', '"-0.5"', '"-0"', '"-0.00"'])
def test_a_negative_price_is_refused(spelling):
    assert price_in(spelling) == NEGATIVE


@pytest.mark.parametrize(
    "spelling",
    [
        "true",
        "false",
        "null",
        "[]",
        "{}",
        '""',
        '" 1"',
        '"1 "',
        '"1\\n"',
        '"+1"',
        '".5"',
        '"5."',
        '"1e2"',
        '"1_000"',
        '"1,50"',
        '"0x10"',
        '"NaN"',
        '"Infinity"',
        '"\u0661"',
        '"\uff11"',
        '"' + "1" * 31 + '"',
        '"0.' + "1" * 31 + '"',
    ],
)
def test_only_a_plain_decimal_is_a_price(spelling):
    assert price_in(spelling).partition(", not ")[0] == NOT_A_DECIMAL


@pytest.mark.parametrize("value", [29.33, 29.0, float("nan"), float("inf"), float("-inf")])
def test_a_float_is_not_a_price(value):
    """Data that `parse_json` did not read can contain a float, whose digits can differ from the producer's."""
    with pytest.raises(InvalidOrder, match=NOT_A_DECIMAL):
        order_from({"orderId": "A", "items": [{"sku": "S", "quantity": 1, "unitPrice": value}]})


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("-NaN"), Decimal("Infinity"), Decimal("-Infinity")])
def test_nan_and_infinity_are_not_prices(value):
    with pytest.raises(InvalidOrder, match=r"^items\.0\.unitPrice: should"):
        order_from({"orderId": "A", "items": [{"sku": "S", "quantity": 1, "unitPrice": value}]})


def test_the_smallest_and_the_largest_price_are_accepted():
    assert price_in("0.000001") == Decimal("0.000001")
    assert price_in("999999999999.999999") == Decimal("999999999999.999999")
    assert price_in('"999999999999.999999"') == Decimal("999999999999.999999")


def test_a_price_in_the_canonical_form_has_every_digit():
    order = parse_order('{"orderId":"A","items":[{"sku":"S","quantity":1,"unitPrice":999999999999.999999}]}')
    assert json.loads(order.canonical_bytes())["items"][0]["unitPrice"] == "999999999999.999999"
