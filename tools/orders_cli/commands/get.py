"""`orders get`."""

from datetime import datetime
from itertools import pairwise
from typing import Any

from shared.errors import OrderUnknown
from shared.ledger.entry import LedgerEntry
from tools.operations.costs import Charge, Deployment, charges, cost
from tools.operations.prices import REGION
from tools.orders_cli.connection import ENVIRONMENT, Connection
from tools.orders_cli.output import Json, print_fields, print_json, print_table


def get(order_id: str, /, *, json: Json = False, connection: Connection = ENVIRONMENT) -> None:
    """Show an order: state, history with durations, error, execution, and what it cost.

    The cost is an estimate at list price: docs/costs.md.

    Parameters
    ----------
    order_id
        The order's id.
    """
    entry = connection.ledger.get(order_id)
    if entry is None:
        raise OrderUnknown(f"order {order_id} is not in the ledger (orders why {order_id} looks further)")
    used = charges(entry, Deployment.of(connection.parameters))
    if json:
        print_json(_as_json(entry) | {"cost": _cost_as_json(used)})
        return
    print_fields(
        {
            "order": entry.order_id,
            "state": entry.state,
            "attempt": entry.attempt,
            "error": entry.error and f"{entry.error['type']}: {entry.error['message']}",
            "execution": entry.execution_arn,
            "cost": f"${cost(used):.7f} (estimate at list price, {REGION})",
        }
    )
    print()
    times = [datetime.fromisoformat(step.at) for step in entry.history]
    durations = [f"{(after - at).total_seconds():.3f} s" for at, after in pairwise(times)]
    rows = zip(entry.history, [*durations, ""], strict=True)
    print_table(
        ("at", "attempt", "state", "for", "detail"),
        ((step.at, step.attempt, step.state, duration, step.detail) for step, duration in rows),
    )


def _as_json(entry: LedgerEntry) -> dict[str, Any]:
    return {
        "orderId": entry.order_id,
        "state": entry.state,
        "attempt": entry.attempt,
        "version": entry.version,
        "updatedAt": entry.updated_at,
        "executionArn": entry.execution_arn,
        "error": entry.error,
        "history": [step.stored() for step in entry.history],
        "order": entry.order,
        "enrichment": entry.enrichment,
        "result": entry.result,
    }


def _cost_as_json(used: list[Charge]) -> dict[str, Any]:
    parts: dict[str, float] = {}
    for charge in used:
        parts[charge.part] = parts.get(charge.part, 0) + charge.usd
    return {"usd": cost(used), "region": REGION, "kind": "estimate at list price", "usdByPart": parts}
