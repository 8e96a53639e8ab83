"""Retries an order that is FAILED, TIMED_OUT or STOPPED, as a new attempt with a new execution name.

A retry starts the execution that is named for the next attempt. That name is the lock: two retries start one execution.
The first write of this execution claims the order and notes the retry in the history.

A plain retry writes nothing itself. A retry from FINALIZING first marks the ended item (`resumeFrom`). The claim then
takes the enrichment of the attempt before, and the execution neither calls the enricher nor waits. The claim removes
the mark, and so does a plain retry before its start. If two operators decide differently, the later write counts.
"""

from dataclasses import dataclass

from shared.errors import (
    FieldError,
    IllegalTransition,
    InvalidOrder,
    NotResumable,
    OrderEnded,
    OrderForgotten,
    OrderUnknown,
)
from shared.executions.client import ENDED, SUCCEEDED, ExecutionsClient
from shared.executions.names import refuse_attempt_after_last
from shared.ledger.entry import LedgerEntry
from shared.ledger.settlement import Settlement, settle_execution
from shared.ledger.states import RETRYABLE, State
from shared.ledger.table import LedgerTable, Refused, Written, unchanged
from shared.orders.order import Order, order_from


@dataclass(frozen=True)
class Retry:
    """The attempt that was started or joined, and its execution.

    `from_finalize`: whether it begins, or began, with finalize, as the ledger says after the start. Until the attempt's
    claim, another operator's retry can still change it. None when the ledger does not say: the item was deleted, or a
    later attempt has begun.
    """

    attempt: int
    execution_arn: str
    from_finalize: bool | None = False


def retry(
    order_id: str,
    ledger: LedgerTable,
    executions: ExecutionsClient,
    corrected: Order | None = None,
    *,
    of_attempt: int | None = None,
    from_finalize: bool = False,
) -> Retry:
    """Start the order's next attempt, with the recorded order or a corrected one.

    `of_attempt`, the order's attempt when the retry was decided, makes it safe to repeat: if a later attempt has begun
    since, nothing is started, and the attempt after `of_attempt` is returned.

    If this attempt was started before and has ended, its end is recorded in the ledger where that does not have it. The
    attempt of an execution that succeeded is returned like any other: the order is COMPLETED.

    Raises:
    - `OrderUnknown`;
    - `IllegalTransition` for an order that is not FAILED, TIMED_OUT or STOPPED;
    - `OrderForgotten`;
    - `TooManyAttempts` after the order's last attempt;
    - `InvalidOrder` for a correction with another order id, or a recorded order that this version does not accept;
    - `NotResumable` for `from_finalize` with a correction, or for an order without a recorded enrichment;
    - `OrderConflict` when this attempt was started with another body;
    - `OrderEnded` when this attempt was started before and ended without success, and the ledger did not have that: the
      order can be retried again;
    - `StartUnavailable` and `ExecutionUnavailable`, and what `settle_execution` raises.
    """
    decided = _decided(order_id, ledger, corrected, of_attempt, from_finalize=from_finalize)
    if isinstance(decided, Retry):
        return decided
    attempt, order = decided
    execution_arn = executions.start(order, attempt)
    # A start joins the execution that has this name, even when that has ended.
    started = executions.get(execution_arn)
    if started is not None and started.status in ENDED:
        settled = settle_execution(ledger, started, executions.stack_id)
        if settled is Settlement.RECORDED and started.status != SUCCEEDED:
            raise OrderEnded(
                f"attempt {attempt} of order {order_id} was started before and ended {started.status};"
                " the ledger has that now, and the order can be retried again"
            )
    return Retry(attempt, execution_arn, _begins_with_finalize(ledger.get(order_id), attempt))


def what_will_run_again(entry: LedgerEntry, corrected: Order | None = None, *, from_finalize: bool) -> tuple[str, ...]:
    """What the next attempt runs, in sequence: `enrich`, `wait`, `finalize`. Changes nothing.

    Raises what `retry` raises before its first write.
    """
    _checked(entry, corrected, from_finalize=from_finalize)
    return ("finalize",) if from_finalize else ("enrich", "wait", "finalize")


def _decided(
    order_id: str, ledger: LedgerTable, corrected: Order | None, of_attempt: int | None, *, from_finalize: bool
) -> tuple[int, Order] | Retry:
    """The attempt and the order to start, after the item has or lacks its mark as asked; or what has begun since."""
    found = ledger.get(order_id)
    while True:
        if found is None:
            raise OrderUnknown(f"order {order_id} is not in the ledger")
        if of_attempt is not None and found.attempt > of_attempt:
            (owner,) = {step.execution_arn for step in found.history if step.attempt == of_attempt + 1} - {None}
            return Retry(of_attempt + 1, str(owner), _begins_with_finalize(found, of_attempt + 1))
        decided = _checked(found, corrected, from_finalize=from_finalize)
        if (found.resume_from is not None) == from_finalize:
            return decided
        mark = {"resumeFrom": State.FINALIZING if from_finalize else None}
        match ledger.update(order_id, mark, unchanged(found)):
            case Written():
                return decided
            case Refused(winner):  # after a lost race, decide again from the winner's item
                found = winner


def _checked(found: LedgerEntry, corrected: Order | None, *, from_finalize: bool) -> tuple[int, Order]:
    """The attempt and the order that may be started now."""
    order_id, attempt = found.order_id, found.next_attempt
    if found.forgotten_at is not None:
        raise OrderForgotten(f"order {order_id} was forgotten at {found.forgotten_at}: there is no order to run again")
    if attempt is None:
        retryable = ", ".join(sorted(RETRYABLE))
        raise IllegalTransition(f"order {order_id} is {found.state}: only a {retryable} order can be retried")
    refuse_attempt_after_last(order_id, attempt)
    if corrected is not None and corrected.order_id != order_id:
        raise InvalidOrder([FieldError("orderId", f"the correction is of order {corrected.order_id}")])
    if from_finalize and corrected is not None:
        raise NotResumable(
            f"order {order_id}: a corrected order cannot be retried from FINALIZING, it must be enriched"
        )
    if from_finalize and found.enrichment is None:
        raise NotResumable(
            f"order {order_id}: attempt {found.attempt} has no recorded enrichment; retry it without --from finalize"
        )
    return attempt, corrected or order_from(found.order)


def _begins_with_finalize(now: LedgerEntry | None, attempt: int) -> bool | None:
    if now is None or now.attempt > attempt:
        return None
    return now.was_resumed if now.attempt == attempt else now.resume_from is not None
