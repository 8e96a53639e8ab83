"""Running an order again that failed, timed out or was stopped: as a new attempt, under a new name.

A retry writes nothing: it starts the execution named for the next attempt, and that name is the lock, so two retries
are one. The execution's first write then takes the order over, and says in the history that it is a retry.
"""

from dataclasses import dataclass

from shared.errors import FieldError, IllegalTransition, InvalidOrder, OrderEnded, OrderUnknown
from shared.executions.client import ENDED_BADLY, OrderExecutions
from shared.executions.names import refuse_attempt_after_last
from shared.ledger.states import RETRYABLE
from shared.ledger.table import LedgerTable
from shared.orders.order import Order, order_from


@dataclass(frozen=True)
class Retry:
    """The attempt that was started, or joined, and its execution."""

    attempt: int
    execution_arn: str


def retry(order_id: str, ledger: LedgerTable, executions: OrderExecutions, corrected: Order | None = None) -> Retry:
    """Start the order's next attempt, with the recorded order or a corrected one.

    Raises `OrderUnknown`; `IllegalTransition` for an order that is not FAILED, TIMED_OUT or STOPPED; `TooManyAttempts`
    after its last attempt (an execution started by hand may say that it is the last); `InvalidOrder` for a correction
    with another order's id, or a recorded order that this version no longer takes; `OrderConflict` when this attempt
    was started with another body; `OrderEnded` when it was started before and has ended without a trace in the ledger,
    which the reconciler brings there; `StartUnavailable` and `ExecutionUnavailable`.
    """
    before = ledger.get(order_id)
    if before is None:
        raise OrderUnknown(f"order {order_id} is not in the ledger")
    if before.state not in RETRYABLE:
        raise IllegalTransition(f"order {order_id} is {before.state}: only a {_names()} order can be retried")
    attempt = before.attempt + 1
    refuse_attempt_after_last(order_id, attempt)
    if corrected is not None and corrected.order_id != order_id:
        raise InvalidOrder([FieldError("orderId", f"the correction is of order {corrected.order_id}")])
    order = corrected or order_from(before.order)
    execution_arn = executions.start(order, attempt)
    # A start joins whatever has the name, also what ended long ago.
    started = executions.get(execution_arn)
    if started is not None and started.status in ENDED_BADLY:
        now = ledger.get(order_id)
        if now is not None and now.version == before.version:
            raise OrderEnded(
                f"attempt {attempt} of order {order_id} was started before and ended {started.status};"
                " once the reconciler has recorded that, the order can be retried again"
            )
    return Retry(attempt, execution_arn)


def _names() -> str:
    return ", ".join(sorted(RETRYABLE))
