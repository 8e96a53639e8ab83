"""Invalid orders are refused. The error names each field and reason, and never contains a value."""

import json
import subprocess
import sys
import traceback
from calendar import isleap, monthrange
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench.worst_message import HOSTILE
from shared.errors import InvalidOrder, NotJson, OrderTooLarge
from shared.orders.currencies import CURRENCIES
from shared.orders.exact_json import MAX_TEXT_LENGTH, decode
from shared.orders.order import Order, order_from, parse_order
from tests.unit.orders import order_data, order_of

LINE = {"sku": "S", "quantity": 1, "unitPrice": "1"}
MARK = "zqMARKqz"
SRC = str(Path(__file__).parents[2] / "src")


def refusal_of(text):
    with pytest.raises(InvalidOrder) as refused:
        parse_order(text)
    return refused.value


def fields_refused(data):
    """Return the reason for each invalid field of an order that is given as Python data."""
    with pytest.raises(InvalidOrder) as refused:
        order_from(data)
    assert type(refused.value) is InvalidOrder
    return {error.field: error.reason for error in refused.value.errors}


# ── strict JSON ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "order",
        "{",
        '{"orderId":"A"',
        '{"orderId":"A"} {}',
        '{"orderId":"A",}',
        "{'orderId':'A'}",
        '{"orderId":"A\n"}',
        '{"orderId":"A\x00"}',
        '{"orderId":"\\x41"}',
        '{"orderId":"A"}\x00',
        '\ufeff{"orderId":"A"}',
        '{"orderId":"A","items":[{"quantity":01}]}',
        '{"orderId":"A","items":[{"unitPrice":.5}]}',
        '{"orderId":"A","items":[{"unitPrice":+1}]}',
        "\ud800",
    ],
)
def test_invalid_json_is_refused_as_not_json(text):
    error = refusal_of(text)
    assert type(error) is NotJson
    assert error.code == "NOT_JSON"
    assert str(error).startswith("not JSON: ")


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_nan_and_infinity_are_not_json(constant):
    error = refusal_of(f'{{"orderId":"A","attributes":{{"a":[{constant}]}}}}')
    assert type(error) is NotJson
    assert constant in str(error)


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":'])
def test_deep_nesting_is_refused_as_not_json(opening):
    assert type(refusal_of(opening * 9_000)) is NotJson


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ('{"orderId":"A","orderId":"B"}', ["orderId"]),
        ('{"orderId":"A","orderId":"A"}', ["orderId"]),
        ('{"orderId":"A","order\\u0049d":"B"}', ["orderId"]),
        (
            '{"orderId":"A","items":[{"sku":"S","quantity":1,"quantity":2,"unitPrice":"1"}]}',
            ["items.0.quantity"],
        ),
        ('{"orderId":"A","attributes":{"channel":"web","gift":"","channel":"app"}}', ["attributes.channel"]),
        ('{"orderId":"A","unknown":[[{"deep":{"down":1,"down":1}}]]}', ["unknown.0.0.deep.down"]),
        ('[{"a":1,"a":1}]', ["0.a"]),
        ('{"":1,"":1}', ['""']),
        (
            '{"orderId":"A","orderId":"B","items":[{"sku":"S","sku":"T","sku":"U","quantity":1,"quantity":1}]}',
            ["orderId", "items.0.sku", "items.0.quantity"],
        ),
    ],
)
def test_each_duplicate_key_is_named_with_its_whole_path(text, fields):
    error = refusal_of(text)
    assert error.code == "INVALID_ORDER"
    assert [problem.field for problem in error.errors if problem.reason == "key given twice in one object"] == fields


def test_duplicate_keys_hide_no_other_mistake():
    error = refusal_of('{"orderId":"A","orderId":"A","currency":7,"items":[{"sku":"S","sku":"S","quantity":1}]}')
    assert {problem.field for problem in error.errors} == {
        *("currency", "orderId", "items.0.sku", "items.0.unitPrice"),
    }


def test_a_key_that_is_given_twice_in_many_lines_is_one_entry():
    line = '{"sku":"S","sku":"S","quantity":1,"unitPrice":"1"}'
    (error,) = refusal_of('{"orderId":"A","items":[' + ",".join([line] * 30) + "]}").errors
    assert str(error) == "items.*.sku: key given twice in one object (30 times)"


def test_the_same_key_in_two_objects_is_not_a_duplicate():
    order = parse_order(json.dumps({"orderId": "A", "items": [LINE, LINE], "attributes": {"orderId": "x"}}))
    assert len(order.items) == 2


def test_json_numbers_are_read_exactly():
    numbers = decode("[1, -7, 0.1, 29.330000000000000000001, 1e2]").data
    assert [type(number).__name__ for number in numbers] == ["int", "int", "Decimal", "Decimal", "Decimal"]
    assert [str(number) for number in numbers] == ["1", "-7", "0.1", "29.330000000000000000001", "1E+2"]


# ── strict orders ─────────────────────────────────────────────────────────────────────────────────


def test_a_number_with_an_exponent_that_no_decimal_holds_is_refused_by_its_field():
    error = refusal_of('{"orderId":"A","items":[{"sku":"S","quantity":1,"unitPrice":1e99999999999999999999}]}')
    assert [error.field for error in error.errors] == ["items.0.unitPrice"]


@pytest.mark.parametrize("data", [None, True, 0, "ORDER-1", [], [{"orderId": "A"}], {}])
def test_data_without_an_order_id_is_refused(data):
    assert refusal_of(json.dumps(data)).code == "INVALID_ORDER"


@pytest.mark.parametrize("name", ["order_id", "OrderId", "total", "", "orderId ", "é", "gift.0"])
def test_an_unknown_field_is_refused_and_named(name):
    assert fields_refused({"orderId": "A", name: None}) == {
        name or '""': "unknown field, leave it out or put it into attributes as a string"
    }


def test_an_unknown_field_of_an_item_is_refused_and_named():
    assert fields_refused({"orderId": "A", "items": [LINE, {**LINE, "price": "1"}]}) == {
        "items.1.price": "unknown field"
    }


def test_one_error_names_every_invalid_field():
    data = {"orderId": "", "customerId": 7, "currency": "usd", "placedAt": "today", "items": [{}], "attributes": 1}
    assert fields_refused(data).keys() == {
        "orderId",
        "customerId",
        "currency",
        "placedAt",
        "attributes",
        "items.0.sku",
        "items.0.quantity",
        "items.0.unitPrice",
    }


def test_an_order_id_with_a_trailing_newline_is_refused():
    assert fields_refused({"orderId": "ORDER-1\n"}).keys() == {"orderId"}


@pytest.mark.parametrize(
    "order_id", ["", "-A", "_A", "A B", " A", "A.B", "A/B", "A:B", "Ä", "\u0661", "A" * 49, 1, True, None, ["A"]]
)
def test_an_order_id_that_an_execution_name_cannot_contain_is_refused(order_id):
    assert fields_refused({"orderId": order_id}).keys() == {"orderId"}


@pytest.mark.parametrize("order_id", ["A", "0", "a-", "A_-9", "A" * 48])
def test_an_order_id_of_letters_digits_dashes_and_underscores_is_accepted(order_id):
    assert order_from({"orderId": order_id}).order_id == order_id


@pytest.mark.parametrize("customer_id", ["", "-1", "a b", "a\n", "é", "A" * 65, 4, False])
def test_an_invalid_customer_id_is_refused(customer_id):
    assert fields_refused({"orderId": "A", "customerId": customer_id}).keys() == {"customerId"}


@pytest.mark.parametrize("customer_id", ["4", "someone@example.com", "tenant|eu:4.2_x-y", "A" * 64])
def test_customer_ids_of_other_systems_are_accepted(customer_id):
    assert order_from({"orderId": "A", "customerId": customer_id}).customer_id == customer_id


@pytest.mark.parametrize("quantity", [0, -1, 1_000_001, 1.5, "1", True, False, None, [1], 10**70])
def test_a_quantity_is_an_integer_from_one_to_a_million(quantity):
    assert fields_refused({"orderId": "A", "items": [{**LINE, "quantity": quantity}]}).keys() == {"items.0.quantity"}


@pytest.mark.parametrize("spelling", ["2", "2.0", "2e0", "20e-1", "0.2E+1", "2." + "0" * 5_000])
def test_a_whole_number_is_a_quantity_in_every_spelling(spelling):
    order = parse_order('{"orderId":"A","items":[{"sku":"S","quantity":' + spelling + ',"unitPrice":"1"}]}')
    assert order.canonical_bytes() == b'{"items":[{"quantity":2,"sku":"S","unitPrice":"1"}],"orderId":"A"}'


@pytest.mark.parametrize(
    "spelling",
    [
        *("1.5", "2.0000001", "1e-1", "1000001.0", "1e7", "0.0", "-0.0", "-2.0", "1e999999999", "1e-999999999"),
        *("1e9999999999999999999", "true", "1" * 5_000, "-" + "1" * 5_000),
    ],
)
def test_a_number_that_is_not_a_valid_quantity_is_refused(spelling):
    text = '{"orderId":"A","items":[{"sku":"S","quantity":' + spelling + ',"unitPrice":"1"}]}'
    assert [error.field for error in refusal_of(text).errors] == ["items.0.quantity"]


@pytest.mark.parametrize("sku", ["", " ", " S", "S ", "S\n", "S\tS", "Ü", "\x7f", "S" * 65, 5, None])
def test_a_sku_that_is_not_printable_ascii_is_refused(sku):
    assert fields_refused({"orderId": "A", "items": [{**LINE, "sku": sku}]}).keys() == {"items.0.sku"}


@pytest.mark.parametrize("sku", ["S", "a b", "~!", "S" * 64])
def test_a_sku_of_printable_ascii_is_accepted(sku):
    assert order_from({"orderId": "A", "items": [{**LINE, "sku": sku}]}).items[0].sku == sku


@pytest.mark.parametrize("items", ["", 0, True])
def test_items_that_are_not_a_list_are_refused(items):
    assert fields_refused({"orderId": "A", "items": items}).keys() == {"items"}


def test_one_item_without_its_list_is_refused_with_the_mistakes_in_it():
    """Converters from XML write a list of one line so."""
    assert fields_refused({"orderId": "A", "items": {"sku": "S", "qty": 1, "unitPrice": "1"}}) == {
        "items": "should be a list, not an object",
        "items.quantity": "is required",
        "items.qty": "unknown field, did you mean quantity?",
    }


@pytest.mark.parametrize("item", [None, [], "S", 1, True])
def test_an_item_that_is_not_an_object_is_refused(item):
    assert fields_refused({"orderId": "A", "items": [item]}).keys() == {"items.0"}


@pytest.mark.parametrize(
    ("attributes", "field"),
    [
        ([], "attributes"),
        ("x", "attributes"),
        ({"a": 1}, "attributes.a"),
        ({"a": True}, "attributes.a"),
        ({"a": ["x"]}, "attributes.a"),
        ({"a": "x" * 257}, "attributes.a"),
        ({"a": "\ud800"}, "attributes.a"),
        ({"": "x"}, 'attributes.""'),
        ({"a b": "x"}, "attributes.a b"),
        ({"a b": None}, "attributes.a b"),
        ({"ä": "x"}, "attributes.ä"),
        ({"a\n": "x"}, "attributes.a\n"),
        ({"n" * 65: "x"}, f"attributes.{'n' * 65}"),
        ({str(n): "x" for n in range(51)}, "attributes"),
    ],
)
def test_invalid_attributes_are_refused(attributes, field):
    assert fields_refused({"orderId": "A", "attributes": attributes}).keys() == {field}


def test_fifty_attributes_of_256_characters_are_accepted():
    attributes = {f"{n:064}": "é" * 256 for n in range(50)}
    assert order_from({"orderId": "A", "attributes": attributes}).attributes == attributes


@pytest.mark.parametrize(
    "placed_at",
    [
        "",
        "today",
        852120000,
        "852120000",
        "1997-01-01",
        "1997-01-01T12:00:00",
        "1997-01-01T12:00Z",
        "1997-1-1T12:00:00Z",
        "1997-01-01T12:00:00 Z",
        "1997-01-01T12:00:00Z\n",
        "1997-01-01T12:00:00,5Z",
        "1997-01-01T12:00:00.Z",
        "1997-01-01T12:00:00+0100",
        "1997-01-01T12:00:00+01",
        "1997-01-01T12:00:00+01:00:00",
        "19970101T120000Z",
        "1997-W01-3T12:00:00Z",
        "\u0661997-01-01T12:00:00Z",
        "1997-02-29T12:00:00Z",
        "1997-13-01T12:00:00Z",
        "0000-01-01T12:00:00Z",
        "1997-01-01T24:00:00Z",
        "1997-01-01T12:60:00Z",
        "1997-01-01T12:00:60Z",
        "1997-01-01T12:00:00+24:00",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
    ],
)
def test_a_time_without_a_zone_or_an_impossible_time_is_refused(placed_at):
    assert fields_refused({"orderId": "A", "placedAt": placed_at}).keys() == {"placedAt"}


@pytest.mark.parametrize("offset", ["+00:60", "+05:99", "-01:75"])
def test_a_zone_offset_of_more_than_59_minutes_is_refused(offset):
    assert fields_refused({"orderId": "A", "placedAt": f"1997-01-01T12:00:00{offset}"}).keys() == {"placedAt"}


@pytest.mark.parametrize("digits", [7, 9, 12, 400])
def test_a_time_finer_than_a_microsecond_is_cut(digits):
    """.NET writes seven digits and Java nine. Cut and not rounded: another system of the producer may have cut it."""
    sent = parse_order(
        json.dumps({"orderId": "A", "placedAt": f"1997-01-01T13:59:59.9999999{'9' * (digits - 7)}+01:00"})
    )
    assert sent.canonical_bytes() == b'{"orderId":"A","placedAt":"1997-01-01T12:59:59.999999Z"}'
    assert sent.digest() == order_from({"orderId": "A", "placedAt": "1997-01-01T12:59:59.999999Z"}).digest()


def test_zeros_after_the_microseconds_are_accepted():
    assert order_from({"orderId": "A", "placedAt": "1997-01-01T12:00:00.500000000Z"}) == order_from(
        {"orderId": "A", "placedAt": "1997-01-01T12:00:00.5Z"}
    )


@pytest.mark.parametrize("year", [1600, 1900, 1996, 1997, 2000, 2004, 2100, 2400])
def test_the_29th_of_february_is_a_date_in_leap_years_only(year):
    data = {"orderId": "A", "placedAt": f"{year}-02-29T00:00:00Z"}
    if isleap(year):
        assert order_from(data).placed_at.day == 29
    else:
        assert fields_refused(data).keys() == {"placedAt"}


@given(st.dates(), st.integers(1, 31))
def test_a_time_is_accepted_exactly_if_its_date_exists(date, day):
    data = {"orderId": "A", "placedAt": f"{date:%Y-%m}-{day:02}T00:00:00Z".zfill(20)}
    if day <= monthrange(date.year, date.month)[1]:
        assert order_from(data).placed_at.day == day
    else:
        assert fields_refused(data).keys() == {"placedAt"}


# ── currencies ────────────────────────────────────────────────────────────────────────────────────


def test_every_currency_is_three_capital_letters():
    assert all(len(code) == 3 and code.isascii() and code.isalpha() and code.isupper() for code in CURRENCIES)


@pytest.mark.parametrize("code", ["USD", "EUR", "JPY", "GBP", "CHF", "CNY", "INR", "BRL", "KWD", "XOF", "ZWG", "XCG"])
def test_a_currency_in_use_is_accepted(code):
    assert order_from({"orderId": "A", "currency": code}).currency == code


@pytest.mark.parametrize(
    "code",
    ["XXX", "XTS", "XAU", "XAG", "DEM", "usd", "Usd", "US", "USDT", "US$", "", " USD", "USD\n", 840, True, ["USD"]],
)
def test_a_code_that_is_not_a_currency_in_use_is_refused(code):
    assert fields_refused({"orderId": "A", "currency": code}).keys() == {"currency"}


# ── size ──────────────────────────────────────────────────────────────────────────────────────────


def test_an_order_one_byte_over_64_kib_is_refused_as_too_large():
    error = refusal_of(json.dumps(order_of(65_537)))
    assert type(error) is OrderTooLarge
    assert error.code == "TOO_LARGE"
    assert str(error) == "65537 bytes in canonical form, more than the 65536 allowed"


def test_the_limit_counts_bytes_not_characters():
    data = order_of(65_000)
    data["attributes"]["wide"] = "\U0001f600" * 256
    assert refusal_of(json.dumps(data)).code == "TOO_LARGE"
    data["attributes"]["wide"] = "x" * 256
    assert len(order_from(data).canonical_bytes()) < 65_536


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{"orderId":"A","items":[' + ",".join(["{}"] * 2_000) + "]}", id="wrong items"),
        pytest.param(json.dumps({"orderId": "A"} | {f"f{n}": 0 for n in range(19_000)}), id="unknown fields"),
        pytest.param(
            json.dumps({"orderId": "A", "attributes": {f"!{n}": 0 for n in range(19_000)}}), id="wrong attributes"
        ),
    ],
)
def test_a_message_full_of_errors_has_a_short_error_text(text):
    """Errors are logged, and a text that is decoded can contain twenty thousand."""
    error = refusal_of(text)
    assert len(error.errors) <= 300
    assert len(str(error)) <= 32 * 1024


@pytest.mark.parametrize(
    "body",
    [
        "unknown fields of 4-byte characters",
        "an item of unknown fields",
        "8,000 wrong attributes",
        "2,000 items of wrong values",
        "1 MiB of wrong attributes",
    ],
)
def test_a_message_full_of_errors_needs_little_memory(body):
    """Ingest processes ten messages at once in 1 GiB. If one message used it up, the other nine would fail too."""
    program = (
        "import resource, sys\n"
        "from shared.orders.order import parse_order\n"
        "text = sys.stdin.read()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    parse_order(text)\nexcept Exception as error:\n    print(type(error).__name__)\n"
        "grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before\n"
        "print(grown * (1 if sys.platform == 'darwin' else 1024))\n"
    )
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", program],
        env={"PYTHONPATH": SRC},
        input=HOSTILE[body].encode(),
        capture_output=True,
        check=True,
    )
    refusal, grown = done.stdout.split()
    assert refusal == (b"OrderTooLarge" if len(HOSTILE[body]) > MAX_TEXT_LENGTH else b"InvalidOrder")
    assert int(grown) < 20 * 1024 * 1024


# ── any input ─────────────────────────────────────────────────────────────────────────────────────

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
# Any text, with lone surrogates too: a JSON escape can encode them.
any_text = st.text(st.characters())


def parses_or_is_refused(text):
    try:
        order = parse_order(text)
    except InvalidOrder as error:
        problems = error.errors
    else:
        assert isinstance(order, Order)
        return
    assert problems
    assert all(isinstance(problem.field, str) and problem.reason for problem in problems)
    assert all(len(problem.field) <= 128 for problem in problems)


@given(any_text)
@example("\ud800")
def test_any_text_is_an_order_or_refused(text):
    parses_or_is_refused(text)


@given(json_values)
def test_any_json_is_an_order_or_refused(value):
    parses_or_is_refused(json.dumps(value))


@given(
    st.dictionaries(
        st.sampled_from(["orderId", "customerId", "items", "currency", "placedAt", "attributes"]) | any_text,
        json_values | any_text | st.dictionaries(any_text, any_text, max_size=3),
    ),
    st.lists(st.dictionaries(st.sampled_from(["sku", "quantity", "unitPrice"]) | st.text(), json_values), max_size=3),
)
@example({"\ud800": 1}, [])
@example({"attributes": {"\ud800": "\udfff"}}, [])
def test_any_values_in_an_orders_fields_are_an_order_or_refused(data, items):
    parses_or_is_refused(json.dumps(data))
    parses_or_is_refused(json.dumps({"orderId": "A", "items": items, **data}))


@given(order_data(), st.data())
def test_any_truncated_order_is_refused_as_not_json(data, drawn):
    text = json.dumps(data)
    beginning = text[: drawn.draw(st.integers(0, len(text) - 1))]
    assert type(refusal_of(beginning)) is NotJson


# ── no values in an error ─────────────────────────────────────────────────────────────────────────


def says_nothing_of(mark, text):
    try:
        parse_order(text)
    except InvalidOrder as error:
        said = "".join(traceback.format_exception(error)) + repr(error) + str(error.errors)
        assert mark not in said
        return True
    return False


@st.composite
def marked(draw):
    """An order that contains the mark in one of its values, at any position and in any type."""
    data = draw(order_data())
    data.setdefault("items", [dict(LINE)])
    data.setdefault("attributes", {"a": ""})
    parent, name = draw(
        st.sampled_from(
            [(data, name) for name in ("orderId", "customerId", "currency", "placedAt", "items", "attributes", "other")]
            + [(data["items"][0], name) for name in ("sku", "quantity", "unitPrice", "other")]
            + [(data["attributes"], name) for name in (*data["attributes"], "n" * 99)]
        )
    )
    text = draw(st.sampled_from([MARK, f" {MARK} ", f"{MARK}\n", MARK * 99, f"1997-01-01T12:00:00Z{MARK}", f"-{MARK}"]))
    parent[name] = draw(st.sampled_from([text, [text], {"a": text}, [[{"a": [text]}]]]))
    return data


@given(marked())
def test_no_error_repeats_a_value(data):
    assert says_nothing_of(MARK, json.dumps(data)) or MARK in str(order_from(data).canonical())


@given(marked(), st.data())
def test_no_error_repeats_a_value_of_a_truncated_text(data, drawn):
    text = json.dumps(data)
    assert says_nothing_of(MARK, text[: drawn.draw(st.integers(0, len(text) - 1))])


@given(order_data(), st.sampled_from(["quantity", "unitPrice", "sku", "other"]), st.booleans())
def test_no_error_repeats_a_number(data, name, whole):
    mark = "98765432109876543210"
    number = "@" if whole else "@.5"
    text = json.dumps({**data, "items": [{**LINE, name: "@"}]}).replace('"@"', number.replace("@", mark))
    assert says_nothing_of(mark, text)
