"""One execution as the stack keeps it: the runner's, and what Lambda knows of one beyond that."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from aws_durable_execution_sdk_python_testing.execution import Execution

from durable_local.runner.pause import Pause

if TYPE_CHECKING:
    from aws_durable_execution_sdk_python.lambda_service import Operation
    from aws_durable_execution_sdk_python_testing.model import InvocationCompletedDetails, StartDurableExecutionInput


class ExecutionRecord(Execution):
    """Everything that is to outlive the process is in its JSON, under names of Lambda's model where it has some."""

    def __init__(
        self, durable_execution_arn: str, start_input: StartDurableExecutionInput, operations: list[Any]
    ) -> None:
        super().__init__(durable_execution_arn, start_input, operations)
        # Whether an invocation is owed: none has been answered since this execution last needed one. The runner
        # keeps that in its timers and threads, which end with the process.
        self.owes_invocation = True
        # How long invocations ran or queued, on the stack's clock.
        self.worked = timedelta()
        # The function's DeadLetterConfig, if Lambda would use it: only for an execution that was started by an event.
        self.dead_letter_arn: str | None = None
        # In the order of their requests; only the last can be under way.
        self.pauses: list[Pause] = []
        # Request id to error, of the invocations that failed.
        self.invocation_errors: dict[str, dict[str, Any]] = {}
        self.is_being_deleted = False

    @property
    def started(self) -> datetime:
        """When the execution began, on the stack's clock."""
        start = self.get_operation_execution_started().start_timestamp
        if start is None:
            raise ValueError(f"{self.durable_execution_arn} has no start")
        return start

    @property
    def ended(self) -> datetime | None:
        """When it ended, on the stack's clock; None while it has not."""
        return self.get_operation_execution_started().end_timestamp

    @property
    def expires(self) -> datetime | None:
        """When its retention ends, after which nothing remembers it; None while it runs, its end once deleted."""
        if self.ended is None or self.is_being_deleted:
            return self.ended
        return self.ended + timedelta(days=self.start_input.execution_retention_period_days)

    @property
    def pause_under_way(self) -> Pause | None:
        """The pause that nobody has resumed it from."""
        return self.pauses[-1] if self.pauses and not self.pauses[-1].is_over else None

    @property
    def status(self) -> str:
        """As the API spells it: the runner knows neither pausing nor deletion."""
        if self.is_being_deleted:
            return "DELETING"
        pause = self.pause_under_way
        if self.is_complete or pause is None:
            return self.current_status().value
        return "PAUSED" if pause.began else "PAUSING"

    def needs_invocation(self) -> bool:
        """Whether the handler has to run before anything else can happen.

        An invocation too many is only a replay; one too few is an execution that never ends.
        """
        return self.owes_invocation or self.has_unseen_changes() or not self.has_pending_operations(self)

    def begin_new_invocation(self) -> str:
        """As the runner's, with a note that its answer is outstanding."""
        self.owes_invocation = True
        return super().begin_new_invocation()

    def to_json_dict(self) -> dict[str, Any]:
        """What `from_json_dict` reads."""
        return {
            **super().to_json_dict(),
            "OwesInvocation": self.owes_invocation,
            "WorkedSeconds": self.worked.total_seconds(),
            "DeadLetterArn": self.dead_letter_arn,
            "Pauses": [pause.to_json_dict() for pause in self.pauses],
            "InvocationErrors": self.invocation_errors,
            "IsBeingDeleted": self.is_being_deleted,
            # The runner writes milliseconds, too few to tell in which order the events of a history were.
            "OperationTimes": [_operation_times(operation) for operation in self.operations],
            "InvocationTimes": [
                [completion.start_timestamp.isoformat(), completion.end_timestamp.isoformat()]
                for completion in self.invocation_completions
            ],
        }

    @classmethod
    def from_json_dict(cls, data: dict[str, Any]) -> ExecutionRecord:
        """The execution that was written."""
        record = super().from_json_dict(data)
        assert isinstance(record, ExecutionRecord)
        record.owes_invocation = data["OwesInvocation"]
        record.worked = timedelta(seconds=data["WorkedSeconds"])
        record.dead_letter_arn = data["DeadLetterArn"]
        record.pauses = [Pause.from_json_dict(pause) for pause in data["Pauses"]]
        record.invocation_errors = data["InvocationErrors"]
        record.is_being_deleted = data["IsBeingDeleted"]
        record.operations = list(map(_at_times, record.operations, data["OperationTimes"]))
        record.invocation_completions = list(map(_completed_at, record.invocation_completions, data["InvocationTimes"]))
        return record


def _operation_times(operation: Operation) -> list[str | None]:
    """Start, end, next attempt of a step, end of a wait."""
    attempt = operation.step_details.next_attempt_timestamp if operation.step_details else None
    wake = operation.wait_details.scheduled_end_timestamp if operation.wait_details else None
    times = (operation.start_timestamp, operation.end_timestamp, attempt, wake)
    return [time.isoformat() if time else None for time in times]


def _at_times(operation: Operation, times: list[str | None]) -> Operation:
    start, end, attempt, wake = (datetime.fromisoformat(time) if time else None for time in times)
    step, wait = operation.step_details, operation.wait_details
    return replace(
        operation,
        start_timestamp=start,
        end_timestamp=end,
        step_details=step and replace(step, next_attempt_timestamp=attempt),
        wait_details=wait and replace(wait, scheduled_end_timestamp=wake),
    )


def _completed_at(completion: InvocationCompletedDetails, times: list[str]) -> InvocationCompletedDetails:
    start, end = map(datetime.fromisoformat, times)
    return replace(completion, start_timestamp=start, end_timestamp=end)
