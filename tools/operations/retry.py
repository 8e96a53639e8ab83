"""Retries an order that is FAILED, TIMED_OUT or STOPPED, as a new attempt with a new execution name.

A retry writes nothing to the ledger. It starts the execution that is named for the next attempt. That name is the lock:
two retries start one execution. The first write of this execution claims the order and notes the retry in the history.
"""

from dataclasses import dataclass

from shared.errors import FieldError, IllegalTransition, InvalidOrder, OrderEnded, OrderUnknown
from shared.executions.client import ENDED_BADLY, ExecutionsClient
from shared.executions.names import refuse_attempt_after_last
from shared.ledger.states import RETRYABLE
from shared.ledger.table import LedgerReader
from shared.orders.order import Order, order_from


@dataclass(frozen=True)
class Retry:
    """The attempt that was started or joined, and its execution."""

    attempt: int
    execution_arn: str


def retry(order_id: str, ledger: LedgerReader, executions: ExecutionsClient, corrected: Order | None = None) -> Retry:
    """Start the order's next attempt, with the recorded order or a corrected one.

    Raises:
    - `OrderUnknown`;
    - `IllegalTransition` for an order that is not FAILED, TIMED_OUT or STOPPED;
    - `TooManyAttempts` after the order's last attempt;
    - `InvalidOrder` for a correction with another order id, or a recorded order that this version does not accept;
    - `OrderConflict` when this attempt was started with another body;
    - `OrderEnded` when this attempt was started before and has ended, and the ledger does not have its end yet: the
      reconciler will record it;
    - `StartUnavailable` and `ExecutionUnavailable`.
    """
    before = ledger.get(order_id)
    if before is None:
        raise OrderUnknown(f"order {order_id} is not in the ledger")
    attempt = before.next_attempt
    if attempt is None:
        retryable = ", ".join(sorted(RETRYABLE))
        raise IllegalTransition(f"order {order_id} is {before.state}: only a {retryable} order can be retried")
    refuse_attempt_after_last(order_id, attempt)
    if corrected is not None and corrected.order_id != order_id:
        raise InvalidOrder([FieldError("orderId", f"the correction is of order {corrected.order_id}")])
    order = corrected or order_from(before.order)
    execution_arn = executions.start(order, attempt)
    # A start joins the execution that has this name, even when that has ended.
    started = executions.get(execution_arn)
    if started is not None and started.status in ENDED_BADLY:
        now = ledger.get(order_id)
        if now is not None and now.version == before.version:
            raise OrderEnded(
                f"attempt {attempt} of order {order_id} was started before and ended {started.status};"
                " the order can be retried again after the reconciler has recorded that"
            )
    return Retry(attempt, execution_arn)
