"""What a command prints: a table for people, or JSON for programs.

A producer chooses the text of an order, so every text is printed with its control characters escaped.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from cyclopts import Parameter

from tools.printable import printable

Json = Annotated[bool, Parameter(name="--json", help="Print JSON.")]
"""A command's flag `--json`."""


def json_text(value: Any) -> str:
    """A JSON text on one line, in ASCII, so that no control character is in it."""
    return json.dumps(value, default=str)


def print_json(value: Any) -> None:
    """One JSON text on one line."""
    print(json_text(value))


def print_line(text: str) -> None:
    """One line of text."""
    print(printable(text))


def print_notice(text: str) -> None:
    """One line on standard error: progress, a question, a warning."""
    print(printable(text), file=sys.stderr)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on a terminal; elsewhere lines of values with tabs between them, without a header."""
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(printable(_text(value)) for value in row))
        return
    # Rich takes a tenth of a second to import.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(printable(_text(value))) for value in row))
    Console().print(table)


def print_fields(fields: Mapping[str, object]) -> None:
    """One thing, a line for each of its fields that has a value."""
    width = max(map(len, fields), default=0) + 2
    for name, value in fields.items():
        if value is not None:
            print(f"{name:<{width}}{printable(_text(value))}")


def _text(value: object) -> str:
    return "" if value is None else str(value)
