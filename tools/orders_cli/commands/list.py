"""`orders list`."""

import csv as csv_format
import sys
from typing import Annotated, Final

from cyclopts import Parameter

from shared.ledger.states import State
from tools.operations.selection import SelectedOrder, Selection, selected
from tools.orders_cli.ages import TimeAgo
from tools.orders_cli.connection import ENVIRONMENT, Connection
from tools.orders_cli.failure import WrongUsage
from tools.orders_cli.output import Json, print_json, print_line
from tools.printable import printable

_COLUMNS: Final = ("orderId", "state", "updatedAt", "attempt", "errorType", "customerId")
_WIDTHS: Final = (24, 10, 24, 7, 24, 0)


def list(  # noqa: A001 (a command's function has its name)
    *,
    state: Annotated[tuple[State, ...], Parameter(consume_multiple=True)] = (),
    customer: str | None = None,
    error: str | None = None,
    older_than: TimeAgo = None,
    since: TimeAgo = None,
    csv: bool = False,
    json: Json = False,
    connection: Connection = ENVIRONMENT,
) -> None:
    """List orders, the longest unmoved first. Each line is printed when it is read.

    Parameters
    ----------
    state
        Only orders in these states.
    customer
        Only orders of this customer.
    error
        Only orders that ended with this error type.
    older_than
        Only orders that have not moved for this long, such as 15m.
    since
        Only orders that moved in this last time, such as 2h.
    csv
        Print CSV with a header.
    """
    if csv and json:
        raise WrongUsage("choose one of --csv and --json")
    selection = Selection(state, customer, error, before=older_than, since=since)
    orders = selected(connection.dynamodb, connection.outputs["LedgerTableName"], selection)
    writer = csv_format.writer(sys.stdout)
    terminal = sys.stdout.isatty() and not (csv or json)
    if csv:
        writer.writerow(_COLUMNS)
    if terminal:
        print_line(_aligned(_COLUMNS))
    for order in orders:
        values = _values(order)
        if json:
            print_json(dict(zip(_COLUMNS, values, strict=True)))
        elif csv:
            writer.writerow(["" if value is None else printable(str(value)) for value in values])
        elif terminal:
            print_line(_aligned(values))
        else:
            print("\t".join("" if value is None else printable(str(value)) for value in values))


def _values(order: SelectedOrder) -> tuple[object, ...]:
    return (order.order_id, order.state, order.updated_at, order.attempt, order.error_type, order.customer)


def _aligned(values: tuple[object, ...]) -> str:
    """One row of a table whose widths are fixed: a row is printed before the next is known."""
    texts = ("" if value is None else printable(str(value)) for value in values)
    return "  ".join(f"{text:<{width}}" for text, width in zip(texts, _WIDTHS, strict=True)).rstrip()
