"""The orders that have not moved for too long, by cause."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from reconciler.stalled import StalledOrder, stalled_orders
from tools.operations.why import Why, decide
from tools.orders_cli.connection import Connection

EXAMINED: Final = 10
"""How many of the stuck orders are examined for their cause: each takes about ten requests."""


@dataclass(frozen=True)
class Stuck:
    """How many orders are stuck, and those examined by cause, those that are stuck longest."""

    count: int
    examined: int
    causes: dict[str, list[tuple[StalledOrder, Why]]]


def stuck_orders(connection: Connection) -> Stuck:
    """The stuck orders now. Raises AWS's errors and those of the ledger."""
    wait = timedelta(seconds=int(connection.parameters["WaitSeconds"]))
    found = sorted(stalled_orders(connection.ledger, wait, datetime.now(UTC)), key=lambda order: order.since)
    causes: dict[str, list[tuple[StalledOrder, Why]]] = {}
    for order in found[:EXAMINED]:
        why = decide(connection.evidence.of(order.order_id))
        causes.setdefault(why.cause, []).append((order, why))
    return Stuck(len(found), min(len(found), EXAMINED), causes)
