"""Orders: Hypothesis strategies for their JSON data and for different JSON texts of one, and orders of a given size."""

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from string import ascii_letters, digits

from hypothesis import strategies as st

ALPHANUMERIC = ascii_letters + digits


def _words(first, rest, longest):
    return st.builds(str.__add__, st.sampled_from(first), st.text(rest, max_size=longest - 1))


order_ids = _words(ALPHANUMERIC, ALPHANUMERIC + "_-", 48)
customer_ids = _words(ALPHANUMERIC, ALPHANUMERIC + "_.:|@-", 64)
skus = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=64).filter(
    lambda sku: sku == sku.strip(" ")
)
currencies = st.sampled_from(["USD", "EUR", "JPY", "CHF", "KWD"])
attributes = st.dictionaries(
    st.text(ALPHANUMERIC + "_.-", min_size=1, max_size=64), st.text(max_size=64), min_size=1, max_size=5
)
# Millionths up to the largest price. They are integers, because a float would round.
prices = st.integers(0, 10**18 - 1).map(lambda millionths: Decimal(millionths).scaleb(-6))
instants = st.datetimes(min_value=datetime(1000, 1, 3), max_value=datetime(9999, 12, 29), timezones=st.just(UTC))  # noqa: DTZ001  # Hypothesis wants them naive


@st.composite
def order_data(draw):
    """An order in canonical form, as JSON data. The rules are independent of the code under test."""
    data = {"orderId": draw(order_ids)}
    items = draw(st.lists(st.tuples(skus, st.integers(1, 1_000_000), prices), max_size=4))
    if items:
        data["items"] = [
            {"sku": sku, "quantity": quantity, "unitPrice": canonical_price(price)} for sku, quantity, price in items
        ]
    for name, values in {"customerId": customer_ids, "currency": currencies, "attributes": attributes}.items():
        if draw(st.booleans()):
            data[name] = draw(values)
    if draw(st.booleans()):
        data["placedAt"] = canonical_instant(draw(instants))
    return data


def order_of(size):
    """An order whose canonical form has exactly `size` bytes."""
    line = {"sku": "S" * 64, "quantity": 1, "unitPrice": "1"}
    data = {"orderId": "A", "items": [], "attributes": {"pad": "", "more": ""}}

    def missing():
        return size - len(json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode())

    data["items"] = [line] * (missing() // (len(json.dumps(line, separators=(",", ":"))) + 1) - 1)
    left = missing()
    data["attributes"] = {"pad": "x" * (left // 2), "more": "x" * (left - left // 2)}
    return data


def canonical_price(price):
    whole, _, fraction = f"{price:.6f}".partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole


def canonical_instant(instant):
    microseconds = f".{instant.microsecond:06d}" if instant.microsecond else ""
    return f"{instant:%Y-%m-%dT%H:%M:%S}{microseconds}Z"


@st.composite
def spellings(draw, data):
    """A JSON text of the same order, in any spelling that JSON, RFC 3339 and decimal notation allow."""
    data = dict(data)
    for name in ("customerId", "currency", "placedAt"):
        if name not in data and draw(st.booleans()):
            data[name] = None
    for name, empty in (("items", []), ("attributes", {})):
        if name not in data and draw(st.booleans()):
            data[name] = empty
    if data.get("placedAt"):
        data["placedAt"] = draw(_instant_spellings(data["placedAt"]))
    return draw(_json_spellings(data))


@st.composite
def _json_spellings(draw, value, name=None):
    space = draw(st.sampled_from(["", " ", "\n\t", "\r\n  "]))
    if isinstance(value, dict):
        members = [
            f"{space}{draw(_string_spellings(key))}{space}:{space}{draw(_json_spellings(value[key], key))}{space}"
            for key in draw(st.permutations(sorted(value)))
        ]
        return "{" + (",".join(members) or space) + "}"
    if isinstance(value, list):
        return "[" + (",".join(f"{space}{draw(_json_spellings(line))}{space}" for line in value) or space) + "]"
    if name == "unitPrice":
        return draw(_price_spellings(value))
    return draw(_string_spellings(value)) if isinstance(value, str) else json.dumps(value)


@st.composite
def _string_spellings(draw, text):
    return json.dumps(text, ensure_ascii=draw(st.booleans()))


@st.composite
def _price_spellings(draw, price):
    shift = draw(st.integers(0, 6))
    zeros = "0" * draw(st.integers(0, 9))
    point = "" if "." in price or not zeros else "."
    mantissa, exponent = price.replace(".", "").lstrip("0"), -len(price.partition(".")[2])
    return draw(
        st.sampled_from(
            [
                f'"{price}"',
                f'"{zeros}{price}"',
                f'"{price}{point}{zeros}"',
                price,
                f"{price}{point}{zeros}",
                f"{mantissa or 0}e{exponent}",
                f"{mantissa + '0' * shift if mantissa else 0}E{exponent - shift:+}",
            ]
        )
    )


@st.composite
def _instant_spellings(draw, text):
    offset = timedelta(minutes=draw(st.integers(-23 * 60 - 59, 23 * 60 + 59)))
    local = datetime.fromisoformat(text).astimezone(timezone(offset))
    date, time = f"{local:%Y-%m-%d}", f"{local:%H:%M:%S}"
    fraction = f".{local.microsecond:06d}" if local.microsecond else draw(st.sampled_from(["", ".0", ".000"]))
    sign = "-" if offset < timedelta(0) else "+"
    minutes = abs(offset) // timedelta(minutes=1)
    zone = f"{sign}{minutes // 60:02d}:{minutes % 60:02d}"
    if not offset:
        zone = draw(st.sampled_from(["Z", "z", "+00:00", "-00:00"]))
    return f"{date}{draw(st.sampled_from('Tt '))}{time}{fraction}{zone}"
