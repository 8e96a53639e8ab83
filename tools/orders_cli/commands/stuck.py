"""`orders stuck`."""

from datetime import UTC, datetime, timedelta

from reconciler.stalled import stalled_orders
from tools.operations.why import decide
from tools.orders_cli.connection import ENVIRONMENT, Connection
from tools.orders_cli.output import Json, print_json, print_table


def stuck(*, json: Json = False, connection: Connection = ENVIRONMENT) -> None:
    """List every order that has not moved for longer than it may, with its cause.

    That is five minutes, and in WAITING the order's wait on top.
    """
    wait = timedelta(seconds=int(connection.parameters["WaitSeconds"]))
    around = connection.evidence.surroundings()
    found = (
        (order, decide(connection.evidence.of(order.order_id, around)))
        for order in stalled_orders(connection.ledger, wait, datetime.now(UTC))
    )
    if json:
        print_json(
            [
                {
                    "orderId": order.order_id,
                    "state": order.state,
                    "since": order.since,
                    "cause": why.cause,
                    "next": why.next_command,
                }
                for order, why in found
            ]
        )
        return
    print_table(
        ("order", "state", "since", "cause", "evidence", "next"),
        (
            (order.order_id, order.state, order.since, why.cause, "; ".join(why.evidence), why.next_command)
            for order, why in found
        ),
    )
