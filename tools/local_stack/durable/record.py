"""One execution as the stack keeps it: the runner's, and what Lambda knows of one beyond that."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from aws_durable_execution_sdk_python_testing.execution import Execution

from tools.local_stack.durable.pause import Pause

if TYPE_CHECKING:
    from datetime import datetime

    from aws_durable_execution_sdk_python_testing.model import StartDurableExecutionInput


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
        """When its retention ends, after which nothing remembers it; None while it runs."""
        if self.ended is None:
            return None
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
        return record
