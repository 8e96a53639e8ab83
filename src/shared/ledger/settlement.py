"""Makes the ledger agree with an execution that did not succeed.

The ledger is the authority. For an ended execution, `settle` applies the first rule that fits. It is idempotent.

1. There is no item: create it, with RECEIVED and the end.
2. The execution owns the item: bring an order that has not ended to the end; else only note the execution's status.
3. The execution owned an earlier attempt: change nothing, the end of that attempt is in the history.
4. The item is FAILED, TIMED_OUT or STOPPED and the execution's name has the next attempt: a retry that died before its
   first write. Write RECEIVED and the end, as that attempt.
5. The execution has another body, and that is not noted yet: a conflict. The caller rejects the order, then notes it.

An execution that owns nothing and whose name has an attempt after the last (`MAX_ATTEMPT`) changes nothing.
"""

from enum import Enum, auto
from typing import Final

from shared.executions.names import MAX_ATTEMPT, OrderExecution
from shared.ledger.entry import End, LedgerEntry
from shared.ledger.states import TERMINAL, State
from shared.ledger.table import Condition, LedgerTable, Refused, Written, unchanged
from shared.orders.order import Order

MAX_CONFLICTS: Final = 100
"""Conflicts that one item can note. Each takes about 200 bytes of DynamoDB's 400 KB, 1,100 with the longest ARN."""

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


def settle(ledger: LedgerTable, order: Order, execution: OrderExecution, end: End) -> Settlement:
    """Record an execution's end in the ledger, where the rules above allow it. Raises as `LedgerTable` does."""
    found = ledger.get(order.order_id)
    while True:
        if found is not None and found.execution_arn == execution.arn:
            if found.state in TERMINAL:
                note_status(ledger, found, end.state)
                return Settlement.AGREED
            outcome = end_attempt(ledger, found, end)
        elif found is not None and execution.arn in found.owners:
            return Settlement.AGREED
        elif execution.attempt > MAX_ATTEMPT:
            return Settlement.AFTER_LAST_ATTEMPT
        elif found is None or found.may_be_followed_by(execution):
            outcome = _record_unseen(ledger, order, execution, end, after=found)
        elif found.order_digest != order.digest() and not found.has_conflict(execution.arn):
            return Settlement.CONFLICT if len(found.conflicts) < MAX_CONFLICTS else Settlement.TOO_MANY_CONFLICTS
        else:
            return Settlement.AGREED
        match outcome:
            case Written():
                return Settlement.RECORDED
            case Refused(winner):  # after a lost race, decide again from the winner's item
                found = winner


def end_attempt(ledger: LedgerTable, entry: LedgerEntry, end: End) -> Written | Refused:
    """End an attempt that has not ended. Refused when it has ended or another execution owns the order now."""
    found = entry
    while found.execution_arn == entry.execution_arn and found.state not in TERMINAL:
        match ledger.move(
            found.order_id, found.attempt, (end.state,), unchanged(found), fields=end.fields, detail=end.detail
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
    ledger: LedgerTable, order: Order, execution: OrderExecution, end: End, after: LedgerEntry | None
) -> Written | Refused:
    """Write RECEIVED and the end of an attempt whose execution died before its first write."""
    states = (State.RECEIVED, end.state)
    fields = {**end.fields, "enrichStarts": 0}
    return ledger.begin(order, execution, states, after, fields=fields, detail=end.detail)
