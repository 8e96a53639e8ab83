"""Cancels an order: in the ledger, which decides, then on Lambda, which ends the wait early."""

from typing import Final

from shared.errors import IllegalTransition, OrderUnknown
from shared.executions.client import ENDED, SUCCEEDED, ExecutionsClient
from shared.ledger.entry import LedgerEntry
from shared.ledger.settlement import settle_execution
from shared.ledger.states import State, predecessors
from shared.ledger.table import LedgerTable, Refused, unchanged

_CANCELLABLE: Final = frozenset({*predecessors(State.CANCELLED), State.CANCELLED})
"""The states in which a cancel is accepted. For a cancelled order it stops the execution again."""


def cancel(order_id: str, ledger: LedgerTable, executions: ExecutionsClient, reason: str | None = None) -> LedgerEntry:
    """Cancel an order that is not FINALIZING yet, stop its execution, and return the order's new entry.

    `reason` is the detail in the history. The call is idempotent; for a cancelled order it stops the execution again.
    If the execution has ended, and the ledger does not have that end, the end is recorded and the order is not
    cancelled: the item can be older than the execution's end, because it was restored from a backup.

    Raises `OrderUnknown`; `IllegalTransition` for an order that can no longer be cancelled; `ExecutionUnavailable` when
    Lambda did not answer: if the order is cancelled then, its execution ends at its next write to the ledger, or by
    another cancel. Raises also what `settle_execution` raises.
    """
    found = ledger.get(order_id)
    while found is not None and found.state in _CANCELLABLE:
        execution = executions.get(found.execution_arn)
        if execution is not None and execution.status in ENDED and _is_news(found, execution.status):
            settle_execution(ledger, execution, executions.stack_id)
            found = ledger.get(order_id)
            continue
        if found.state is not State.CANCELLED:
            written = ledger.move(order_id, found.attempt, (State.CANCELLED,), unchanged(found), detail=reason or None)
            if isinstance(written, Refused):
                found = written.entry
                continue
        executions.stop(found.execution_arn, "OrderCancelled", f"order {order_id} was cancelled")
        found = ledger.get(order_id)
        break
    if found is None:
        raise OrderUnknown(f"order {order_id} is not in the ledger")
    if found.state is not State.CANCELLED:
        raise IllegalTransition(f"order {order_id} is {found.state} and can no longer be cancelled")
    return found


def _is_news(entry: LedgerEntry, status: str) -> bool:
    """Whether the end of the order's owner must still be recorded. A cancelled order's owner ends without success."""
    return entry.state is not State.CANCELLED or status == SUCCEEDED
