"""`orders history`."""

from dataclasses import asdict
from typing import Any

from shared.errors import OrderUnknown
from tools.operations.timeline import Attempt, compared, timeline
from tools.orders_cli.connection import ENVIRONMENT, Connection
from tools.orders_cli.output import Json, print_json, print_notice, print_table


def history(order_id: str, /, *, json: Json = False, connection: Connection = ENVIRONMENT) -> None:
    """Show the ledger's transitions and Lambda's operations on one time line, and compare the attempts.

    Of two attempts it says what differs: the end, the error, the time, the version of the function, and the names of
    the fields of the enrichment.

    Parameters
    ----------
    order_id
        The order's id.
    """
    entry = connection.ledger.get(order_id)
    if entry is None:
        raise OrderUnknown(f"order {order_id} is not in the ledger (orders why {order_id} looks further)")
    moments, attempts = timeline(entry, connection.aws_lambda)
    different = compared(attempts)
    if json:
        print_json(
            {
                "orderId": order_id,
                "timeline": list(map(asdict, moments)),
                "attempts": list(map(_as_json, attempts)),
                "differences": list(map(asdict, different)),
            }
        )
        return
    print_table(
        ("at", "attempt", "source", "what", "detail"),
        ((moment.at, moment.attempt, moment.source, moment.what, moment.detail) for moment in moments),
    )
    print()
    print_table(
        ("attempt", "started", "ended", "state", "retries", "invocations", "began"),
        ((one.attempt, one.started, one.ended, one.state, one.retries, one.invocations, one.began) for one in attempts),
    )
    if different:
        print()
        print_table(
            ("attempt", "differs in", "before", "now"),
            ((one.attempt, one.field, one.before, one.now) for one in different),
        )
    for one in attempts:
        if not one.events:
            print_notice(f"attempt {one.attempt}: Lambda no longer has {one.execution_arn}")


def _as_json(attempt: Attempt) -> dict[str, Any]:
    """The attempt without its enrichment, which can be personal."""
    return {name: value for name, value in asdict(attempt).items() if name != "enrichment"}
