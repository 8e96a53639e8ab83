"""Makes the ledger agree with an execution that has ended.

The ledger is the authority. `settle` applies the first rule that fits. It is idempotent. For an execution that did not
succeed:

1. There is no item: create it, with RECEIVED and the end. If the execution failed because the order was another's, the
   item was lost: change nothing.
2. The execution owns the item: bring an order that has not ended to the end; else only note the execution's status.
3. The execution owned an earlier attempt: change nothing, the end of that attempt is in the history.
4. The item is FAILED, TIMED_OUT or STOPPED and the execution's name has the next attempt: a retry that died before its
   first write. Write RECEIVED and the end, as that attempt.
5. The execution has a body that the order has and had in no attempt, and that is not noted yet: a conflict. The caller
   rejects the order, then notes it.

A forgotten order begins no attempt: rules 4 and, for a success, 3 do not hold for it.

An execution that owns nothing and whose name has an attempt after the last (`MAX_ATTEMPT`) changes nothing.

An execution writes COMPLETED before it succeeds. So for one that succeeded there is something to write only if the
item was deleted, or an older version of it was put back:

1. There is no item: create it, with all states to COMPLETED.
2. The item is COMPLETED: change nothing.
3. The item has another end: write the whole attempt after that end, even after CANCELLED.
4. The execution owns the item, and it has not ended: write the states that are missing.
5. Another execution is running the order: change nothing. What that one finds at its end is settled then.
"""

import json
from dataclasses import replace
from enum import Enum, auto
from typing import Final

from shared.errors import OrderConflict, OrderForgotten, OrderInProgress, ResultUnreadable
from shared.executions.client import SUCCEEDED, ExecutionDetails
from shared.executions.names import MAX_ATTEMPT, OrderExecution, execution_of
from shared.ledger.entry import Completion, End, LedgerEntry
from shared.ledger.states import TERMINAL, State
from shared.ledger.table import Condition, LedgerTable, Refused, Written, unchanged
from shared.orders.order import Order, parse_order

MAX_CONFLICTS: Final = 100
"""Conflicts that one item can note. Each takes about 200 bytes of DynamoDB's 400 KB, 1,100 with the longest ARN."""

_ANOTHERS: Final = {OrderConflict.__name__, OrderInProgress.__name__, OrderForgotten.__name__}
"""The errors of an execution that another one's item refused."""

_NO_CONFLICTS: Final = Condition("attribute_exists(orderId) AND attribute_not_exists(conflicts)")


class Settlement(Enum):
    """The result of `settle`."""

    RECORDED = auto()
    """The execution's end is now in the ledger."""
    AGREED = auto()
    """Nothing to record: already settled, or another execution owns the order."""
    CONFLICT = auto()
    """The execution has another body, and the item does not note that yet."""
    TOO_MANY_CONFLICTS = auto()
    """The execution has another body, and the item cannot note one more: if it were rejected now, every sweep would
    reject it again."""
    AFTER_LAST_ATTEMPT = auto()
    """The execution's name has an attempt that no order may have."""
    ITEM_LOST = auto()
    """The execution failed because the order was another's, and there is no item: it was deleted."""


def end_of(details: ExecutionDetails) -> End | Completion:
    """How an execution ended, with a default reason where Lambda has none.

    Raises `ResultUnreadable` for a result that does not have the response schema.
    """
    if details.status == SUCCEEDED:
        return completion_of(details.result or "", details.arn)
    state = State(details.status)
    default_reasons = {
        State.FAILED: ("ExecutionFailed", "the execution failed without a reason"),
        State.TIMED_OUT: ("ExecutionTimedOut", "the execution did not end within its timeout"),
        State.STOPPED: ("ExecutionStopped", "the execution was stopped"),
    }
    error_type, message = default_reasons[state]
    return End(state, details.error_type or error_type, details.error_message or message)


def completion_of(result: str, execution_arn: str) -> Completion:
    """What the ledger stores about a completed order, from the response of its execution (`orchestrator/result.py`).

    Raises `ResultUnreadable`.
    """
    try:
        response = json.loads(result, parse_float=str)
        return Completion(
            dict(response["enrichmentResult"]),
            {"finalizedAt": response["finalResult"]["finalizedAt"], "processedAt": response["processedAt"]},
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ResultUnreadable(
            f"execution {execution_arn} succeeded, and its result does not have the response schema"
        ) from None


def settle(ledger: LedgerTable, order: Order, execution: OrderExecution, end: End | Completion) -> Settlement:
    """Record an execution's end in the ledger, where the rules above allow it. Raises as `LedgerTable` does."""
    found = ledger.get(order.order_id)
    while True:
        if isinstance(end, Completion):
            outcome = _settle_success(ledger, order, execution, end, found)
        else:
            outcome = _settle_failure(ledger, order, execution, end, found)
        match outcome:
            case Written():
                return Settlement.RECORDED
            case Refused(winner):  # after a lost race, decide again from the winner's item
                found = winner
            case Settlement():
                return outcome


def settle_execution(ledger: LedgerTable, details: ExecutionDetails, stack_id: str) -> Settlement:
    """Settle an execution as it was read from Lambda. Raises also `InvalidOrder` and `ResultUnreadable`."""
    order = parse_order(details.input)
    return settle(ledger, order, execution_of(order, details.arn, stack_id), end_of(details))


def _settle_failure(  # noqa: PLR0911 (the rules above, one by one)
    ledger: LedgerTable, order: Order, execution: OrderExecution, end: End, found: LedgerEntry | None
) -> Written | Refused | Settlement:
    if found is not None and found.execution_arn == execution.arn:
        if found.state in TERMINAL:
            note_status(ledger, found, end.state)
            return Settlement.AGREED
        return end_attempt(ledger, found, end)
    if found is not None and execution.arn in found.owners:
        return Settlement.AGREED
    if execution.attempt > MAX_ATTEMPT:
        return Settlement.AFTER_LAST_ATTEMPT
    if found is None and end.state is State.FAILED and end.error_type in _ANOTHERS:
        return Settlement.ITEM_LOST
    if found is None or found.may_be_followed_by(execution):
        return _record_unseen(ledger, order, execution, end, after=found)
    if order.digest() not in found.order_digests and not found.has_conflict(execution.arn):
        return Settlement.CONFLICT if len(found.conflicts) < MAX_CONFLICTS else Settlement.TOO_MANY_CONFLICTS
    return Settlement.AGREED


def _settle_success(
    ledger: LedgerTable, order: Order, execution: OrderExecution, end: Completion, found: LedgerEntry | None
) -> Written | Refused | Settlement:
    if found is not None and (found.state is State.COMPLETED or found.forgotten_at is not None):
        return Settlement.AGREED
    if found is not None and found.state not in TERMINAL:
        return end_attempt(ledger, found, end) if found.execution_arn == execution.arn else Settlement.AGREED
    # An attempt never goes back, also when the item was lost and then written again by a later attempt.
    owner = execution if found is None else replace(execution, attempt=max(execution.attempt, found.attempt))
    return _record_unseen(ledger, order, owner, end, after=found, why=end.detail)


def end_attempt(ledger: LedgerTable, entry: LedgerEntry, end: End | Completion) -> Written | Refused:
    """End an attempt that has not ended. Refused when it has ended or another execution owns the order now."""
    found = entry
    while found.execution_arn == entry.execution_arn and found.state not in TERMINAL:
        states = end.states_after(found.state)
        match ledger.move(
            found.order_id, found.attempt, states, unchanged(found), fields=end.fields, detail=end.detail
        ):
            case Written() as written:
                return written
            case Refused(winner):
                found = winner
    return Refused(found)


def note_status(ledger: LedgerTable, entry: LedgerEntry, status: str) -> None:
    """Note the status of an ended order's owner, if it differs: it ended after its last write, before a checkpoint."""
    if status in {entry.state, entry.execution_status}:
        return
    ledger.update(entry.order_id, {"executionStatus": status}, unchanged(entry))


def note_conflict(ledger: LedgerTable, order_id: str, execution_arn: str) -> None:
    """Note that an execution's order was rejected, so that it is not rejected again."""
    found = ledger.get(order_id)
    while found is not None and not found.has_conflict(execution_arn) and len(found.conflicts) < MAX_CONFLICTS:
        before = list(found.conflicts)
        conflicts = [*before, {"executionArn": execution_arn, "at": ledger.now()}]
        same_conflicts = Condition("conflicts = :before", {":before": before}) if before else _NO_CONFLICTS
        match ledger.update(order_id, {"conflicts": conflicts}, same_conflicts):
            case Written():
                return
            case Refused(winner):
                found = winner


def _record_unseen(
    ledger: LedgerTable,
    order: Order,
    execution: OrderExecution,
    end: End | Completion,
    *,
    after: LedgerEntry | None,
    why: str | None = None,
) -> Written | Refused:
    """Write a whole attempt, from RECEIVED to its end, of which the ledger has nothing."""
    states = (State.RECEIVED, *end.states_after(State.RECEIVED))
    fields = {**end.fields, "enrichStarts": 0}
    return ledger.begin(order, execution, states, after, fields=fields, detail=end.detail, why=why)
