"""The types of an order's fields, the limits on their size and number, and the rule of each field in words.

The words are in the schema as the field's description, and in a reject as the reason. They begin with JSON's word for
the type: string, number, list, object.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from shared.orders.currencies import CURRENCIES

MAX_CANONICAL_BYTES: Final = 64 * 1024
"""The size limit of an order's canonical form. DynamoDB's limit for an item is 400 KB, and Lambda's limit for an
asynchronous payload is 1 MB."""

# The smallest item takes 40 canonical bytes, so more items than this never fit into MAX_CANONICAL_BYTES.
MAX_ITEMS: Final = 2_000
MAX_ATTRIBUTES: Final = 50
MAX_INTEGER_DIGITS: Final = 12
MAX_FRACTION_DIGITS: Final = 6
_MAX_QUANTITY: Final = 1_000_000

_PLAIN_DECIMAL: Final = re.compile(r"-?\d{1,30}(\.\d{1,30})?", re.ASCII)
# The strings among these that have at most 12 digits before the point and 6 after it, without padding.
_PRICE_PATTERN: Final = r"^0{0,18}[0-9]{1,12}(\.[0-9]{1,6}0{0,24})?$"

# RFC 3339 with a date that exists. A time on the first or the last day that Python knows can be outside in UTC, so
# these days have no offset in that direction.
_LEAP_YEAR: Final = r"([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)"
_DATE: Final = (
    r"(?!0000)([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    rf"|02-(0[1-9]|1[0-9]|2[0-8]))|{_LEAP_YEAR}-02-29)"
)
_TIME_PATTERN: Final = (
    rf"^(?!0001-01-01.*\+(?!00:00))(?!9999-12-31.*-(?!00:00)){_DATE}"
    r"[Tt ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
_TIME: Final = re.compile(_TIME_PATTERN.removesuffix("$"))
_EXACT: Final = Context(prec=MAX_PREC, Emin=MIN_EMIN, Emax=MAX_EMAX)


@dataclass(frozen=True)
class Rule:
    """A field's rule in words: the only error of the field, and its description in the schema.

    Pydantic's own error texts use Python's words. This costs a valid order no time.
    """

    words: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The field's validation, with the rule as its error."""
        return core_schema.custom_error_schema(handler(source), "rule", custom_error_message=f"should be {self.words}")

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The field's JSON Schema, with the rule as its description."""
        return {**handler(schema), "description": self.words[0].upper() + self.words[1:] + "."}


class NullIsUnset:
    """Accepts `null` inside an object: a validator of the whole object leaves the entry out."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The entry's validation, or null."""
        return core_schema.nullable_schema(handler(source))


def at_most(value: object, limit: int) -> object:
    """Return `value`, or raise if it is a list or dict with more than `limit` entries.

    Use this before pydantic validates the entries: pydantic would validate every entry and keep every error.
    """
    if isinstance(value, list | dict) and len(value) > limit:
        raise PydanticCustomError("count", "too many entries")
    return value


def plain(number: Decimal) -> str:
    """Format a decimal without an exponent: `0.5`, `100`."""
    return format(number, "f")


def _money(value: object) -> Decimal:
    """Read a price from a string or a JSON number: at most 12 digits before the point and 6 after it."""
    if not (
        (isinstance(value, str) and _PLAIN_DECIMAL.fullmatch(value))
        or (isinstance(value, Decimal | int) and not isinstance(value, bool))
    ):
        raise PydanticCustomError("money", "should be a string or a number that is a decimal such as 12.50")
    number = Decimal(value)
    # The JSON number -0.0 is zero: some encoders write it so. In a string the producer chose the sign.
    if number.is_signed() and (number != 0 or isinstance(value, str)):
        raise PydanticCustomError("money", "should not be negative")
    if not number.is_finite():
        raise PydanticCustomError(
            "money",
            "should have at most {digits} digits before the point and {more} after it",
            {"digits": MAX_INTEGER_DIGITS, "more": MAX_FRACTION_DIGITS},
        )
    if number != 0 and number.adjusted() >= MAX_INTEGER_DIGITS:
        raise PydanticCustomError(
            "money", "should have at most {digits} digits before the point", {"digits": MAX_INTEGER_DIGITS}
        )
    normal = _EXACT.normalize(number.copy_abs())
    if normal.as_tuple().exponent < -MAX_FRACTION_DIGITS:  # type: ignore[operator]  # finite: never 'n' or 'F'
        raise PydanticCustomError(
            "money", "should have at most {digits} digits after the point", {"digits": MAX_FRACTION_DIGITS}
        )
    return normal


def _whole(value: object) -> object:
    """A whole number that is written with a point or an exponent, such as 2.0 or 2e0, as an int."""
    if isinstance(value, Decimal) and value.is_finite() and value.adjusted() < MAX_INTEGER_DIGITS:
        whole = int(value)
        return whole if whole == value else value
    return value


def _instant(value: object) -> datetime:
    """Read an RFC 3339 time with a zone, convert it to UTC and cut it to microseconds.

    Cut, not rounded: a time is the same whether the producer's other systems keep its nanoseconds or not.
    """
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise PydanticCustomError("instant", "not a time")
    whole, point, rest = value.upper().partition(".")
    digits = re.match("[0-9]*", rest)[0]  # type: ignore[index]  # the pattern always matches
    text = f"{whole}.{digits[:6]:0<6}{rest[len(digits) :]}" if point else whole
    return datetime.fromisoformat(text).astimezone(UTC)


def _rfc_3339(value: datetime) -> str:
    return value.isoformat().removesuffix("+00:00") + "Z"


def _currency(value: str) -> str:
    if value not in CURRENCIES:
        raise PydanticCustomError("currency", "not a currency")
    return value


Quantity = Annotated[
    # The first type accepts nearly every quantity and runs no Python code.
    Annotated[int, Field(ge=1, le=_MAX_QUANTITY)]
    | Annotated[int, Field(ge=1, le=_MAX_QUANTITY), BeforeValidator(_whole)],
    Field(union_mode="left_to_right"),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": _MAX_QUANTITY}),
    Rule(f"a whole number from 1 to {_MAX_QUANTITY}"),
]
Money = Annotated[
    Decimal,
    BeforeValidator(_money),
    PlainSerializer(plain, return_type=str),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": _PRICE_PATTERN},
                {"type": "number", "minimum": 0, "exclusiveMaximum": 10**MAX_INTEGER_DIGITS},
            ],
            "description": (
                f"An exact decimal with at most {MAX_INTEGER_DIGITS} digits before the point and {MAX_FRACTION_DIGITS}"
                " after it, as a string or as a number. A schema cannot say this of the digits of a number."
            ),
            "examples": ["12.50", 12.5],
        }
    ),
]
Instant = Annotated[
    datetime,
    BeforeValidator(_instant),
    PlainSerializer(_rfc_3339, return_type=str),
    WithJsonSchema({"type": "string", "pattern": _TIME_PATTERN, "examples": ["1997-01-01T12:00:00Z"]}),
    Rule(
        "a string that is an existing time with a zone, as in RFC 3339, such as 1997-01-01T12:00:00Z"
        " or 1997-01-01T13:00:00+01:00"
    ),
]
Currency = Annotated[
    str,
    AfterValidator(_currency),
    WithJsonSchema({"type": "string", "enum": sorted(CURRENCIES), "examples": ["USD"]}),
    Rule("a string that is a currency code of ISO 4217 in capital letters, such as USD"),
]
OrderId = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,47}$", examples=["ORDER-123"]),
    Rule("a string of 1 to 48 letters (A-Z, a-z), digits, - and _, the first of them a letter or a digit"),
]
CustomerId = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:|@-]{0,63}$", examples=["CUST-00004"]),
    Rule("a string of 1 to 64 letters (A-Z, a-z), digits and _ . : | @ -, the first of them a letter or a digit"),
]
Sku = Annotated[
    str,
    Field(pattern=r"^[!-~]([ -~]{0,62}[!-~])?$", examples=["CD-BUNDLE"]),
    Rule("a string of 1 to 64 printable ASCII characters, the first and the last of them not a space"),
]
AttributeName = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$"),
    Rule("a name of 1 to 64 letters (A-Z, a-z), digits and _ . -"),
]
AttributeValue = Annotated[
    str,
    Field(max_length=256),
    # Half of a surrogate pair is no character, and UTF-8 cannot have it.
    WithJsonSchema({"type": ["string", "null"], "maxLength": 256, "pattern": r"^[^\ud800-\udfff]*$"}),
    Rule("a string of at most 256 characters, none of them half of a surrogate pair"),
    NullIsUnset(),
]
