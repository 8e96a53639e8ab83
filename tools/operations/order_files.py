"""Reads orders from JSON, JSON Lines or CSV, each checked, with the number of its line.

JSON Lines and CSV are read line by line, so that memory does not grow with a file. JSON is read whole.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import PurePath
from typing import Any, Final, Literal, TextIO

from shared.errors import InvalidOrder
from shared.orders.exact_json import WHITE_SPACE
from shared.orders.order import Order, parse_order

Format = Literal["json", "jsonl", "csv"]

_FORMATS: Final[dict[str, Format]] = {".json": "json", ".csv": "csv"}
_ITEM_COLUMNS: Final = ("sku", "quantity", "unitPrice")
_ATTRIBUTE: Final = "attributes."
_INTEGER: Final = re.compile(r"\d{1,18}", re.ASCII)


@dataclass(frozen=True)
class OrderLine:
    """An order, and the line on which it begins."""

    line: int
    order: Order


@dataclass(frozen=True)
class BadLine:
    """Why a line is no order: fields and reasons, never a value."""

    line: int
    reason: str


def format_of(name: str) -> Format:
    """The format that the end of a file's name says; JSON Lines for any other, and for standard input."""
    return _FORMATS.get(PurePath(name).suffix.lower(), "jsonl")


def guessed_format(text: str) -> Format:
    """The format that a text without a name seems to have: JSON if its first value is a list or is all of it."""
    start = _after_space(text, 0)
    if text.startswith("[", start):
        return "json"
    if not text.startswith("{", start):
        return "csv"
    try:
        _, end = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        # A mistake in the first line of many, or in one order on many lines.
        return "jsonl" if "}" in text.partition("\n")[0] else "json"
    return "json" if _after_space(text, end) == len(text) else "jsonl"


def orders_in(stream: TextIO, form: Format) -> Iterator[OrderLine | BadLine]:
    """The orders of a text, each line checked. Empty lines are skipped."""
    return {"json": _in_json, "jsonl": _in_json_lines, "csv": _in_csv}[form](stream)


def _checked(line: int, text: str) -> OrderLine | BadLine:
    try:
        return OrderLine(line, parse_order(text))
    except InvalidOrder as error:
        return BadLine(line, f"{error.code}: {error.named()}")


def _in_json_lines(stream: Iterable[str]) -> Iterator[OrderLine | BadLine]:
    for number, line in enumerate(stream, 1):
        if text := line.strip(WHITE_SPACE):
            yield _checked(number, text)


def _in_json(stream: TextIO) -> Iterator[OrderLine | BadLine]:
    """One order, or the orders of a list. The text of each goes to the parser unchanged, so that numbers stay exact."""
    text = stream.read()
    position = _after_space(text, 0)
    if not text.startswith("[", position):
        yield _checked(1 + text.count("\n", 0, position), text)
        return
    decoder = json.JSONDecoder()
    line, counted = 1, 0
    position = _after_space(text, position + 1)
    while not text.startswith("]", position):
        line, counted = line + text.count("\n", counted, position), position
        try:
            _, end = decoder.raw_decode(text, position)
        except (json.JSONDecodeError, RecursionError):
            yield BadLine(line, "NOT_JSON: the list is not JSON from here on")
            return
        yield _checked(line, text[position:end])
        position = _after_space(text, end)
        if text.startswith(",", position):
            position = _after_space(text, position + 1)
        elif not text.startswith("]", position):
            yield BadLine(line, "NOT_JSON: after this order, the list has neither a comma nor its end")
            return


def _after_space(text: str, position: int) -> int:
    while text[position : position + 1] in {*WHITE_SPACE}:
        position += 1
    return position


def _in_csv(stream: Iterable[str]) -> Iterator[OrderLine | BadLine]:
    """A row for each item. Rows that follow each other with the same `orderId` are the items of one order.

    Columns: the fields of an order and of an item, and `attributes.NAME`. An empty cell is an unset field.
    """
    rows = csv.DictReader(stream, strict=True)

    def numbered() -> Iterator[tuple[int, dict[str, Any]]]:
        for row in rows:
            yield rows.line_num, row

    try:
        for _, group in groupby(numbered(), key=lambda numbered_row: numbered_row[1].get("orderId")):
            yield _order_of_rows(list(group))
    except csv.Error as error:
        yield BadLine(rows.line_num + 1, f"not CSV: {error}")


def _order_of_rows(rows: list[tuple[int, dict[str, Any]]]) -> OrderLine | BadLine:
    line, first = rows[0]
    data: dict[str, Any] = {}
    for number, row in rows:
        if None in row:
            return BadLine(number, "the row has more cells than the header")
        if _shared(row) != _shared(first):
            return BadLine(number, "the rows of one order differ in another column than an item's")
    for name, cell in _shared(first).items():
        if name.startswith(_ATTRIBUTE):
            data.setdefault("attributes", {})[name.removeprefix(_ATTRIBUTE)] = cell
        else:
            data[name] = cell
    items = [{name: row[name] for name in _ITEM_COLUMNS if row.get(name)} for _, row in rows]
    for item in items:
        if _INTEGER.fullmatch(item.get("quantity", "")):
            item["quantity"] = int(item["quantity"])
    if any(items):
        data["items"] = items
    return _checked(line, json.dumps(data))


def _shared(row: dict[str, Any]) -> dict[str, Any]:
    """The cells that are the same for all items of an order, without empty ones."""
    return {name: cell for name, cell in row.items() if name not in _ITEM_COLUMNS and cell}
