"""Examines one execution that did not succeed, and makes the ledger agree with it.

The function for status changes calls it for each event of Lambda; the sweep calls it for events that were lost.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from aws_lambda_powertools import Logger

from reconciler.marks import Mark, Marks
from reconciler.pace import Pace
from shared.aws.rejected_orders import RejectedOrders
from shared.errors import FieldError, InvalidOrder, OperationsUnavailable, OrderConflict
from shared.executions.client import ENDED_BADLY, ExecutionDetails, ExecutionsClient
from shared.executions.names import ExecutionName, execution_of
from shared.ledger.entry import End, LedgerEntry
from shared.ledger.settlement import Settlement, end_attempt, note_conflict, note_status, settle
from shared.ledger.states import TERMINAL, State
from shared.ledger.table import LedgerTable, Written
from shared.orders.order import Order, parse_order

EXECUTION_LOST = "ExecutionLost"
"""The error type of an order whose execution was deleted or has expired."""


@dataclass(frozen=True)
class Examiner:
    """Reads executions at `pace`: an account has 30 reads per second (`GetDurableExecution`)."""

    ledger: LedgerTable
    executions: ExecutionsClient
    rejected: RejectedOrders
    marks: Marks
    stack_id: str
    pace: Pace
    logger: Logger

    def examine_execution(self, execution_arn: str, status: str) -> None:
        """Make the ledger agree with an execution that ended FAILED, TIMED_OUT or STOPPED. Idempotent.

        If the ledger does not show by the ARN that the execution was examined, the execution is marked. A marked
        execution is not read from Lambda again.

        Raises `LedgerUnavailable`, `LedgerRejected`, `ExecutionUnavailable` or `RejectUnavailable`, and `OrderUnknown`
        when the order's item was deleted meanwhile.
        """
        if status not in ENDED_BADLY:
            self._log_ignored(execution_arn, status)
            return
        entry = self._named_order(execution_arn)
        if entry is not None and self._is_settled(entry, execution_arn, status):
            return
        if self._is_marked(entry, execution_arn):
            return
        details = self._read(execution_arn)
        mark: Mark | None = None
        if details is not None and details.status == "DELETING":
            # Lambda deletes the only copy of an order that is not in the ledger. The execution ended as was reported.
            mark = self._settle(replace(details, status=status), entry)
        elif details is not None and details.status in ENDED_BADLY:
            mark = self._settle(details, entry)
        elif details is not None:
            self._log_ignored(execution_arn, details.status)
        elif entry is not None and entry.execution_arn == execution_arn:
            message = f"the execution ended {status} and was deleted or has expired"
            self._end(entry, End(State(status), EXECUTION_LOST, message))
        else:
            # Its input, and so its order, is lost.
            self.logger.error("execution gone before it was reconciled", executionArn=execution_arn, status=status)
            mark = Mark.FINAL
        if mark is not None:
            self._put_mark(execution_arn, mark)

    def examine_order(self, order_id: str) -> None:
        """Make the ledger agree with the execution of an order that has stalled. Idempotent.

        Raises the same errors as `examine_execution`.
        """
        entry = self.ledger.get(order_id)
        if entry is None or entry.state in TERMINAL:
            return
        details = self._read(entry.execution_arn)
        if details is None:
            self._end(entry, End(State.FAILED, EXECUTION_LOST, "the execution was deleted or has expired"))
        elif details.status in ENDED_BADLY:
            self._settle(details, entry)
        elif details.status == "SUCCEEDED":
            # The workflow writes COMPLETED before it succeeds. So this is a bug for someone to examine.
            self.logger.error(
                "execution succeeded, order did not complete",
                orderId=order_id,
                executionArn=entry.execution_arn,
                state=entry.state,
            )

    def marks_of(self, execution_arns: Sequence[str]) -> dict[str, Mark]:
        """The marks of executions. While marks cannot be read, none: an execution can be examined twice."""
        try:
            return self.marks.of(execution_arns)
        except OperationsUnavailable as error:
            self.logger.error("marks not read", reason=str(error))
            return {}

    def _put_mark(self, execution_arn: str, mark: Mark) -> None:
        """Mark an examined execution. If that fails, the next sweep examines it again."""
        try:
            self.marks.put(execution_arn, mark)
        except OperationsUnavailable as error:
            self.logger.error("execution not marked", executionArn=execution_arn, reason=str(error))

    def _is_marked(self, entry: LedgerEntry | None, execution_arn: str) -> bool:
        if entry is not None and entry.execution_arn == execution_arn:
            return False  # it was marked, and then a late process of it claimed the order
        mark = self.marks_of([execution_arn]).get(execution_arn)
        return mark is Mark.FINAL or (mark is not None and not _is_next(entry, execution_arn))

    def _named_order(self, execution_arn: str) -> LedgerEntry | None:
        """The entry of the order id in the execution's name. The name is a hint, not ownership."""
        name = ExecutionName.in_arn(execution_arn)
        return self.ledger.get(name.order_id) if name else None

    def _is_settled(self, entry: LedgerEntry, execution_arn: str, status: str) -> bool:
        """Whether the entry shows by the ARN alone that this end is settled. Most are, and need no read of Lambda."""
        if entry.execution_arn == execution_arn:
            if entry.state not in TERMINAL:
                return False
            note_status(self.ledger, entry, status)
            return True
        return execution_arn in entry.owners or (
            entry.has_conflict(execution_arn) and not _is_next(entry, execution_arn)
        )

    def _read(self, execution_arn: str) -> ExecutionDetails | None:
        self.pace.wait()
        return self.executions.get(execution_arn)

    def _settle(self, details: ExecutionDetails, entry: LedgerEntry | None) -> Mark | None:
        """Settle an execution that was read, or reject its order. Returns the mark that the execution needs.

        `entry` is the entry of the order in its name, or of the order that it owns. A named execution with a trace in
        that order needs no mark.
        """
        is_named = ExecutionName.in_arn(details.arn) is not None
        if_recorded = None if is_named else Mark.FINAL
        end = _end_of(details)
        try:
            order = parse_order(details.input)
            execution = execution_of(order, details.arn, self.stack_id)
        except InvalidOrder as error:
            if entry is not None and entry.execution_arn == details.arn:
                self._end(entry, end)  # another version of this code accepted the order
                return if_recorded
            # Ingest names executions, and starts only orders. Without a name it was a direct invoke, and its caller saw
            # the error.
            log = self.logger.error if is_named else self.logger.info
            log("execution without an order", executionArn=details.arn, reason=str(error))
            return Mark.FINAL
        match settle(self.ledger, order, execution, end):
            case Settlement.RECORDED:
                self._log_recorded(order.order_id, details.arn, end)
                return if_recorded
            case Settlement.CONFLICT:
                reason = FieldError("orderId", f"order {order.order_id} is known with another body")
                self.rejected.send(_body_of(order), details.arn, OrderConflict.code, [reason])
                note_conflict(self.ledger, order.order_id, details.arn)
                self.logger.warning(
                    "order rejected", orderId=order.order_id, executionArn=details.arn, reasonCode=OrderConflict.code
                )
                return if_recorded
            case Settlement.AFTER_LAST_ATTEMPT:
                self.logger.error("attempt after the last", orderId=order.order_id, executionArn=details.arn)
                return Mark.FINAL
            case Settlement.TOO_MANY_CONFLICTS:
                self.logger.error("too many conflicts, not rejected", orderId=order.order_id, executionArn=details.arn)
            case Settlement.AGREED:
                pass
        return Mark.UNTIL_NEXT_ATTEMPT if is_named else Mark.FINAL

    def _end(self, entry: LedgerEntry, end: End) -> None:
        if entry.state not in TERMINAL and end_attempt(self.ledger, entry, end) == Written():
            self._log_recorded(entry.order_id, entry.execution_arn, end)

    def _log_ignored(self, execution_arn: str, status: str) -> None:
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
    """Whether the execution is named for the order's next attempt: no retry can start until that end is recorded."""
    name = ExecutionName.in_arn(execution_arn)
    return entry is not None and name is not None and name.attempt == entry.next_attempt


def _body_of(order: Order) -> str:
    """The canonical form in ASCII: an order can contain characters that SQS does not accept in a body."""
    return json.dumps(order.canonical(), sort_keys=True, separators=(",", ":"))


def _end_of(details: ExecutionDetails) -> End:
    """The execution's end, with a default reason where Lambda has none."""
    state = State(details.status)
    default_reasons = {
        State.FAILED: ("ExecutionFailed", "the execution failed without a reason"),
        State.TIMED_OUT: ("ExecutionTimedOut", "the execution did not end within its timeout"),
        State.STOPPED: ("ExecutionStopped", "the execution was stopped"),
    }
    error_type, message = default_reasons[state]
    return End(state, details.error_type or error_type, details.error_message or message)
