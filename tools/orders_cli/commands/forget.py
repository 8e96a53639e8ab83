"""`orders forget`."""

from tools.operations.forget import forget as operation
from tools.orders_cli.bulk import Yes, confirm
from tools.orders_cli.connection import ENVIRONMENT, Connection
from tools.orders_cli.output import Json, print_json, print_line


def forget(order_id: str, /, *, yes: Yes = False, json: Json = False, connection: Connection = ENVIRONMENT) -> None:
    """Erase an order that has ended, and delete its executions.

    Parameters
    ----------
    order_id
        The order's id.
    """
    confirm(f"Erase order {order_id} and its executions? This cannot be undone.", yes=yes)
    done = operation(order_id, connection.ledger, connection.executions)
    connection.log.write("forget", order_id, f"{len(done.deleted)} executions deleted")
    if json:
        print_json(
            {
                "orderId": order_id,
                "forgottenAt": done.forgotten_at,
                "deleted": list(done.deleted),
                "notReached": list(done.not_reached),
            }
        )
        return
    print_line(f"order {order_id} is forgotten, and {len(done.deleted)} of its executions are deleted")
    print_line("its data can still be in:")
    for place in done.not_reached:
        print_line(f"  {place}")
