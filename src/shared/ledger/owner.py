"""The writes of the execution that owns an order: one conditional update per step of the order.

    claim ───────────────► enriched ───────────► finalizing ───► completed
    RECEIVED, ENRICHING    ENRICHED, WAITING     FINALIZING      COMPLETED
                                                                 (or failed: FAILED)

Every condition contains the ARN of the execution that owns the order. This is the fence: an ARN ends in a unique id, so
a stalled process of an earlier attempt cannot write into the next attempt. When a write that was applied is repeated,
its state is already in the history and nothing is written. So a lost response does no harm.

Who may write what, and why: `docs/architecture.md`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shared.errors import (
    IllegalTransition,
    LedgerRejected,
    OrderCancelled,
    OrderConflict,
    OrderEnded,
    OrderForgotten,
    OrderInProgress,
    PermanentError,
    TooManyStarts,
    bare_class_name,
)
from shared.executions.names import OrderExecution, refuse_attempt_after_last
from shared.ledger.conflict import conflict_errors
from shared.ledger.entry import RESUMED, End, LedgerEntry
from shared.ledger.states import PATH, RETRYABLE, TERMINAL, State, predecessors
from shared.ledger.table import Condition, LedgerWriter, Refused, Written, unchanged
from shared.orders.order import Order

MAX_STARTS: Final = 15
"""How often enrich may begin in one attempt: no retry policy counts the steps that kill their process. More than the
ledger's policy tries, so that an outage of the ledger is ridden out."""

MAX_RESULT_BYTES: Final = 16 * 1024
"""The limit for a result as JSON text: the item also holds the order, the enrichment and the history."""

MAX_CONFLICT_LENGTH: Final = 1_000
"""The limit for the part of an `OrderConflict` that says which fields differ, in characters."""


@dataclass(frozen=True)
class Claimed:
    """The execution owns the order. `starts` is how often enrich began; `enrichment` is the recorded one, if any.

    `resumed`: the attempt has the enrichment of the attempt before, and does not wait again.
    """

    starts: int
    enrichment: Mapping[str, Any] | None = None
    resumed: bool = False


@dataclass(frozen=True)
class AlreadyCompleted:
    """Another execution completed the same order: its recorded enrichment and result."""

    enrichment: Mapping[str, Any]
    result: Mapping[str, Any]


@dataclass(frozen=True)
class WrittenBefore:
    """A process of the same execution has already written this. `entry` is the item."""

    entry: LedgerEntry


class Ledger:
    """The writes of an order's owner. It never reads: the orchestrator has no permission to.

    Every method raises the errors of `LedgerWriter`. All but `claim` also raise `OrderInProgress` when another
    execution owns the order, `OrderCancelled`, `OrderEnded` or `OrderForgotten` when the order has ended, and
    `IllegalTransition` when the state table does not allow the transition.
    """

    def __init__(self, writer: LedgerWriter) -> None:
        self._writer = writer

    def claim(self, order: Order, me: OrderExecution) -> Claimed | AlreadyCompleted:
        """The first write of an execution: RECEIVED and ENRICHING, and up to WAITING when the attempt is resumed.

        Writes nothing and raises `TooManyAttempts`, `OrderConflict`, `OrderInProgress`, `OrderCancelled`, `OrderEnded`,
        `OrderForgotten`, or `TooManyStarts` when enrich has begun MAX_STARTS times in this attempt.
        """
        refuse_attempt_after_last(me.order_id, me.attempt)
        claimed = Claimed(1)
        outcome = self._begin_enriching(order, me, after=None)
        while isinstance(outcome, Refused):  # after a lost race, decide again from the winner's item
            found = outcome.entry
            if found.execution_arn == me.arn:
                if found.state in TERMINAL:
                    raise _refusal(found)
                if State.ENRICHED in found.reached:
                    return Claimed(found.starts, found.enrichment, found.was_resumed)
                if found.starts >= MAX_STARTS:
                    raise TooManyStarts(f"enrich began {found.starts} times in attempt {found.attempt}")
                claimed = Claimed(found.starts + 1)
                outcome = self._count_start(found)
            elif found.may_be_followed_by(me):
                claimed, outcome = self._begin_next(order, me, found)
            elif found.order_digest != order.digest():
                raise OrderConflict(f"{_conflict(order, found)}; it is {found.state}, {found.execution_arn}")
            elif found.state is State.COMPLETED and found.forgotten_at is None:
                return AlreadyCompleted(found.enrichment or {}, found.result or {})
            else:
                raise _refusal(found)
        return claimed

    def enriched(self, me: OrderExecution, enrichment: Mapping[str, Any]) -> Mapping[str, Any]:
        """ENRICHED and WAITING, with the enricher's answer. Returns the recorded enrichment."""
        match self._advance(me, (State.ENRICHED, State.WAITING), {"enrichment": enrichment}):
            case Written():
                return enrichment
            case WrittenBefore(entry):
                return entry.enrichment or enrichment

    def finalizing(self, me: OrderExecution) -> None:
        """FINALIZING: from now on a cancel is refused."""
        self._advance(me, (State.FINALIZING,))

    def completed(self, me: OrderExecution, result: Mapping[str, Any]) -> Mapping[str, Any]:
        """COMPLETED, with the result. Returns the recorded result.

        Raises `LedgerRejected` for a result larger than MAX_RESULT_BYTES.
        """
        if (size := len(json.dumps(result))) > MAX_RESULT_BYTES:
            raise LedgerRejected(f"a result of {size} bytes, more than the {MAX_RESULT_BYTES} allowed")
        match self._advance(me, (State.COMPLETED,), {"result": result}):
            case Written():
                return result
            case WrittenBefore(entry):
                return entry.result or result

    def failed(self, me: OrderExecution, error_type: str, message: str) -> None:
        """FAILED, with the error. `error_type` may be a qualified class name; the ledger stores the bare one."""
        end = End(State.FAILED, bare_class_name(error_type), message)
        self._advance(me, (end.state,), end.fields, end.detail)

    def _begin_enriching(self, order: Order, me: OrderExecution, after: LedgerEntry | None) -> Written | Refused:
        return self._writer.begin(order, me, (State.RECEIVED, State.ENRICHING), after, fields={"enrichStarts": 1})

    def _begin_next(self, order: Order, me: OrderExecution, after: LedgerEntry) -> tuple[Claimed, Written | Refused]:
        """Begin the attempt after that of `after`, with its enrichment when the attempt is resumed."""
        if not after.resumes_with(order):
            return Claimed(1), self._begin_enriching(order, me, after)
        states = PATH[: PATH.index(State.WAITING) + 1]
        fields = {"enrichStarts": 0, "enrichment": after.enrichment}
        outcome = self._writer.begin(order, me, states, after, fields=fields, why=RESUMED)
        return Claimed(0, after.enrichment, resumed=True), outcome

    def _count_start(self, mine: LedgerEntry) -> Written | Refused:
        """Count one more start of enrich."""
        same = unchanged(mine)
        condition = Condition(f"{same.expression} AND enrichStarts = :starts", {**same.values, ":starts": mine.starts})
        return self._writer.update(mine.order_id, {"enrichStarts": mine.starts + 1}, condition)

    def _advance(
        self,
        me: OrderExecution,
        targets: Sequence[State],
        fields: Mapping[str, Any] | None = None,
        detail: str | None = None,
    ) -> Written | WrittenBefore:
        """Write the owner's next transition, or several that happen together, in one update."""
        before = {f":from{i}": state for i, state in enumerate(predecessors(targets[0]))}
        may_follow = Condition(f"executionArn = :me AND #state IN ({', '.join(before)})", {":me": me.arn, **before})
        match self._writer.move(me.order_id, me.attempt, targets, may_follow, fields=fields, detail=detail):
            case Written() as written:
                return written
            case Refused(found):
                return _written_before(found, me, targets)


def _written_before(found: LedgerEntry, me: OrderExecution, targets: Sequence[State]) -> WrittenBefore:
    """The item that refused `me` the transitions to `targets`, when it has them already; else raises the reason."""
    if found.execution_arn != me.arn:
        raise _refusal(found)
    # In the history, but the order has failed or was cancelled since: the write no longer holds.
    undone = found.state in RETRYABLE | {State.CANCELLED} and found.state is not targets[-1]
    if targets[-1] in found.reached and not undone:
        return WrittenBefore(found)
    if found.state in TERMINAL:
        raise _refusal(found)
    raise IllegalTransition(f"order {me.order_id} cannot go from {found.state} to {targets[0]}")


def _conflict(order: Order, found: LedgerEntry) -> str:
    """What is known of the first order and what differs, in field names. At most MAX_CONFLICT_LENGTH characters."""
    first, *different = conflict_errors(order, found)
    text = (
        ": ".join([first.reason, ", ".join(error.logged_field for error in different)]) if different else first.reason
    )
    return text[:MAX_CONFLICT_LENGTH]


def _refusal(found: LedgerEntry) -> PermanentError:
    """The error for an execution whose write was refused: the order has ended, or another execution owns it."""
    state = f"order {found.order_id} is {found.state} (attempt {found.attempt}, {found.execution_arn})"
    if found.forgotten_at is not None:
        return OrderForgotten(f"{state} and was forgotten")
    if found.state is State.CANCELLED:
        return OrderCancelled(state)
    if found.state in TERMINAL:
        return OrderEnded(state)
    return OrderInProgress(state)
