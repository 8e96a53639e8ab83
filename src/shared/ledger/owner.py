"""The order ledger, as the execution that owns an order writes it: one conditional update a transition.

    claim ───────────────► enriched ───────────► finalizing ───► completed
    RECEIVED, ENRICHING    ENRICHED, WAITING     FINALIZING      COMPLETED
                                                                 (or failed: FAILED)

Every condition names the ARN of the execution that owns the order, the fence: an ARN ends in a unique id, so a
stalled process of an earlier attempt cannot write into the next. A repeat of a write that was applied finds its target
in the history and writes nothing, so a lost answer does no harm.

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
    OrderInProgress,
    PermanentError,
    TooManyStarts,
)
from shared.executions.names import Execution, refuse_attempt_after_last
from shared.ledger.entry import LedgerEntry, recorded_error
from shared.ledger.states import RETRYABLE, TERMINAL, State, predecessors
from shared.ledger.table import Condition, LedgerTable
from shared.orders.order import Order

MAX_STARTS: Final = 15
"""How often enrich may begin in one attempt: a step that kills its process asks no retry policy. More than the
ledger's policy tries, so that an outage is sat out."""

MAX_RESULT_BYTES: Final = 16 * 1024
"""Of a result as JSON text: the item has to keep it beside the order, the enrichment and the history."""


@dataclass(frozen=True)
class Claimed:
    """The execution owns the order. An enrichment on record is used again; `starts` counts how often enrich began."""

    starts: int
    enrichment: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class AlreadyCompleted:
    """Another execution completed the same order: its enrichment and result, as recorded."""

    enrichment: Mapping[str, Any]
    result: Mapping[str, Any]


class Ledger(LedgerTable):
    """The ledger table with the writes of an order's owner."""

    def claim(self, order: Order, me: Execution) -> Claimed | AlreadyCompleted:
        """An execution's first write: RECEIVED and ENRICHING, or the reason why not.

        Raises `TooManyAttempts`, `OrderConflict`, `OrderInProgress`, `OrderCancelled` or `OrderEnded`, having written
        nothing, and `TooManyStarts` when this attempt began too often.
        """
        refuse_attempt_after_last(me.order_id, me.attempt)
        starts = 1
        found = self._begin_enriching(order, me, after=None)
        while found is not None:  # whoever loses a race below sees the item that won, and decides afresh
            if found.execution_arn == me.arn:
                if found.state in TERMINAL:
                    raise _refusal(found)
                if State.ENRICHED in found.reached:
                    return Claimed(found.starts, found.enrichment)
                if found.starts >= MAX_STARTS:
                    raise TooManyStarts(f"enrich began {found.starts} times in attempt {found.attempt}")
                starts = found.starts + 1
                found = self._count_start(found)
            elif me.named and found.is_followed_by(me.attempt):
                found = self._begin_enriching(order, me, after=found)
            elif found.order_digest != order.digest():
                raise OrderConflict(
                    f"order {found.order_id} is known with another body: {found.state}, {found.execution_arn}"
                )
            elif found.state is State.COMPLETED:
                return AlreadyCompleted(found.enrichment or {}, found.result or {})
            else:
                raise _refusal(found)
        return Claimed(starts)

    def enriched(self, me: Execution, enrichment: Mapping[str, Any]) -> Mapping[str, Any]:
        """ENRICHED and WAITING, with what the enricher answered. Answers the enrichment on record.

        Raises as `_advance` does.
        """
        written_before = self._advance(me, (State.ENRICHED, State.WAITING), {"enrichment": enrichment})
        return (written_before and written_before.enrichment) or enrichment

    def finalizing(self, me: Execution) -> None:
        """FINALIZING: from here on a cancel is refused. Raises as `_advance` does."""
        self._advance(me, (State.FINALIZING,))

    def completed(self, me: Execution, result: Mapping[str, Any]) -> Mapping[str, Any]:
        """COMPLETED, with the result. Answers the result on record.

        Raises `LedgerRejected` for a result larger than MAX_RESULT_BYTES, and as `_advance` does.
        """
        if (size := len(json.dumps(result))) > MAX_RESULT_BYTES:
            raise LedgerRejected(f"a result of {size} bytes, more than the {MAX_RESULT_BYTES} allowed")
        written_before = self._advance(me, (State.COMPLETED,), {"result": result})
        return (written_before and written_before.result) or result

    def failed(self, me: Execution, error_type: str, message: str) -> None:
        """FAILED, with the beginning of the error's type and message. Raises as `_advance` does."""
        error = recorded_error(error_type, message)
        self._advance(me, (State.FAILED,), {"error": error}, detail=f"{error_type}: {message}")

    def _begin_enriching(self, order: Order, me: Execution, after: LedgerEntry | None) -> LedgerEntry | None:
        return self.begin(order, me, (State.RECEIVED, State.ENRICHING), after, fields={"enrichStarts": 1})

    def _count_start(self, mine: LedgerEntry) -> LedgerEntry | None:
        """Count one more start of enrich. None when counted, else the item as it has become meanwhile."""
        unmoved = Condition(
            "executionArn = :me AND version = :version AND enrichStarts = :starts",
            {":me": mine.execution_arn, ":version": mine.version, ":starts": mine.starts},
        )
        return self.update(mine.order_id, {"enrichStarts": mine.starts + 1}, unmoved)

    def _advance(
        self,
        me: Execution,
        targets: Sequence[State],
        fields: Mapping[str, Any] | None = None,
        detail: str | None = None,
    ) -> LedgerEntry | None:
        """The owner's next step, or steps that happen together, in one update.

        None when written now; the item when it says that it was written before, by a process of the same execution.
        Raises `OrderInProgress` when another execution owns the order, `OrderCancelled` or `OrderEnded` when it has
        ended, `IllegalTransition` when the state table does not know the step.
        """
        before = {f":from{i}": state for i, state in enumerate(predecessors(targets[0]))}
        may_follow = Condition(f"executionArn = :me AND #state IN ({', '.join(before)})", {":me": me.arn, **before})
        found = self.move(me.order_id, me.attempt, targets, may_follow, fields=fields, detail=detail)
        if found is None:
            return None
        if found.execution_arn != me.arn:
            raise _refusal(found)
        # In the history, but the order has failed or been cancelled since: the write no longer holds.
        undone = found.state in RETRYABLE | {State.CANCELLED} and found.state is not targets[-1]
        if targets[-1] in found.reached and not undone:
            return found
        if found.state in TERMINAL:
            raise _refusal(found)
        raise IllegalTransition(f"order {me.order_id} cannot go from {found.state} to {targets[0]}")


def _refusal(found: LedgerEntry) -> PermanentError:
    """Why the execution that owns the order, or the order's end, leaves no room for the one that asked."""
    state = f"order {found.order_id} is {found.state} (attempt {found.attempt}, {found.execution_arn})"
    if found.state is State.CANCELLED:
        return OrderCancelled(state)
    if found.state in TERMINAL:
        return OrderEnded(state)
    return OrderInProgress(state)
