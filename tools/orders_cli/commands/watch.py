"""`orders watch`."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import count
from typing import Annotated, Any, Final

from cyclopts import Parameter
from cyclopts.validators import Number

from shared.aws.clock import utc_now
from shared.ledger.entry import LedgerEntry
from shared.ledger.states import TERMINAL
from tools.operations.progress import counts, depth
from tools.orders_cli.connection import ENVIRONMENT, Connection
from tools.orders_cli.output import Json, json_text
from tools.printable import printable

_QUEUES: Final = {"orders": "OrdersQueueUrl", "rejected": "RejectedOrdersQueueUrl", "dead": "OrdersDlqUrl"}


def watch(
    *order_ids: str,
    every: Annotated[float, Parameter(validator=Number(gt=0))] = 2,
    times: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    json: Json = False,
    connection: Connection = ENVIRONMENT,
) -> None:
    """Show orders until they end. Without ids: counts by state, queue depths and the rate, until Ctrl-C.

    A terminal shows the last look; elsewhere, and with --json, each change is a line.

    Parameters
    ----------
    order_ids
        The orders' ids. An id that is not in the ledger yet is waited for.
    every
        Seconds between two looks.
    times
        Stop after this many looks.
    """
    looks = _orders(order_ids, every, connection) if order_ids else _all(every, connection)
    text = _order_lines if order_ids else _count_lines
    shown: set[str] = set()
    with ExitStack() as stack:
        live = None
        if sys.stdout.isatty() and not json:
            from rich.live import Live  # noqa: PLC0415 (off a terminal it is not needed)
            from rich.text import Text  # noqa: PLC0415

            live = stack.enter_context(Live(auto_refresh=False))
        for number, look in enumerate(looks, start=1):
            lines = [line for row in look for line in ([json_text(row)] if json else text(row))]
            if live:
                live.update(Text("\n".join(lines)), refresh=True)
            else:
                for line in lines:
                    if line not in shown:
                        print(line, flush=True)
                shown = set(lines)
            if number == times:
                return


def _orders(order_ids: tuple[str, ...], every: float, connection: Connection) -> Iterator[list[dict[str, Any]]]:
    """How each order is, until all have ended."""
    open_ids = True
    while open_ids:
        items = connection.ledger_items.of(order_ids)
        entries = {order_id: LedgerEntry.of(item) for order_id, item in items.items()}
        open_ids = not all(order_id in entries and entries[order_id].state in TERMINAL for order_id in order_ids)
        yield [_order(order_id, entries.get(order_id)) for order_id in dict.fromkeys(order_ids)]
        if open_ids:
            time.sleep(every)


def _order(order_id: str, entry: LedgerEntry | None) -> dict[str, Any]:
    if entry is None:
        return {"orderId": order_id, "state": None}
    return {
        "orderId": order_id,
        "state": entry.state,
        "attempt": entry.attempt,
        "updatedAt": entry.updated_at,
        "error": entry.error["type"] if entry.error else None,
    }


def _order_lines(order: Mapping[str, Any]) -> list[str]:
    if order["state"] is None:
        return [printable(f"{order['orderId']}  not in the ledger yet")]
    error = f"  {order['error']}" if order["error"] else ""
    line = f"{order['orderId']}  {order['state']}  attempt {order['attempt']}  {order['updatedAt']}{error}"
    return [printable(line)]


def _all(every: float, connection: Connection) -> Iterator[list[dict[str, Any]]]:
    """The counts of the states, and of those that ended since the watch began."""
    since, began = utc_now(), time.monotonic()
    for look in count():
        found = counts(connection.dynamodb, connection.outputs["LedgerTableName"], since)
        ended = {state: number for state, number in found.items() if state in TERMINAL}
        elapsed = time.monotonic() - began
        yield [
            {
                "at": utc_now(),
                "running": {state: number for state, number in found.items() if state not in TERMINAL},
                "since": since,
                "ended": ended,
                "endedPerSecond": round(sum(ended.values()) / elapsed, 1) if look else 0.0,
                "queues": {name: _depth(connection, output) for name, output in _QUEUES.items()},
            }
        ]
        time.sleep(every)


def _depth(connection: Connection, output: str) -> dict[str, int]:
    found = depth(connection.sqs, connection.outputs[output])
    return {"waiting": found.waiting, "inFlight": found.in_flight}


def _count_lines(found: Mapping[str, Any]) -> list[str]:
    running, ended = (
        "  ".join(f"{state} {number}" for state, number in found[of].items()) for of in ("running", "ended")
    )
    queues = "  ".join(f"{name} {at['waiting']}+{at['inFlight']}" for name, at in found["queues"].items())
    return [
        f"{found['at']}  running: {running}",
        f"  ended since {found['since']}: {ended}  ({found['endedPerSecond']:.1f}/s)",
        f"  queues: {queues}",
    ]
