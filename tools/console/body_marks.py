"""The places in a message's body that its errors are about."""

import json
import json.decoder
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shared.orders.exact_json import WHITE_SPACE

MAX_MARKED: Final = 100
"""How many errors are looked for in a body."""

_SPACE: Final = re.compile(f"[{WHITE_SPACE}]*")
# Numbers stay text: one of thousands of digits takes long to read, or is refused.
_DECODER: Final = json.JSONDecoder(parse_int=str, parse_float=str)
_scan_string: Any = json.decoder.scanstring  # type: ignore[attr-defined]

Span = tuple[int, int]


@dataclass(frozen=True)
class Piece:
    """A part of a body, and the numbers from 1 of the errors that are about it."""

    text: str
    errors: tuple[int, ...] = ()


def marked(body: str, fields: Sequence[str]) -> list[Piece]:
    """The whole body in pieces. `fields`: the field of each error, such as `items.0.quantity`; empty: the whole order.

    A missing field marks the bracket of the object that lacks it. A body that is not JSON is marked where it stops
    being JSON, for the first error.
    """
    spans: defaultdict[Span, list[int]] = defaultdict(list)
    for number, span in _spans_of(body, fields[:MAX_MARKED]):
        spans[span].append(number)
    places: list[tuple[int, int, set[int]]] = []
    for (start, end), numbers in sorted(spans.items()):
        if places and start < places[-1][1]:  # the bracket of a member that is marked with its key
            first, last, others = places.pop()
            places.append((first, max(last, end), others | {*numbers}))
        else:
            places.append((start, end, {*numbers}))
    pieces: list[Piece] = []
    done = 0
    for start, end, found in places:
        pieces += [Piece(body[done:start]), Piece(body[start:end], tuple(sorted(found)))]
        done = end
    return [piece for piece in (*pieces, Piece(body[done:])) if piece.text]


def _spans_of(body: str, fields: Sequence[str]) -> Iterator[tuple[int, Span]]:
    start = _after_space(body, 0)
    try:
        _, end = _DECODER.raw_decode(body, start)
    except json.JSONDecodeError as error:
        if fields and body:
            yield 1, _visible(body, error.pos)
        return
    except RecursionError:
        return
    if _after_space(body, end) != len(body):
        if fields:
            yield 1, _visible(body, _after_space(body, end))
        return
    for number, field in enumerate(fields, 1):
        if field:
            for span in _spans(body, start, field):
                yield number, span


def _visible(body: str, position: int) -> Span:
    """One character there; white space with the character before it."""
    position = min(position, len(body) - 1)
    return (max(position - 1, 0) if body[position].isspace() else position, position + 1)


def _spans(text: str, at: int, path: str) -> list[Span]:
    """The places of a path in the value that begins here; the value's bracket if it has no such member."""
    found: list[Span] = []
    for step, start, value, end in _members(text, at):
        if path == step or path.startswith(f"{step}."):
            rest = path[len(step) + 1 :]
            is_container = text[value] in "{["
            if rest and is_container:
                found += _spans(text, value, rest)
            else:
                found.append((start, value + 1 if is_container else end))
    return found or [(at, at + 1)]


def _members(text: str, at: int) -> Iterator[tuple[str, int, int, int]]:
    """The members of an object or list: key or number, where the member and its value begin, and its end."""
    if text[at] not in "{[":
        return
    is_object, number = text[at] == "{", 0
    at = _after_space(text, at + 1)
    while text[at] not in "}]":
        start, step = at, str(number)
        if is_object:
            key, at = _scan_string(text, at + 1)
            step = key or '""'  # as `field_path` writes it
            at = _after_space(text, _after_space(text, at) + 1)
        _, end = _DECODER.raw_decode(text, at)
        yield step, start, at, end
        number += 1
        at = _after_space(text, end)
        if text[at] == ",":
            at = _after_space(text, at + 1)


def _after_space(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position
