"""How an execution starts and ends, and what an operator does in between: pause, resume, delete."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime

from aws_durable_execution_sdk_python_testing.execution import ExecutionStatus

from durable_local.errors import conflict
from durable_local.runner.pause import Pause
from durable_local.runner.record import ExecutionRecord

NOT_ENDED = frozenset({"RUNNING", "PAUSING", "PAUSED", "DELETING"})


@dataclass(frozen=True)
class StatusChange:
    """An execution started or ended: what Lambda sends to EventBridge."""

    execution: ExecutionRecord
    status: ExecutionStatus


class Ends:
    """For each running execution, a future that its end resolves."""

    def __init__(self, on_status_change: Callable[[StatusChange], None]) -> None:
        """`on_status_change` is called on the runner's threads and must not block."""
        self._on_status_change = on_status_change
        self._running: dict[str, Future[None]] = {}
        self._lock = threading.Lock()

    def expect(self, arn: str) -> None:
        """The execution runs from now on."""
        with self._lock:
            self._running[arn] = Future()

    def of(self, arn: str) -> Future[None] | None:
        """Resolves when the execution ends; None when it has ended."""
        with self._lock:
            return self._running.get(arn)

    def started(self, record: ExecutionRecord) -> None:
        """Reports the start."""
        self._on_status_change(StatusChange(record, record.current_status()))

    def ended(self, record: ExecutionRecord) -> None:
        """Reports the end once, and resolves its future."""
        with self._lock:
            end = self._running.pop(record.durable_execution_arn, None)
        if end is not None:
            try:
                self._on_status_change(StatusChange(record, record.current_status()))
            finally:
                end.set_result(None)


def pause(record: ExecutionRecord, request: Pause) -> bool:
    """PauseDurableExecution; False for a repeated request. Raises ApiError (409) unless the execution runs."""
    if record.pauses and record.pauses[-1].is_repeated_by(request):
        return False
    if record.status != ExecutionStatus.RUNNING.value:
        raise conflict(f"The durable execution cannot be paused: its status is {record.status}.")
    record.pause()
    record.pauses.append(request)
    return True


def end_pause(record: ExecutionRecord, client_token: str | None, reason: str | None, now: datetime) -> bool:
    """ResumeDurableExecution; False for a repeated request. Raises ApiError (409) unless paused or pausing."""
    if record.pauses and record.pauses[-1].is_resumption_repeated(client_token, reason, now):
        return False
    paused = record.pause_under_way
    if record.is_complete or paused is None:
        raise conflict(f"The durable execution cannot be resumed: its status is {record.status}.")
    paused.resume_requested, paused.resume_reason, paused.resume_client_token = now, reason, client_token
    return True


def delete(record: ExecutionRecord) -> None:
    """DeleteDurableExecution; raises ApiError (409) unless the execution has ended."""
    if record.status in NOT_ENDED:
        raise conflict(f"The durable execution cannot be deleted: its status is {record.status}.")
    record.is_being_deleted = True
