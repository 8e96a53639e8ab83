"""An action on orders that are named one by one: what changed, or why not, for each, and an entry in the log."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shared.errors import OrderError
from tools.orders_cli.connection import Connection
from tools.orders_cli.output import print_json, print_line, print_notice


def for_each(
    action: str,
    order_ids: Sequence[str],
    act: Callable[[str], Mapping[str, Any]],
    connection: Connection,
    *,
    json: bool,
    log: bool = True,
) -> int:
    """Take the action on each order. `act` returns what changed. Returns 1 if it was refused for one of them.

    `log`: whether the operations log gets an entry for each. What changes nothing needs none.
    """
    status = 0
    for order_id in dict.fromkeys(order_ids):
        try:
            changed = act(order_id)
        except OrderError as error:
            status = 1
            why = f"{type(error).__name__}: {error}"
            if log:
                connection.log.write(action, order_id, why)
            if json:
                print_json({"orderId": order_id, "refused": why})
            else:
                print_notice(f"{order_id}: {why}")
            continue
        text = ", ".join(f"{name} {value}" for name, value in changed.items())
        if log:
            connection.log.write(action, order_id, text)
        if json:
            print_json({"orderId": order_id, **changed})
        else:
            print_line(f"{order_id}: {text}")
    return status
