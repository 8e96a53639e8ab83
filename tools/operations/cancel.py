"""Cancelling an order: in the ledger first, which decides, then on Lambda, which saves the rest of the wait."""

from shared.errors import IllegalTransition, OrderUnknown
from shared.executions.client import OrderExecutions
from shared.ledger.entry import LedgerEntry
from shared.ledger.states import State, predecessors
from shared.ledger.table import LedgerTable, unmoved


def cancel(order_id: str, ledger: LedgerTable, executions: OrderExecutions, reason: str | None = None) -> LedgerEntry:
    """Cancel an order that has not begun to finalize, stop its execution, and answer the order as it is then.

    The beginning of `reason` goes into the history. May be repeated: an order that is cancelled has its execution
    stopped again.
    Raises `OrderUnknown`, `IllegalTransition` for an order that can no longer be cancelled, and, with the order
    cancelled, `ExecutionUnavailable` when Lambda did not take the stop: the execution then ends when it next looks
    into the ledger, or by another cancel.
    """
    found = ledger.get(order_id)
    while found is not None and found.state in predecessors(State.CANCELLED):
        refused = ledger.move(order_id, found.attempt, (State.CANCELLED,), unmoved(found), detail=reason or None)
        found = refused or ledger.get(order_id)
    if found is None:
        raise OrderUnknown(f"order {order_id} is not in the ledger")
    if found.state is not State.CANCELLED:
        raise IllegalTransition(f"order {order_id} is {found.state} and can no longer be cancelled")
    executions.stop(found.execution_arn, "OrderCancelled", f"order {order_id} was cancelled")
    return found
