"""`orders why`."""

from tools.operations.why import decide
from tools.orders_cli.connection import ENVIRONMENT, Connection
from tools.orders_cli.output import Json, print_fields, print_json


def why(order_id: str, /, *, json: Json = False, connection: Connection = ENVIRONMENT) -> None:
    """Say why an order does not move: the cause, the evidence, and the next command.

    Parameters
    ----------
    order_id
        The order's id.
    """
    found = decide(connection.evidence.of(order_id))
    if json:
        print_json({"orderId": order_id, "cause": found.cause, "evidence": found.evidence, "next": found.next_command})
        return
    print_fields({"order": order_id, "cause": found.cause})
    for sentence in found.evidence:
        print_fields({"": sentence})
    print_fields({"next": found.next_command})
