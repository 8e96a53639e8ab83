"""ExecutionTimeout, on the stack's clock: the runner's own knows neither restarts, pauses nor another clock."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from aws_durable_execution_sdk_python.lambda_service import ErrorObject
from aws_durable_execution_sdk_python_testing.worker.checkpoint_tasks import CallableTask

from durable_local.runner.clock import ScaledClock, ScaledScheduler
from durable_local.runner.invocations import Invocations
from durable_local.runner.lanes import SharedThreadRegistry
from durable_local.runner.record import ExecutionRecord
from durable_local.runner.store import Store

if TYPE_CHECKING:
    from concurrent.futures import Future

# "An execution with a paused timeout still times out 366 days after it started" (PauseDurableExecution).
MAX_EXECUTION = timedelta(days=366)


class ExecutionTimeouts:
    """One timer for each running execution."""

    def __init__(
        self,
        store: Store,
        clock: ScaledClock,
        scheduler: ScaledScheduler,
        registry: SharedThreadRegistry,
        invocations: Invocations,
        *,
        time_out: Callable[[str, ErrorObject], None],
        complete: Callable[[str], None],
    ) -> None:
        """`time_out` ends an execution, on its lane; `complete` follows it, on no lane."""
        self._store = store
        self._clock = clock
        self._scheduler = scheduler
        self._registry = registry
        self._invocations = invocations
        self._time_out = time_out
        self._complete = complete
        self._armed: dict[str, Future[Any]] = {}

    def deadline(self, record: ExecutionRecord) -> datetime:
        """When the execution times out: ExecutionTimeout after its start, on the stack's clock.

        On a fast clock, the work of handlers and their wait for a slot appear longer than they are. That difference
        does not count.
        """
        last = record.started + MAX_EXECUTION
        pause = record.pause_under_way
        if pause is not None and pause.began is not None and pause.timeout_paused:
            return last
        timeout = timedelta(seconds=record.start_input.execution_timeout_seconds)
        paused = sum((pause.stopped_timeout for pause in record.pauses), timedelta())
        work = self._clock.allowance(self._invocations.worked(record))
        return min(record.started + timeout + paused, last) + work

    def arm(self, arn: str) -> None:
        """Sets the execution's timer to its present deadline."""
        self.cancel(arn)
        delay = self._clock.arm(self.deadline(self._store.load(arn)))
        self._armed[arn] = self._scheduler.call_later(self._at_deadline(arn), delay=delay)

    def cancel(self, arn: str) -> None:
        """Removes the execution's timer."""
        if (armed := self._armed.pop(arn, None)) is not None:
            armed.cancel()

    def _at_deadline(self, arn: str) -> Callable[[], Awaitable[None]]:
        async def check() -> None:
            self._armed.pop(arn, None)
            due = CallableTask(lambda: self._time_out_if_due(arn))
            if await asyncio.wrap_future(self._registry.submit(arn, due)):
                self._complete(arn)

        return check

    def _time_out_if_due(self, arn: str) -> bool:
        record = self._store.load(arn)
        if record.is_complete:
            return False
        if self._clock.now() < self.deadline(record):
            self.arm(arn)
            return False
        seconds = record.start_input.execution_timeout_seconds
        self._time_out(arn, ErrorObject.from_message(f"Execution timed out after {seconds} seconds."))
        return True
