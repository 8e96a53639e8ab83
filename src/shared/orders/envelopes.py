"""Finds the order in a message that is wrapped in something else.

One rule for every service and every producer: the object that looks most like an order is the order. It can be at any
depth, as JSON text or base64 in a string, or in DynamoDB's typed JSON.
"""

import base64
import json
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any, Final

from shared.orders.exact_json import MAX_TEXT_LENGTH, MAX_VALUES, exact_number
from shared.orders.field_errors import Path, general
from shared.orders.similar_names import meant, simplified

_WEIGHTS: Final = {"orderId": 3, "items": 2, "customerId": 2, "placedAt": 2, "currency": 1, "attributes": 1}
"""How much a field's own name says that an object is an order. A near miss says 1, a word of any message nothing."""
_FIELDS: Final = frozenset(_WEIGHTS)
_ENOUGH: Final = 3
_ENOUGH_WITH_ITEMS: Final = 2
_ANY_MESSAGE: Final = frozenset(
    "id number reference time timestamp date created account user metadata meta properties tags extra".split()
)
_MAX_OBJECTS: Final = 1_000
_MAX_DEPTH: Final = 12
_MAX_STEPS: Final = 64
_MAX_KEYS: Final = 200
_FEW_KEYS: Final = 20
_MAX_ORDERS: Final = 100

_JSON_TEXT: Final = " as JSON text in a string"
_BASE64_TEXT: Final = " as base64 of JSON text"
_TYPED: Final = " in DynamoDB's typed JSON"
_TYPES: Final = frozenset({"S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS"})
# The bytes { and [, and the start of the next one.
_BASE64_OF_JSON: Final = re.compile(r"[eW][w-z0-9+/_-][A-Za-z0-9+/_-]{6,}={0,2}", re.ASCII)
_SIMPLE_PATH: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*", re.ASCII)
# Of a stream's record: the key alone, and the item before the change.
_NOT_THE_ORDER: Final = frozenset({"Keys", "OldImage"})


@dataclass(frozen=True)
class Wrapped:
    """An order that is not the message itself, and the advice to its producer."""

    path: Path
    data: Mapping[str, Any]
    reason: str


@dataclass(frozen=True)
class _Place:
    path: Path
    value: Any
    form: str


def orders_in(data: object) -> list[Wrapped]:
    """The orders that the message wraps, at most 100. None if the message itself looks most like an order."""
    if _is_typed(data):
        return [Wrapped((), _untyped(data), _reason(data, _Place((), data, _TYPED)))]
    has_id = isinstance(data, dict) and any(simplified(name) == "orderid" for name in islice(data, _MAX_KEYS))
    likeliest, best = None, _likeness(data)
    candidates: list[tuple[Path, _Place]] = []
    for place in _places(data, skip=_FIELDS if has_id else frozenset()):
        likeness = _likeness(place.value)
        # The lines of an order can have its id too.
        if not _is_enough(place.value, likeness) or (has_id and any(isinstance(step, int) for step in place.path)):
            continue
        kind = general(place.path)
        candidates.append((kind, place))
        if likeness > best:
            likeliest, best = kind, likeness
    chosen = [place for kind, place in candidates if likeliest is not None and kind == likeliest]
    return [Wrapped(place.path, place.value, _reason(data, place)) for place in chosen[:_MAX_ORDERS]]


def pointer_in(data: object) -> tuple[Path, str] | None:
    """Where the message names an object in S3 instead of an order, with the advice to its producer."""
    if seems_an_order(data):
        return None
    for path, members in islice(objects_in(data), _MAX_OBJECTS):
        names = {simplified(name) for name in islice(members, _MAX_KEYS)}
        if {"s3bucketname", "s3key"} <= names or ("bucket" in names and names & {"key", "object"}):
            return path, (
                "names an object in S3, and this pipeline reads only the message:"
                " send the order itself as the message's body, every order fits"
            )
    return None


def seems_an_order(data: object) -> bool:
    """Whether data has fields of an order, or near misses of them: enough of them, or as many as other fields."""
    if not isinstance(data, dict):
        return False
    known = sum(meant(name, _FIELDS, guess=len(data) <= _FEW_KEYS) is not None for name in islice(data, _MAX_KEYS))
    return _is_enough(data, _likeness(data)) or 2 * known >= len(data)


def objects_in(data: object) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every object in the data, with the first steps of its path: more steps than an error has space for."""
    waiting: deque[tuple[Path, Any]] = deque([((), data)])
    while waiting:
        path, value = waiting.popleft()
        inner: Iterable[tuple[Any, Any]] = ()
        if isinstance(value, dict):
            yield path, value
            inner = value.items()
        elif isinstance(value, list):
            inner = enumerate(value)
        within = path[:_MAX_STEPS]
        waiting.extend(((*within, step), part) for step, part in inner if isinstance(part, dict | list))


def _places(data: object, skip: frozenset[str]) -> Iterator[_Place]:
    """The objects below the top, those in texts too, the ones near the top first. Its cost has a limit."""
    texts = _Texts()
    top = texts.read(_Place((), data, ""))
    waiting = deque([top] if isinstance(top.value, dict | list) else [])
    objects = 0
    while waiting and objects < _MAX_OBJECTS:
        place = waiting.popleft()
        if isinstance(place.value, dict):
            objects += 1
            if place is not top or place.form:
                yield place
        inner: Iterable[tuple[Any, Any]] = (
            place.value.items() if isinstance(place.value, dict) else enumerate(place.value)
        )
        for step, value in inner:
            skipped = step in _NOT_THE_ORDER or (not place.path and step in skip)
            if len(place.path) < _MAX_DEPTH and not skipped and isinstance(value, dict | list | str):
                found = texts.read(_Place((*place.path, step), value, place.form))
                if isinstance(found.value, dict | list):
                    waiting.append(found)


class _Texts:
    """Decodes strings that are JSON text. All together have the limits of one message."""

    def __init__(self) -> None:
        self._characters = MAX_TEXT_LENGTH
        self._values = MAX_VALUES

    def read(self, place: _Place) -> _Place:
        """The place with what its text decodes to, or as it is."""
        if _is_typed(place.value):
            return _Place(place.path, _untyped(place.value), _TYPED)
        if not isinstance(place.value, str):
            return place
        text, form = place.value, place.form or _JSON_TEXT
        if len(text) <= self._characters and _BASE64_OF_JSON.fullmatch(text):
            self._characters -= len(text)
            text, form = _text_in_base64(text), _BASE64_TEXT
        if text.lstrip()[:1] not in {"{", "["}:
            return place
        self._characters -= len(text)
        self._values -= sum(map(text.count, ",[{"))
        if self._characters < 0 or self._values < 0:
            return place
        try:
            value = json.loads(text, parse_int=Decimal, parse_float=exact_number)
        except (ValueError, RecursionError):
            return place
        return _Place(place.path, _untyped(value) if _is_typed(value) else value, form)


def from_base64(text: str) -> bytes:
    """What base64 of either alphabet encodes, with or without its padding. Raises `ValueError` for any other text."""
    letters = text.translate({ord("-"): "+", ord("_"): "/"}).rstrip("=")
    return base64.b64decode(letters + "=" * (-len(letters) % 4), validate=True)


def _text_in_base64(text: str) -> str:
    try:
        return from_base64(text).decode()
    except ValueError:
        return ""


def _likeness(data: object) -> int:
    """How much an object looks like an order: the sum over the order's fields that it has, or has near misses of."""
    if not isinstance(data, dict):
        return 0
    scores: dict[str, int] = {}
    for name in islice(data, _MAX_KEYS):
        field = meant(name, _FIELDS, guess=False)
        if field is not None:
            key = simplified(name)
            is_items = field == "items" and _is_items(data[name])
            score = _WEIGHTS[field] if key == field.casefold() or is_items else int(key not in _ANY_MESSAGE)
            scores[field] = max(scores.get(field, 0), score)
    return sum(scores.values())


def _is_enough(data: dict[str, Any], likeness: int) -> bool:
    if likeness < _ENOUGH_WITH_ITEMS:
        return False
    return likeness >= _ENOUGH or any(
        meant(name, _FIELDS, guess=False) == "items" and _is_items(data[name]) for name in islice(data, _MAX_KEYS)
    )


def _is_items(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _is_typed(data: object) -> bool:
    """Whether an object is an order in DynamoDB's typed JSON."""
    return (
        isinstance(data, dict)
        and bool(data)
        and all(isinstance(value, dict) and len(value) == 1 and value.keys() <= _TYPES for value in data.values())
        and _likeness(data) >= _ENOUGH
    )


def _untyped(data: Any, depth: int = 0) -> Any:
    """DynamoDB's typed JSON as plain JSON."""
    if depth > _MAX_DEPTH:
        return None
    return {name: _untyped_value(typed, depth) for name, typed in data.items()}


def _untyped_value(typed: Any, depth: int) -> Any:
    if not isinstance(typed, dict) or len(typed) != 1:
        return typed
    ((kind, value),) = typed.items()
    if kind == "M" and isinstance(value, dict):
        return _untyped(value, depth + 1)
    if kind == "L" and isinstance(value, list):
        return [_untyped_value(inner, depth + 1) for inner in value]
    if kind == "N" and isinstance(value, str):
        return exact_number(value)
    return None if kind == "NULL" else value


def _reason(message: Any, place: _Place) -> str:
    """The advice for one order: what to send, and the setting that sends it, where the wrapping service has one."""
    where = "the message is an order" if not place.path else "an order seems to be here"
    send = {
        "": "send only this object as the message's body",
        _JSON_TEXT: "send only this text as the message's body, without quotes and escapes",
        _BASE64_TEXT: "send only the text that it decodes to as the message's body",
        _TYPED: "send it as plain JSON, without the types",
    }[place.form]
    return f"{where}{place.form}: {send}{_setting(message, place)}"


def _setting(message: Any, place: _Place) -> str:
    path = ".".join(map(str, place.path))
    if not isinstance(message, dict) or not _SIMPLE_PATH.fullmatch(path) or place.form == _TYPED:
        return ""
    if "TopicArn" in message and path == "Message" and place.form == _JSON_TEXT:
        return " (enable raw message delivery on the SNS subscription)"
    if "detail-type" in message and not place.form:
        return f' (set InputPath to "$.{path}" on the target of the EventBridge rule)'
    if "eventSource" in message:
        return f' (set the input template of the EventBridge pipe to "<$.{path}>")'
    return ""
