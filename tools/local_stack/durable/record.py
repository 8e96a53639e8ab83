"""One execution as the stack keeps it: the runner's, and what Lambda knows of one beyond that."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from aws_durable_execution_sdk_python_testing.execution import Execution

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
        }

    @classmethod
    def from_json_dict(cls, data: dict[str, Any]) -> ExecutionRecord:
        """The execution that was written."""
        record = super().from_json_dict(data)
        assert isinstance(record, ExecutionRecord)
        record.owes_invocation = data["OwesInvocation"]
        record.worked = timedelta(seconds=data["WorkedSeconds"])
        record.dead_letter_arn = data["DeadLetterArn"]
        return record
