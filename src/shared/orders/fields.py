"""The types of an order's fields, and the limits on their size and number."""

import re
from datetime import UTC, datetime
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

from shared.orders.currencies import CURRENCIES

MAX_CANONICAL_BYTES: Final = 64 * 1024
"""The size limit of an order's canonical form. DynamoDB's limit for an item is 400 KB, and Lambda's limit for an
asynchronous payload is 1 MB."""

# The smallest item takes 40 canonical bytes, so more items than this never fit into MAX_CANONICAL_BYTES.
MAX_ITEMS: Final = 2_000
MAX_ATTRIBUTES: Final = 50
# Larger than the number of fields of an order or an item, so that an error can name each unknown field.
MAX_FIELDS: Final = 32
MAX_NAME_LENGTH: Final = 64
MAX_INTEGER_DIGITS: Final = 12
MAX_FRACTION_DIGITS: Final = 6
MAX_NUMBER_LENGTH: Final = 64
"""The longest text of a number that is read exactly, in characters. No field accepts a longer one."""

_PLAIN_DECIMAL: Final = re.compile(r"-?\d{1,30}(\.\d{1,30})?", re.ASCII)
_RFC_3339: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ](?!24)\d{2}:\d{2}:\d{2}(\.\d{1,6}+0*+)?([Zz]|[+-]\d{2}:[0-5]\d)", re.ASCII
)
# Enough precision for any number of MAX_NUMBER_LENGTH characters, so that normalizing never rounds.
_EXACT: Final = Context(prec=2 * MAX_NUMBER_LENGTH, Emin=MIN_EMIN, Emax=MAX_EMAX)


def at_most(value: object, limit: int, what: str) -> object:
    """Return `value`, or raise if it is a list or dict with more than `limit` entries or too long keys.

    Use this before pydantic validates the entries: pydantic would validate every entry and keep every error.
    """
    if isinstance(value, list | dict) and len(value) > limit:
        raise PydanticCustomError("count", "should have at most {most} {what}", {"most": limit, "what": what})
    if isinstance(value, dict) and sum(map(len, value)) > limit * MAX_NAME_LENGTH:
        raise PydanticCustomError(
            "names", "should have names of at most {most} characters in all", {"most": limit * MAX_NAME_LENGTH}
        )
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
        raise PydanticCustomError("money", "should be a decimal such as 12.50, given as a string or a number")
    number = Decimal(value)
    # The JSON number -0.0 is zero: some encoders write it so. In a string the producer chose the sign.
    if number.is_signed() and (number != 0 or isinstance(value, str)):
        raise PydanticCustomError("money", "should not be negative")
    if not number.is_finite() or (number != 0 and number.adjusted() >= MAX_INTEGER_DIGITS):
        raise PydanticCustomError(
            "money", "should have at most {digits} digits before the point", {"digits": MAX_INTEGER_DIGITS}
        )
    normal = _EXACT.normalize(number.copy_abs())
    if normal.as_tuple().exponent < -MAX_FRACTION_DIGITS:  # type: ignore[operator]  # finite: never 'n' or 'F'
        raise PydanticCustomError(
            "money", "should have at most {digits} digits after the point", {"digits": MAX_FRACTION_DIGITS}
        )
    return normal


def _instant(value: object) -> datetime:
    """Read an RFC 3339 time with a zone and convert it to UTC."""
    if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
        raise PydanticCustomError("instant", "should be a time with a zone such as 1997-01-01T12:00:00Z")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise PydanticCustomError("instant", "should be a time that exists") from None


def _rfc_3339(value: datetime) -> str:
    return value.isoformat().removesuffix("+00:00") + "Z"


def _currency(value: str) -> str:
    if value not in CURRENCIES:
        raise PydanticCustomError("currency", "should be a currency code of ISO 4217 such as USD")
    return value


Money = Annotated[
    Decimal,
    BeforeValidator(_money),
    PlainSerializer(plain, return_type=str),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "pattern": r"^\d+(\.\d+)?$"}, {"type": "number", "minimum": 0}],
            "description": "An exact decimal, at most 12 digits before the point and 6 after it.",
            "examples": ["12.50", 12.5],
        }
    ),
]
Instant = Annotated[
    datetime,
    BeforeValidator(_instant),
    PlainSerializer(_rfc_3339, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["1997-01-01T12:00:00Z"]}),
]
Currency = Annotated[
    str,
    AfterValidator(_currency),
    WithJsonSchema({"type": "string", "pattern": "^[A-Z]{3}$", "examples": ["USD"]}),
]
OrderId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,47}$", examples=["ORDER-123"])]
CustomerId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:|@-]{0,63}$", examples=["CUST-00004"])]
# Printable ASCII without a space at either end.
Sku = Annotated[str, Field(pattern=r"^[!-~]([ -~]{0,62}[!-~])?$", examples=["CD-BUNDLE"])]
AttributeName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
AttributeValue = Annotated[str, Field(max_length=256)]
