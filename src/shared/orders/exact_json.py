"""JSON text read without any loss: numbers stay exact, and duplicate keys and large texts are refused."""

import json
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NoReturn

from shared.errors import FieldError, InvalidOrder, NotJson, OrderTooLarge
from shared.orders.fields import MAX_CANONICAL_BYTES, MAX_NUMBER_LENGTH

MAX_TEXT_LENGTH: Final = 6 * MAX_CANONICAL_BYTES
"""The longest text that is decoded, in characters: the largest order with each character escaped as `\\u0041`.

Only padding makes the text of an order longer: white space, or zeros of a price or a time. It is refused as well.
"""

# Three times as many as in the largest order: that has one value and four more for each item, six fields, fifty
# attributes.
_MAX_VALUES: Final = 20_000
_MAX_PATH_LENGTH: Final = 128


def parse_json(text: str) -> Any:
    """Decode JSON with exact numbers: an integer becomes an int, any other number a Decimal.

    `json.loads` alone would turn 29.330000000000000000001 into a float, and would keep only the last of two duplicate
    keys. Raises `NotJson`, `InvalidOrder` for a duplicate key, or `OrderTooLarge`.
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


def refuse_large_text(text: str) -> None:
    """Raise `OrderTooLarge` for a text that is longer, or has more JSON values, than any order. Decodes nothing.

    A text that passes costs little more to decode than the largest order.
    """
    if len(text) > MAX_TEXT_LENGTH:
        raise OrderTooLarge([FieldError("", f"{len(text)} characters, more than the {MAX_TEXT_LENGTH} allowed")])
    unescaped = text.replace("\\\\", "").replace('\\"', "")
    # A string value has two quotes, and its key has two more.
    if unescaped.count('"') <= 4 * _MAX_VALUES:
        outside_strings = "".join(unescaped.split('"')[::2])
        # Each value except the first follows one of these characters.
        if sum(map(outside_strings.count, ",[{")) < _MAX_VALUES:
            return
    raise OrderTooLarge([FieldError("", f"more than the {_MAX_VALUES} JSON values allowed")])


def field_path(location: tuple[int | str, ...]) -> str:
    """Return the path of a field, such as `items.0.sku`: at most 128 characters, with lone surrogates escaped.

    A key can be any text that the producer sends. Logs and SQS refuse a lone surrogate.
    """
    path = ".".join(map(str, location))[:_MAX_PATH_LENGTH]
    return path.encode("utf-8", "backslashreplace").decode()


def _exact_number(text: str) -> Decimal:
    try:
        # No field accepts a longer number. NaN fails the validation of every field, with the field's name.
        return Decimal(text if len(text) <= MAX_NUMBER_LENGTH else "NaN")
    except InvalidOperation:
        return Decimal("NaN")


def _exact_integer(text: str) -> int | Decimal:
    # For thousands of digits `int` raises an error that names no field.
    return int(text) if len(text) <= MAX_NUMBER_LENGTH else Decimal("NaN")


def _refuse_constant(name: str) -> NoReturn:
    raise NotJson([FieldError("", f"not JSON: {name} is not a JSON number")])


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise InvalidOrder([FieldError(field_path((twice,)), "key given twice in one object")])
    return members
