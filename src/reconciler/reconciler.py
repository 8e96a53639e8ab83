"""Brings the ledger and one execution that did not succeed to the same end.

Called for a status change that Lambda reported, and by the sweep for those that it did not.
"""

import json
from dataclasses import dataclass, replace

from aws_lambda_powertools import Logger

from reconciler.pace import Pace
from shared.errors import FieldError, InvalidOrder, OrderConflict
from shared.execution_names import ExecutionName, execution_of
from shared.executions import ENDED_BADLY, ExecutionRecord, OrderExecutions
from shared.ledger_item import LedgerEntry
from shared.ledger_table import LedgerTable
from shared.order import Order, parse_order
from shared.rejects import RejectedOrders
from shared.settlement import End, Settlement, end_attempt, note_conflict, note_status, settle
from shared.states import TERMINAL, State

EXECUTION_LOST = "ExecutionLost"
"""The error of an order whose execution Lambda no longer has: deleted, or older than its retention."""


@dataclass(frozen=True)
class Reconciler:
    """Reads executions at `pace`: Lambda gives out 30 a second to the whole account (`GetDurableExecution`)."""

    ledger: LedgerTable
    executions: OrderExecutions
    rejected: RejectedOrders
    stack_id: str
    pace: Pace
    logger: Logger

    def ended(self, execution_arn: str, status: str) -> None:
        """An execution ended FAILED, TIMED_OUT or STOPPED: the ledger shall agree with it. May be repeated.

        Raises `LedgerUnavailable`, `LedgerRejected`, `ExecutionUnavailable` or `RejectUnavailable`.
        """
        if status not in ENDED_BADLY:
            self._log_untouched(execution_arn, status)
            return
        entry = self._named_order(execution_arn)
        if entry is not None and self._has_its_end(entry, execution_arn, status):
            return
        record = self._read(execution_arn)
        if record is not None and record.status == "DELETING":
            # Soon gone, with the only copy of an order that never reached the ledger; it had ended as was reported.
            self._settle(replace(record, status=status), entry)
        elif record is not None and record.status in ENDED_BADLY:
            self._settle(record, entry)
        elif record is not None:
            self._log_untouched(execution_arn, record.status)
        elif entry is not None and entry.execution_arn == execution_arn:
            self._end(
                entry, End(State(status), EXECUTION_LOST, f"the execution ended {status}; Lambda keeps it no more")
            )
        else:
            # What order it carried, nobody can say any more.
            self.logger.error("execution gone before it was reconciled", executionArn=execution_arn, status=status)

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
        # Whoever has the next attempt's name stands in the way of a retry until that attempt is on record.
        name = ExecutionName.in_arn(execution_arn)
        is_next = name is not None and entry.is_followed_by(name.attempt)
        return execution_arn in entry.owners or (entry.has_conflict(execution_arn) and not is_next)

    def _read(self, execution_arn: str) -> ExecutionRecord | None:
        self.pace.wait()
        return self.executions.get(execution_arn)

    def _settle(self, record: ExecutionRecord, entry: LedgerEntry | None) -> None:
        """`entry` is the order as it was found before: whose it is, an execution without an order cannot say."""
        end = _end_of(record)
        try:
            order = parse_order(record.input)
            execution = execution_of(order, record.arn, self.stack_id)
        except InvalidOrder as error:
            if entry is not None and entry.execution_arn == record.arn:
                self._end(entry, end)  # another version of this code took it for an order
            else:
                # Ingest names what it has read as an order; without a name it is a direct invoke's, whose caller knows.
                say = self.logger.error if ExecutionName.in_arn(record.arn) else self.logger.info
                say("execution without an order", executionArn=record.arn, reason=str(error))
            return
        match settle(self.ledger, order, execution, end):
            case Settlement.RECORDED:
                self._log_recorded(order.order_id, record.arn, end)
            case Settlement.CONFLICT:
                reason = FieldError("orderId", f"order {order.order_id} is known with another body")
                self.rejected.send(_body_of(order), record.arn, OrderConflict.code, [reason])
                note_conflict(self.ledger, order.order_id, record.arn)
                self.logger.warning(
                    "order rejected", orderId=order.order_id, executionArn=record.arn, reasonCode=OrderConflict.code
                )
            case Settlement.CROWDED:
                self.logger.error("too many conflicts, not rejected", orderId=order.order_id, executionArn=record.arn)
            case Settlement.AGREED:
                pass

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
