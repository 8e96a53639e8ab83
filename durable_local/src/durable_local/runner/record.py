"""One execution as the stack stores it: the runner's fields, and those that Lambda has in addition."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from aws_durable_execution_sdk_python_testing.execution import Execution
from aws_durable_execution_sdk_python_testing.model import StartDurableExecutionInput

from durable_local.runner.pause import Pause
from durable_local.settings import ACCOUNT

if TYPE_CHECKING:
    from aws_durable_execution_sdk_python.lambda_service import Operation
    from aws_durable_execution_sdk_python_testing.model import InvocationCompletedDetails

    from durable_local.function_reference import FunctionVersion


class ExecutionRecord(Execution):
    """Its JSON has everything that a restart needs, with the names of Lambda's model where there are some."""

    def __init__(
        self, durable_execution_arn: str, start_input: StartDurableExecutionInput, operations: list[Any]
    ) -> None:
        super().__init__(durable_execution_arn, start_input, operations)
        # Whether the execution needs an invocation that has not answered yet. The runner knows that only from its
        # timers and threads, which end with the process.
        self.owes_invocation = True
        # How long invocations ran or waited for a slot, on the stack's clock.
        self.worked = timedelta()
        # The function's dead-letter queue or topic, only for an execution that was started asynchronously.
        self.dead_letter_arn: str | None = None
        # In the order of their requests. Only the last can be under way.
        self.pauses: list[Pause] = []
        # The errors of failed invocations, by request id.
        self.invocation_errors: dict[str, dict[str, Any]] = {}
        self.is_being_deleted = False
        # The versions that chained invokes ran, by operation id.
        self.executed_versions: dict[str, str] = {}

    @classmethod
    def started_now(
        cls, request: StartDurableExecutionInput, region: str, parent_arn: str | None, now: datetime
    ) -> ExecutionRecord:
        """A new execution with an ARN as Lambda's."""
        request = replace(request, invocation_id=str(uuid.uuid4()))
        function = f"arn:aws:lambda:{region}:{request.account_id}:function:{request.function_name}"
        place = f"durable-execution/{request.execution_name}/{request.invocation_id}"
        record = cls(f"{function}:{request.function_qualifier}/{place}", request, [])
        record.region = region
        record.parent_execution_arn = parent_arn
        record.start(now=now)
        return record

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
        """When its retention ends; None while it runs, its own end for a deleted execution."""
        if self.ended is None or self.is_being_deleted:
            return self.ended
        return self.ended + timedelta(days=self.start_input.execution_retention_period_days)

    @property
    def pause_under_way(self) -> Pause | None:
        """The pause that has not been resumed."""
        return self.pauses[-1] if self.pauses and not self.pauses[-1].is_over else None

    @property
    def status(self) -> str:
        """The status in the API, which has four more values than the runner: see `pause` and `lifecycle`."""
        if self.is_being_deleted:
            return "DELETING"
        pause = self.pause_under_way
        if self.is_complete or pause is None:
            return self.current_status().value
        return "PAUSED" if pause.began else "PAUSING"

    @property
    def error(self) -> dict[str, Any]:
        """The error of an ended execution with the API's field names (`ErrorMessage`, `ErrorType`, ...); else empty."""
        error = self.result.error if self.result else None
        return {name: value for name, value in error.to_dict().items() if value is not None} if error else {}

    def begin_pause(self, now: datetime) -> None:
        """The status is PAUSED from now on, if it was PAUSING: no invocation is under way."""
        pause = self.pause_under_way
        if pause is not None and pause.began is None:
            pause.began = now

    def needs_invocation(self) -> bool:
        """Whether the handler must run next.

        One invocation too many is only a replay. One too few is an execution that never ends.
        """
        return self.owes_invocation or self.has_unseen_changes() or not self.has_pending_operations(self)

    def begin_new_invocation(self) -> str:
        """The runner's, and stores that the answer is outstanding."""
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
            "ExecutedVersions": self.executed_versions,
            # The runner writes milliseconds, too few to tell in which order the events of a history were.
            "OperationTimes": [_operation_times(operation) for operation in self.operations],
            "InvocationTimes": [
                [completion.start_timestamp.isoformat(), completion.end_timestamp.isoformat()]
                for completion in self.invocation_completions
            ],
        }

    @classmethod
    def from_json_dict(cls, data: dict[str, Any]) -> ExecutionRecord:
        """The stored execution."""
        record = super().from_json_dict(data)
        assert isinstance(record, ExecutionRecord)
        record.owes_invocation = data["OwesInvocation"]
        record.worked = timedelta(seconds=data["WorkedSeconds"])
        record.dead_letter_arn = data["DeadLetterArn"]
        record.pauses = [Pause.from_json_dict(pause) for pause in data["Pauses"]]
        record.invocation_errors = data["InvocationErrors"]
        record.is_being_deleted = data["IsBeingDeleted"]
        record.executed_versions = data.get("ExecutedVersions", {})  # not in a file of an earlier version
        record.operations = list(map(_at_times, record.operations, data["OperationTimes"]))
        record.invocation_completions = list(map(_completed_at, record.invocation_completions, data["InvocationTimes"]))
        return record


def start_input(
    function: FunctionVersion, name: str, payload: str, tenant_id: str | None = None
) -> StartDurableExecutionInput:
    """The runner's request to start `function`, which must be durable."""
    if function.durable is None:
        raise ValueError(f"{function.name} is not a durable function")
    return StartDurableExecutionInput(
        account_id=ACCOUNT,
        function_name=function.name,
        function_qualifier=function.version,
        execution_name=name,
        execution_timeout_seconds=function.durable.execution_timeout,
        execution_retention_period_days=function.durable.retention_period,
        tenant_id=tenant_id,
        input=payload,
    )


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
