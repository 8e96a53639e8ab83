"""Examines one execution that has ended, and makes the ledger agree with it.

The function for status changes calls it for each event of Lambda, the sweep for events that were lost, and an operator
who recovers the ledger for every execution that the ledger does not know.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from aws_lambda_powertools import Logger

from reconciler.input_body import MAX_BODY_BYTES, body_of
from reconciler.marks import Mark, Marks
from reconciler.pace import Pace
from shared.aws.rejected_orders import RejectedOrders
from shared.errors import (
    FieldError,
    InvalidOrder,
    NotJson,
    OperationsUnavailable,
    OrderConflict,
    OrderTooLarge,
    ResultUnreadable,
)
from shared.executions.client import ENDED, SUCCEEDED, ExecutionDetails, ExecutionsClient
from shared.executions.names import ExecutionName, execution_of
from shared.ledger.conflict import conflict_errors
from shared.ledger.entry import Completion, End, LedgerEntry
from shared.ledger.settlement import Settlement, end_attempt, end_of, note_conflict, note_status, settle
from shared.ledger.states import TERMINAL, State
from shared.ledger.table import LedgerTable, Written
from shared.orders.order import Order, parse_order

EXECUTION_LOST = "ExecutionLost"
"""The error type of an order whose execution was deleted or has expired."""


_INPUT_REFUSALS: Final = frozenset(refusal.__name__ for refusal in (InvalidOrder, NotJson, OrderTooLarge))
"""The error types of an execution whose orchestrator refused the input."""

_CUT: Final = FieldError("", f"the body is cut to its first {MAX_BODY_BYTES} bytes; the execution's input is longer")


@dataclass(frozen=True)
class Examiner:
    """Reads executions at `pace`: an account has 30 reads per second (`GetDurableExecution`)."""

    ledger: LedgerTable
    executions: ExecutionsClient
    rejected: RejectedOrders
    marks: Marks
    pace: Pace
    logger: Logger
    ended: Counter[State] = field(default_factory=Counter)
    """How many orders this examiner has ended, by state."""

    def examine_execution(self, execution_arn: str, status: str, *, again: bool = False) -> None:
        """Make the ledger agree with an execution that ended. Idempotent.

        If the ledger does not show by the ARN that the execution was examined, the execution is marked. A marked
        execution is not read from Lambda again, unless `again` is true: its order can have been lost since.

        Raises `LedgerUnavailable`, `LedgerRejected`, `ExecutionUnavailable` or `RejectUnavailable`, `OrderUnknown`
        when the order's item was deleted meanwhile, and `InvalidOrder` for an order that only another version of this
        code reads: its end must be recorded by that version.
        """
        if status not in ENDED:
            self._log_ignored(execution_arn, status)
            return
        entry = self._named_order(execution_arn)
        if entry is not None and self._is_settled(entry, execution_arn, status):
            return
        if not again and self._is_marked(entry, execution_arn):
            return
        details = self._read(execution_arn)
        mark: Mark | None = None
        if details is not None and details.status == "DELETING":
            # Lambda deletes the only copy of an order that is not in the ledger. The execution ended as was reported.
            mark = self._settle(replace(details, status=status), entry)
        elif details is not None and details.status in ENDED:
            mark = self._settle(details, entry)
        elif details is not None:
            self._log_ignored(execution_arn, details.status)
        elif entry is not None and entry.execution_arn == execution_arn and status != SUCCEEDED:
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
        elif details.status in ENDED:
            self._settle(details, entry)

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
        if status == SUCCEEDED:
            return entry.state is State.COMPLETED
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
        """Settle an execution that was read. Returns the mark that it needs; one that succeeded needs none.

        `entry` is the entry of the order in its name, or of the order that it owns. A named execution with a trace in
        that order needs no mark.
        """
        if details.status != SUCCEEDED:
            return self._settle_failure(details, entry)
        self._settle_success(details)
        return None

    def _settle_failure(self, details: ExecutionDetails, entry: LedgerEntry | None) -> Mark | None:
        """Settle an execution that did not succeed, or reject its order."""
        is_named = ExecutionName.in_arn(details.arn) is not None
        if_recorded = None if is_named else Mark.FINAL
        end = end_of(details)
        try:
            order = parse_order(details.input)
            execution = execution_of(order, details.arn, self.executions.stack_id)
        except InvalidOrder as error:
            if entry is not None and entry.execution_arn == details.arn:
                self._end(entry, end)  # another version of this code accepted the order
                return if_recorded
            if is_named and details.error_type not in _INPUT_REFUSALS:
                # Ingest names executions, and starts only what it accepts as an order. The orchestrator did not refuse
                # this one, so another version of this code reads it: the order must not be given up.
                raise
            self._reject_input(details, error)
            return Mark.FINAL
        match settle(self.ledger, order, execution, end):
            case Settlement.RECORDED:
                self._log_recorded(order.order_id, details.arn, end)
                return if_recorded
            case Settlement.CONFLICT:
                why = conflict_errors(order, self.ledger.get(order.order_id))
                self.rejected.send(_body_of(order), details.arn, OrderConflict.code, why)
                note_conflict(self.ledger, order.order_id, details.arn)
                self.logger.warning(
                    "order rejected", orderId=order.order_id, executionArn=details.arn, reasonCode=OrderConflict.code
                )
                return if_recorded
            case Settlement.AFTER_LAST_ATTEMPT:
                self.logger.error("attempt after the last", orderId=order.order_id, executionArn=details.arn)
                return Mark.FINAL
            case Settlement.ITEM_LOST:
                self.logger.error("order not in the ledger", orderId=order.order_id, executionArn=details.arn)
            case Settlement.TOO_MANY_CONFLICTS:
                self.logger.error("too many conflicts, not rejected", orderId=order.order_id, executionArn=details.arn)
            case Settlement.AGREED:
                pass
        return Mark.UNTIL_NEXT_ATTEMPT if is_named else Mark.FINAL

    def _reject_input(self, details: ExecutionDetails, error: InvalidOrder) -> None:
        """Reject an execution's input that is not an order. Its caller may not have seen the error (`Event`)."""
        body, is_whole = body_of(details.input)
        errors = error.errors if is_whole else (_CUT, *error.errors)
        self.rejected.send(body, details.arn, error.code, errors)
        fields = [told.logged_field for told in errors]
        self.logger.warning("order rejected", executionArn=details.arn, reasonCode=error.code, fields=fields)

    def _settle_success(self, details: ExecutionDetails) -> None:
        """Settle an execution that succeeded. One whose input or result this version does not accept is logged."""
        try:
            end = end_of(details)
            order = parse_order(details.input)
            execution = execution_of(order, details.arn, self.executions.stack_id)
        except (InvalidOrder, ResultUnreadable) as error:
            self.logger.error("success not settled", executionArn=details.arn, reason=str(error))
            return
        if settle(self.ledger, order, execution, end) is Settlement.RECORDED:
            self._log_recorded(order.order_id, details.arn, end)

    def _end(self, entry: LedgerEntry, end: End | Completion) -> None:
        if entry.state not in TERMINAL and end_attempt(self.ledger, entry, end) == Written():
            self._log_recorded(entry.order_id, entry.execution_arn, end)

    def _log_ignored(self, execution_arn: str, status: str) -> None:
        self.logger.info("execution has not ended", executionArn=execution_arn, status=status)

    def _log_recorded(self, order_id: str, execution_arn: str, end: End | Completion) -> None:
        self.ended[end.state] += 1
        self.logger.warning(
            "order ended by the reconciler",
            orderId=order_id,
            executionArn=execution_arn,
            state=end.state,
            error=end.error_type if isinstance(end, End) else None,
        )


def _is_next(entry: LedgerEntry | None, execution_arn: str) -> bool:
    """Whether the execution is named for the order's next attempt: no retry can start until that end is recorded."""
    name = ExecutionName.in_arn(execution_arn)
    return entry is not None and name is not None and name.attempt == entry.next_attempt


def _body_of(order: Order) -> str:
    """The canonical form in ASCII: an order can contain characters that SQS does not accept in a body."""
    return json.dumps(order.canonical(), sort_keys=True, separators=(",", ":"))
