"""Brings the ledger and one execution that did not succeed to the same end.

Called for a status change that Lambda reported, and by the sweep for those that it did not.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from aws_lambda_powertools import Logger

from reconciler.marks import Mark, Marks
from reconciler.pace import Pace
from shared.aws.rejected_orders import RejectedOrders
from shared.errors import FieldError, InvalidOrder, OperationsUnavailable, OrderConflict
from shared.executions.client import ENDED_BADLY, ExecutionRecord, OrderExecutions
from shared.executions.names import ExecutionName, execution_of
from shared.ledger.entry import LedgerEntry
from shared.ledger.settlement import End, Settlement, end_attempt, note_conflict, note_status, settle
from shared.ledger.states import TERMINAL, State
from shared.ledger.table import LedgerTable
from shared.orders.order import Order, parse_order

EXECUTION_LOST = "ExecutionLost"
"""The error of an order whose execution Lambda no longer has: deleted, or older than its retention."""


@dataclass(frozen=True)
class Reconciler:
    """Reads executions at `pace`: Lambda gives out 30 a second to the whole account (`GetDurableExecution`)."""

    ledger: LedgerTable
    executions: OrderExecutions
    rejected: RejectedOrders
    marks: Marks
    stack_id: str
    pace: Pace
    logger: Logger

    def ended(self, execution_arn: str, status: str) -> None:
        """An execution ended FAILED, TIMED_OUT or STOPPED: the ledger shall agree with it. May be repeated.

        It is marked where the ledger cannot tell by its ARN that it was examined; one that is marked is not read.

        Raises `LedgerUnavailable`, `LedgerRejected`, `ExecutionUnavailable` or `RejectUnavailable`.
        """
        if status not in ENDED_BADLY:
            self._log_untouched(execution_arn, status)
            return
        entry = self._named_order(execution_arn)
        if entry is not None and self._has_its_end(entry, execution_arn, status):
            return
        if self._is_marked(entry, execution_arn):
            return
        record = self._read(execution_arn)
        mark: Mark | None = None
        if record is not None and record.status == "DELETING":
            # Soon gone, with the only copy of an order that never reached the ledger; it had ended as was reported.
            mark = self._settle(replace(record, status=status), entry)
        elif record is not None and record.status in ENDED_BADLY:
            mark = self._settle(record, entry)
        elif record is not None:
            self._log_untouched(execution_arn, record.status)
        elif entry is not None and entry.execution_arn == execution_arn:
            self._end(
                entry, End(State(status), EXECUTION_LOST, f"the execution ended {status}; Lambda keeps it no more")
            )
        else:
            # What order it carried, nobody can say any more.
            self.logger.error("execution gone before it was reconciled", executionArn=execution_arn, status=status)
            mark = Mark.FINAL
        if mark is not None:
            self._put_mark(execution_arn, mark)

    def unmoved(self, order_id: str) -> None:
        """An order has not moved for longer than it should: see what became of its execution. May be repeated.

        Raises as `ended` does.
        """
        entry = self.ledger.get(order_id)
        if entry is None or entry.state in TERMINAL:
            return
        record = self._read(entry.execution_arn)
        if record is None:
            self._end(entry, End(State.FAILED, EXECUTION_LOST, "Lambda does not have the execution any more"))
        elif record.status in ENDED_BADLY:
            self._settle(record, entry)
        elif record.status == "SUCCEEDED":
            # The workflow writes COMPLETED before it succeeds, so this is a bug to be looked at, not a state to guess.
            self.logger.error(
                "execution succeeded, order did not complete",
                orderId=order_id,
                executionArn=entry.execution_arn,
                state=entry.state,
            )

    def marks_of(self, execution_arns: Sequence[str]) -> dict[str, Mark]:
        """The marks of executions; none while they cannot be read: an execution may be examined again."""
        try:
            return self.marks.of(execution_arns)
        except OperationsUnavailable as error:
            self.logger.error("marks not read", reason=str(error))
            return {}

    def _put_mark(self, execution_arn: str, mark: Mark) -> None:
        """Mark an execution that was examined; where that fails, the next sweep examines it again."""
        try:
            self.marks.put(execution_arn, mark)
        except OperationsUnavailable as error:
            self.logger.error("execution not marked", executionArn=execution_arn, reason=str(error))

    def _is_marked(self, entry: LedgerEntry | None, execution_arn: str) -> bool:
        if entry is not None and entry.execution_arn == execution_arn:
            return False  # a late first write of it, after the mark
        mark = self.marks_of([execution_arn]).get(execution_arn)
        return mark is Mark.FINAL or (mark is not None and not _is_next(entry, execution_arn))

    def _named_order(self, execution_arn: str) -> LedgerEntry | None:
        """The order that the execution's name speaks of: where to look, not whose it is."""
        name = ExecutionName.in_arn(execution_arn)
        return self.ledger.get(name.order_id) if name else None

    def _has_its_end(self, entry: LedgerEntry, execution_arn: str, status: str) -> bool:
        """Whether the ledger knows this end already, told by the ARN alone: most do, and need no read of Lambda."""
        if entry.execution_arn == execution_arn:
            if entry.state not in TERMINAL:
                return False
            note_status(self.ledger, entry, status)
            return True
        return execution_arn in entry.owners or (
            entry.has_conflict(execution_arn) and not _is_next(entry, execution_arn)
        )

    def _read(self, execution_arn: str) -> ExecutionRecord | None:
        self.pace.wait()
        return self.executions.get(execution_arn)

    def _settle(self, record: ExecutionRecord, entry: LedgerEntry | None) -> Mark | None:
        """`entry` is the order as it was found before: whose it is, an execution without an order cannot say.

        Answers the mark that the execution needs. The ledger tells what it has recorded of a named execution by the
        order in the name, so that needs none.
        """
        is_named = ExecutionName.in_arn(record.arn) is not None
        if_recorded = None if is_named else Mark.FINAL
        end = _end_of(record)
        try:
            order = parse_order(record.input)
            execution = execution_of(order, record.arn, self.stack_id)
        except InvalidOrder as error:
            if entry is not None and entry.execution_arn == record.arn:
                self._end(entry, end)  # another version of this code took it for an order
                return if_recorded
            # Ingest names what it has read as an order; without a name it is a direct invoke's, whose caller knows.
            say = self.logger.error if is_named else self.logger.info
            say("execution without an order", executionArn=record.arn, reason=str(error))
            return Mark.FINAL
        match settle(self.ledger, order, execution, end):
            case Settlement.RECORDED:
                self._log_recorded(order.order_id, record.arn, end)
                return if_recorded
            case Settlement.CONFLICT:
                reason = FieldError("orderId", f"order {order.order_id} is known with another body")
                self.rejected.send(_body_of(order), record.arn, OrderConflict.code, [reason])
                note_conflict(self.ledger, order.order_id, record.arn)
                self.logger.warning(
                    "order rejected", orderId=order.order_id, executionArn=record.arn, reasonCode=OrderConflict.code
                )
                return if_recorded
            case Settlement.AFTER_LAST_ATTEMPT:
                self.logger.error("attempt after the last", orderId=order.order_id, executionArn=record.arn)
                return Mark.FINAL
            case Settlement.CROWDED:
                self.logger.error("too many conflicts, not rejected", orderId=order.order_id, executionArn=record.arn)
            case Settlement.AGREED:
                pass
        return Mark.UNTIL_NEXT_ATTEMPT if is_named else Mark.FINAL

    def _end(self, entry: LedgerEntry, end: End) -> None:
        if entry.state not in TERMINAL and end_attempt(self.ledger, entry, end) is None:
            self._log_recorded(entry.order_id, entry.execution_arn, end)

    def _log_untouched(self, execution_arn: str, status: str) -> None:
        self.logger.info("execution did not end badly", executionArn=execution_arn, status=status)

    def _log_recorded(self, order_id: str, execution_arn: str, end: End) -> None:
        self.logger.warning(
            "order ended by the reconciler",
            orderId=order_id,
            executionArn=execution_arn,
            state=end.state,
            error=end.error_type,
        )


def _is_next(entry: LedgerEntry | None, execution_arn: str) -> bool:
    """Whether the execution has the name of the order's next attempt: no retry starts before that is recorded."""
    name = ExecutionName.in_arn(execution_arn)
    return entry is not None and name is not None and entry.is_followed_by(name.attempt)


def _body_of(order: Order) -> str:
    """The canonical form with all but ASCII escaped: an order's text may have characters that SQS takes in no body."""
    return json.dumps(order.canonical(), sort_keys=True, separators=(",", ":"))


def _end_of(record: ExecutionRecord) -> End:
    """The execution's end, in the words of the ledger's `error`."""
    state = State(record.status)
    untold = {
        State.FAILED: ("ExecutionFailed", "the execution failed without a reason"),
        State.TIMED_OUT: ("ExecutionTimedOut", "the execution did not end within its timeout"),
        State.STOPPED: ("ExecutionStopped", "the execution was stopped"),
    }
    error_type, message = untold[state]
    return End(state, record.error_type or error_type, record.error_message or message)
