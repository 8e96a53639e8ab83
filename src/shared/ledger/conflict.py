"""What a producer needs to know about a conflict: which order was first, and which fields differ."""

from shared.errors import FieldError
from shared.ledger.entry import LedgerEntry
from shared.orders.order import Order


def conflict_errors(order: Order, entry: LedgerEntry | None) -> list[FieldError]:
    """The field errors of an order whose id is known with another body.

    `entry` is the ledger's entry of that id, or None if the first order is not in the ledger.
    """
    from shared.orders.differences import differences  # noqa: PLC0415  # only for a conflict: an import is cold start

    known = f"order {order.order_id} is known with another body"
    if entry is None:
        return [FieldError("orderId", f"{known}; that is not in the ledger yet, so what differs is not known")]
    first = entry.history[0]
    received = f"first received at {first.at} by the execution {first.execution_arn}"
    if entry.forgotten_at is not None:
        return [FieldError("orderId", f"{known}, {received}; it was forgotten, so what differs is not known")]
    found = differences(entry.order, order.canonical())
    if not found:
        return [FieldError("orderId", f"{known}, {received}; a retry has corrected that to this body: nothing to send")]
    return [FieldError("orderId", f"{known}, {received}"), *found]
