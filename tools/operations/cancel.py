"""Cancels an order: in the ledger, which decides, then on Lambda, which ends the wait early."""

from shared.errors import IllegalTransition, OrderUnknown
from shared.executions.client import ExecutionsClient
from shared.ledger.entry import LedgerEntry
from shared.ledger.states import State, predecessors
from shared.ledger.table import LedgerTable, Refused, Written, unchanged


def cancel(order_id: str, ledger: LedgerTable, executions: ExecutionsClient, reason: str | None = None) -> LedgerEntry:
    """Cancel an order that is not FINALIZING yet, stop its execution, and return the order's new entry.

    `reason` is the detail in the history. The call is idempotent; for a cancelled order it stops the execution again.

    Raises `OrderUnknown`; `IllegalTransition` for an order that can no longer be cancelled; and, with the order
    cancelled, `ExecutionUnavailable` when Lambda did not take the stop: then the execution ends at its next write to
    the ledger, or by another cancel.
    """
    found = ledger.get(order_id)
    while found is not None and found.state in predecessors(State.CANCELLED):
        match ledger.move(order_id, found.attempt, (State.CANCELLED,), unchanged(found), detail=reason or None):
            case Written():
                found = ledger.get(order_id)
            case Refused(winner):
                found = winner
    if found is None:
        raise OrderUnknown(f"order {order_id} is not in the ledger")
    if found.state is not State.CANCELLED:
        raise IllegalTransition(f"order {order_id} is {found.state} and can no longer be cancelled")
    executions.stop(found.execution_arn, "OrderCancelled", f"order {order_id} was cancelled")
    return found
