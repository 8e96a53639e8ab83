"""How the ledger and an execution that did not succeed come to the same end.

The ledger is the authority. Asked about an ended execution, in this order, as often as anyone likes:

1. no item: make it, RECEIVED and the end;
2. the execution owns the item: bring an order that has not ended to the end, else only note the execution's status;
3. it owned an earlier attempt: nothing, that attempt's end is in the history;
4. it is named for the attempt after one that may be retried: a retry that died before its first write. RECEIVED and
   the end, as that attempt;
5. it carries another body, and that is not noted yet: a conflict, which is to be rejected and then noted.

One that owns nothing and is named for an attempt after the last (`MAX_ATTEMPT`) changes nothing.
"""

from dataclasses import dataclass
from enum import Enum, auto

from shared.executions.names import MAX_ATTEMPT, Execution
from shared.ledger.entry import LedgerEntry, recorded_error
from shared.ledger.states import TERMINAL, State
from shared.ledger.table import Condition, LedgerTable, unmoved
from shared.orders.order import Order

MAX_CONFLICTS = 100
"""Conflicts noted in one item: each takes some 200 bytes of DynamoDB's 400 KB, and 1,100 if its ARN is the longest."""

_NO_CONFLICTS = Condition("attribute_exists(orderId) AND attribute_not_exists(conflicts)")


class Settlement(Enum):
    """What asking about an ended execution came to."""

    RECORDED = auto()
    """The order is brought to the execution's end."""
    AGREED = auto()
    """Nothing to bring: the ledger had its say before, or another execution owns the order."""
    CONFLICT = auto()
    """The execution came with another body, and nobody has said so yet."""
    CROWDED = auto()
    """It came with another body, as did more executions than the item can note: rejected now, it would be again by
    every sweep."""
    AFTER_LAST_ATTEMPT = auto()
    """It is named for an attempt that no order may have."""


@dataclass(frozen=True)
class End:
    """An execution's end that is not success: FAILED, TIMED_OUT or STOPPED, and why.

    The reason may be a megabyte of anybody's text (`StopDurableExecution`): the ledger keeps its beginning.
    """

    state: State
    error_type: str
    message: str

    @property
    def fields(self) -> dict[str, object]:
        """The item's fields at this end."""
        return {"error": recorded_error(self.error_type, self.message)}

    @property
    def detail(self) -> str:
        """The history's word for it."""
        return f"{self.error_type}: {self.message}"


def settle(ledger: LedgerTable, order: Order, execution: Execution, end: End) -> Settlement:
    """Bring the ledger to an execution's end, where it is that execution's to end. Raises as `LedgerTable` does."""
    found = ledger.get(order.order_id)
    while True:  # whoever loses a race sees the item that won, and decides afresh
        if found is not None and found.execution_arn == execution.arn:
            if found.state in TERMINAL:
                note_status(ledger, found, end.state)
                return Settlement.AGREED
            found = end_attempt(ledger, found, end)
        elif found is not None and execution.arn in found.owners:
            return Settlement.AGREED
        elif execution.attempt > MAX_ATTEMPT:
            return Settlement.AFTER_LAST_ATTEMPT
        elif found is None:
            found = _ended_unseen(ledger, order, execution, end, after=None)
        elif execution.named and found.is_followed_by(execution.attempt):
            found = _ended_unseen(ledger, order, execution, end, after=found)
        elif found.order_digest != order.digest() and not found.has_conflict(execution.arn):
            return Settlement.CONFLICT if len(found.conflicts) < MAX_CONFLICTS else Settlement.CROWDED
        else:
            return Settlement.AGREED
        if found is None:
            return Settlement.RECORDED


def end_attempt(ledger: LedgerTable, entry: LedgerEntry, end: End) -> LedgerEntry | None:
    """End an attempt that has not ended. None when written, else the item as it is: ended, or another's."""
    found: LedgerEntry | None = entry
    while found is not None and found.execution_arn == entry.execution_arn and found.state not in TERMINAL:
        found = ledger.move(
            found.order_id, found.attempt, (end.state,), unmoved(found), fields=end.fields, detail=end.detail
        )
    return found


def note_status(ledger: LedgerTable, entry: LedgerEntry, status: str) -> None:
    """Note that the owner of an ended order ended otherwise: after its last ledger write, before its checkpoint."""
    if status in {entry.state, entry.execution_status}:
        return
    ledger.update(entry.order_id, {"executionStatus": status}, unmoved(entry))


def note_conflict(ledger: LedgerTable, order_id: str, execution_arn: str) -> None:
    """Note that an execution's conflict was rejected, so that it is not rejected again."""
    found = ledger.get(order_id)
    while found is not None and not found.has_conflict(execution_arn) and len(found.conflicts) < MAX_CONFLICTS:
        before = list(found.conflicts)
        conflicts = [*before, {"executionArn": execution_arn, "at": ledger.now()}]
        unnoted = Condition("conflicts = :before", {":before": before}) if before else _NO_CONFLICTS
        found = ledger.update(order_id, {"conflicts": conflicts}, unnoted)


def _ended_unseen(
    ledger: LedgerTable, order: Order, execution: Execution, end: End, after: LedgerEntry | None
) -> LedgerEntry | None:
    """RECEIVED and the end: an attempt whose execution died before its first write."""
    states = (State.RECEIVED, end.state)
    fields = {**end.fields, "enrichStarts": 0}
    return ledger.begin(order, execution, states, after, fields=fields, detail=end.detail)
