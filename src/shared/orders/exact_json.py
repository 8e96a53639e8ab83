"""JSON text read without any loss: numbers stay exact, keys given twice are found, and large texts are refused."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NoReturn

from shared.errors import FieldError, NotJson, OrderTooLarge
from shared.orders.fields import MAX_CANONICAL_BYTES

MAX_TEXT_LENGTH: Final = 6 * MAX_CANONICAL_BYTES
"""The longest text that is decoded, in characters: the largest order with each character escaped as `\\u0041`.

Only padding makes the text of an order longer: white space, or zeros of a price or a time. It is refused as well.
"""

# Three times as many as in the largest order: that has one value and four more for each item, six fields, fifty
# attributes.
MAX_VALUES: Final = 20_000
_MAX_INT_LENGTH: Final = 18
WHITE_SPACE: Final = " \t\r\n"
_MAX_PATH_LENGTH: Final = 128


Repeated = Sequence[tuple[dict[str, Any], list[str]]]
"""The objects that have a key twice, each with these keys. The object has the last value of each."""


@dataclass(frozen=True)
class Decoded:
    """A decoded text."""

    data: Any
    repeated: Repeated


def decode(text: str) -> Decoded:
    """Decode JSON with exact numbers: an integer becomes an int, any other number a Decimal.

    `json.loads` alone would turn 29.330000000000000000001 into a float, and would not say that a key is given twice.
    Raises `NotJson` or `OrderTooLarge`.
    """
    refuse_large_text(text)
    repeated: list[tuple[dict[str, Any], list[str]]] = []

    def with_unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            repeated.append((members, [key for key, count in counts.items() if count > 1]))
        return members

    try:
        data = json.loads(
            text,
            parse_int=_exact_integer,
            parse_float=exact_number,
            parse_constant=_refuse_constant,
            object_pairs_hook=with_unique_keys,
        )
    except json.JSONDecodeError as error:
        from shared.orders import not_json  # noqa: PLC0415  # only for a reject: an import is cold start

        raise NotJson(not_json.reasons(error)) from None
    except RecursionError:
        raise NotJson([FieldError("", "not JSON this pipeline reads: nested too deeply")]) from None
    return Decoded(data, repeated)


def refuse_large_text(text: str) -> None:
    """Raise `OrderTooLarge` for a text that is longer, or has more JSON values, than any order. Decodes nothing.

    A text that passes costs little more to decode than the largest order.
    """
    if len(text) > MAX_TEXT_LENGTH:
        raise OrderTooLarge([FieldError("", f"{len(text)} characters, more than the {MAX_TEXT_LENGTH} allowed")])
    if len(text) < MAX_VALUES or text.lstrip(WHITE_SPACE)[:1] not in {"[", "{"}:
        return  # a value for each character, or one value, at most
    unescaped = text.replace("\\\\", "").replace('\\"', "")
    # A string value has two quotes, and its key has two more.
    if unescaped.count('"') <= 4 * MAX_VALUES:
        outside_strings = "".join(unescaped.split('"')[::2])
        # Each value except the first follows one of these characters.
        if sum(map(outside_strings.count, ",[{")) < MAX_VALUES:
            return
    raise OrderTooLarge([FieldError("", f"more than the {MAX_VALUES} JSON values allowed")])


def field_path(location: tuple[int | str, ...]) -> str:
    """Return the path of a field, such as `items.0.sku`: at most 128 characters, with lone surrogates escaped.

    The path of the whole order is empty, and an empty key is `""`. A key can be any text that the producer sends. Logs
    and SQS refuse a lone surrogate.
    """
    path = ".".join('""' if step == "" else str(step) for step in location)[:_MAX_PATH_LENGTH]
    return path.encode("utf-8", "backslashreplace").decode()


def exact_number(text: str) -> Decimal:
    """The number that a text of JSON or DynamoDB writes. NaN for one that no decimal holds."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return Decimal("NaN")  # an exponent of 18 digits or more: no field accepts it


def _exact_integer(text: str) -> int | Decimal:
    # For thousands of digits `int` is slow, or raises an error that names no field.
    return int(text) if len(text) <= _MAX_INT_LENGTH else Decimal(text)


def _refuse_constant(name: str) -> NoReturn:
    raise NotJson([FieldError("", f"not JSON: {name} is not a JSON number")])
