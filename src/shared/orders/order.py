"""What an order is, how it is read, and its one canonical form.

Two requests are the same order if and only if their canonical bytes are equal: ingest starts an
execution with them, Lambda compares them under the execution's name, the ledger keeps their digest.
So whatever is unset or empty is left out (a field that a later version adds must not turn yesterday's
redelivery into a conflict), times are UTC, decimals have no trailing zeros, and keys are sorted.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, InvalidOperation
from typing import Annotated, Any, Final, NoReturn

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError, PydanticOmit

from shared.errors import FieldError, InvalidOrder, NotJson, OrderTooLarge
from shared.orders.currencies import CURRENCIES

MAX_CANONICAL_BYTES: Final = 64 * 1024
"""An order's largest canonical form, far below DynamoDB's 400 KB item and Lambda's 1 MB asynchronous payload."""

MAX_TEXT_LENGTH: Final = 6 * MAX_CANONICAL_BYTES
"""The longest text that is decoded, in characters: the largest order with each character escaped as `\\u0041`.

Only padding makes the text of an order longer: white space, or zeros of a price or a time. It is refused as well.
"""

# Three times what the largest order has: one and four for each item, six fields, fifty attributes.
_MAX_VALUES: Final = 20_000
# More than fit into MAX_CANONICAL_BYTES: the smallest takes 40 bytes there.
_MAX_ITEMS: Final = 2_000
_MAX_ATTRIBUTES: Final = 50
# More than an order or an item knows: of up to so many, each unknown one is named.
_MAX_FIELDS: Final = 32
_MAX_NAME_LENGTH: Final = 64
_MAX_INTEGER_DIGITS: Final = 12
_MAX_FRACTION_DIGITS: Final = 6
_MAX_NUMBER_LENGTH: Final = 64
_MAX_PATH_LENGTH: Final = 128
_MAX_FIELD_ERRORS: Final = 20
_PLAIN_DECIMAL: Final = re.compile(r"-?\d{1,30}(\.\d{1,30})?", re.ASCII)
_RFC_3339: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}[Tt ](?!24)\d{2}:\d{2}:\d{2}(\.\d{1,6}+0*+)?([Zz]|[+-]\d{2}:[0-5]\d)", re.ASCII
)
# Wide enough for any number of that length, so normalising rounds none, neither its digits nor to zero.
_EXACT: Final = Context(prec=2 * _MAX_NUMBER_LENGTH, Emin=MIN_EMIN, Emax=MAX_EMAX)


def _money(value: object) -> Decimal:
    """A price: a decimal of at most 12 digits before the point and 6 after it, from a string or a JSON number."""
    if not (
        (isinstance(value, str) and _PLAIN_DECIMAL.fullmatch(value))
        or (isinstance(value, Decimal | int) and not isinstance(value, bool))
    ):
        raise PydanticCustomError("money", "should be a decimal such as 12.50, given as a string or a number")
    number = Decimal(value)
    # A JSON number's -0.0 is a spelling of nothing; in a string the sign was written on purpose.
    if number.is_signed() and (number != 0 or isinstance(value, str)):
        raise PydanticCustomError("money", "should not be negative")
    if not number.is_finite() or (number != 0 and number.adjusted() >= _MAX_INTEGER_DIGITS):
        raise PydanticCustomError(
            "money", "should have at most {digits} digits before the point", {"digits": _MAX_INTEGER_DIGITS}
        )
    normal = _EXACT.normalize(number.copy_abs())
    if normal.as_tuple().exponent < -_MAX_FRACTION_DIGITS:  # type: ignore[operator]  # finite: never 'n' or 'F'
        raise PydanticCustomError(
            "money", "should have at most {digits} digits after the point", {"digits": _MAX_FRACTION_DIGITS}
        )
    return normal


def plain(number: Decimal) -> str:
    """A decimal as JSON carries it here: a string without exponent, `0.5`, `100`."""
    return format(number, "f")


def _instant(value: object) -> datetime:
    """A time with its zone, as RFC 3339 writes it, brought to UTC."""
    if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
        raise PydanticCustomError("instant", "should be a time with a zone such as 1997-01-01T12:00:00Z")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise PydanticCustomError("instant", "should be a time that exists") from None


def _rfc_3339(value: datetime) -> str:
    return value.isoformat().removesuffix("+00:00") + "Z"


def _few(value: object, most: int, what: str) -> object:
    """Refuse what no order can have before pydantic validates each entry of it, and keeps and copies each error."""
    if isinstance(value, list | dict) and len(value) > most:
        raise PydanticCustomError("count", "should have at most {most} {what}", {"most": most, "what": what})
    if isinstance(value, dict) and sum(map(len, value)) > most * _MAX_NAME_LENGTH:
        raise PydanticCustomError(
            "names", "should have names of at most {most} characters in all", {"most": most * _MAX_NAME_LENGTH}
        )
    return value


def _items(items: object, validate: ValidatorFunctionWrapHandler) -> object:
    """The items of an order, or the errors of the first wrong ones: for none, pydantic's own loop is the fastest."""
    _few(items, _MAX_ITEMS, "items")
    try:
        return validate(items)
    except ValidationError:
        return _ITEMS_UNTIL_ENOUGH.validate_python(items, context=_Mistakes())


@dataclass
class _Mistakes:
    """How many errors the items of one order have so far."""

    found: int = 0


def _until_enough(item: object, validate: ValidatorFunctionWrapHandler, info: ValidationInfo[_Mistakes]) -> object:
    """Validate an item, unless those before it have more errors than are told."""
    if info.context.found > _MAX_FIELD_ERRORS:
        raise PydanticOmit
    try:
        return validate(item)
    except ValidationError as error:
        info.context.found += error.error_count()
        raise


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

_MODEL: Final = ConfigDict(
    frozen=True,
    strict=True,
    extra="forbid",
    hide_input_in_errors=True,
    alias_generator=to_camel,
)


class Item(BaseModel):
    """One line of an order."""

    model_config = _MODEL

    sku: Sku
    quantity: Annotated[int, Field(ge=1, le=1_000_000)]
    unit_price: Money


def _item(item: object) -> object:
    return _few(item, _MAX_FIELDS, "fields")


_ITEMS_UNTIL_ENOUGH: Final = TypeAdapter(
    tuple[Annotated[Item, BeforeValidator(_item), WrapValidator(_until_enough)], ...]
)


class Order(BaseModel):
    """An order as a producer sends it. `{"orderId": "ORDER-123"}` alone is one."""

    model_config = _MODEL

    order_id: OrderId
    customer_id: CustomerId | None = None
    items: Annotated[tuple[Item, ...], Field(strict=False, fail_fast=True), WrapValidator(_items)] = ()
    currency: Currency | None = None
    placed_at: Instant | None = None
    attributes: Annotated[
        dict[AttributeName, AttributeValue],
        Field(max_length=_MAX_ATTRIBUTES),
        BeforeValidator(lambda attributes: _few(attributes, _MAX_ATTRIBUTES, "attributes")),
    ] = {}

    @model_validator(mode="before")
    @classmethod
    def _few_fields(cls, data: object) -> object:
        return _few(data, _MAX_FIELDS, "fields")

    def canonical(self) -> dict[str, Any]:
        """The order as plain JSON data, with what is unset or empty left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)

    def canonical_bytes(self) -> bytes:
        """The order's one form as UTF-8 JSON."""
        return json.dumps(self.canonical(), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    def digest(self) -> str:
        """SHA-256 of the canonical bytes, in hex: equal for the same order, whoever sent it."""
        return hashlib.sha256(self.canonical_bytes()).hexdigest()


def parse_order(text: str) -> Order:
    """The order in a JSON text.

    Raises `NotJson`, `InvalidOrder` or `OrderTooLarge`; each lists the fields and reasons, never a value.
    """
    return order_from(parse_json(text))


def refuse_large_text(text: str) -> None:
    """Raise `OrderTooLarge` for a text that is longer or has more JSON values than an order, without decoding it.

    Decoding a text that passes costs little more than the largest order, whatever is in it.
    """
    if len(text) > MAX_TEXT_LENGTH:
        raise OrderTooLarge([FieldError("", f"{len(text)} characters, more than the {MAX_TEXT_LENGTH} allowed")])
    unescaped = text.replace("\\\\", "").replace('\\"', "")
    # A value has two quotes, and so has its key.
    if unescaped.count('"') <= 4 * _MAX_VALUES:
        structure = "".join(unescaped.split('"')[::2])
        # All but the first value of a text follow one of these.
        if sum(map(structure.count, ",[{")) < _MAX_VALUES:
            return
    raise OrderTooLarge([FieldError("", f"more than the {_MAX_VALUES} JSON values allowed")])


def parse_json(text: str) -> Any:
    """JSON data with every number exact: integers as int, all others as Decimal.

    Python's own reading would turn 29.330000000000000000001 into a float and let the last of two
    duplicate keys win in silence. Raises `NotJson`, `InvalidOrder` for a duplicate key, or `OrderTooLarge`.
    """
    refuse_large_text(text)
    try:
        return json.loads(
            text,
            parse_int=_exact_integer,
            parse_float=_exact_number,
            parse_constant=_refuse_constant,
            object_pairs_hook=_unique_keys,
        )
    except json.JSONDecodeError as error:
        raise NotJson([FieldError("", f"not JSON: {error.msg} (character {error.pos})")]) from None
    except RecursionError:
        raise NotJson([FieldError("", "not JSON this pipeline reads: nested too deeply")]) from None


def order_from(data: object) -> Order:
    """The order in parsed JSON data, as `parse_json` or the ledger gives it.

    Raises `InvalidOrder` or `OrderTooLarge`.
    """
    try:
        order = Order.model_validate(data)
    except ValidationError as error:
        raise InvalidOrder(_field_errors(error)) from None
    size = len(order.canonical_bytes())
    if size > MAX_CANONICAL_BYTES:
        reason = f"{size} bytes in canonical form, more than the {MAX_CANONICAL_BYTES} allowed"
        raise OrderTooLarge([FieldError("", reason)])
    return order


def _field_errors(error: ValidationError) -> list[FieldError]:
    """The first of an order's mistakes, and whether there are more: not all of them are looked for."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    listed = [FieldError(_path(problem["loc"]), problem["msg"]) for problem in problems[:_MAX_FIELD_ERRORS]]
    return [*listed, FieldError("", "and more")] if len(problems) > len(listed) else listed


def _path(location: tuple[int | str, ...]) -> str:
    # A key is the producer's text: as long as it likes, and with half characters that no log takes.
    path = ".".join(map(str, location))[:_MAX_PATH_LENGTH]
    return path.encode("utf-8", "backslashreplace").decode()


def _exact_number(text: str) -> Decimal:
    try:
        # Past this length no field of an order can want it; NaN fails every field, by its name.
        return Decimal(text if len(text) <= _MAX_NUMBER_LENGTH else "NaN")
    except InvalidOperation:
        return Decimal("NaN")


def _exact_integer(text: str) -> int | Decimal:
    # Python refuses to turn thousands of digits into an int with an error that names no field.
    return int(text) if len(text) <= _MAX_NUMBER_LENGTH else Decimal("NaN")


def _refuse_constant(name: str) -> NoReturn:
    raise NotJson([FieldError("", f"not JSON: {name} is not a JSON number")])


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise InvalidOrder([FieldError(_path((twice,)), "key given twice in one object")])
    return members
