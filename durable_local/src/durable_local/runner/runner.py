"""AWS's durable runner with the differences of AWS Lambda. Each override is one difference and its reason."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, TypeVar

from aws_durable_execution_sdk_python_testing.checkpoint.processor import CheckpointProcessor
from aws_durable_execution_sdk_python_testing.executor import Executor
from aws_durable_execution_sdk_python_testing.threads import DaemonThreadPool
from aws_durable_execution_sdk_python_testing.worker.checkpoint_tasks import CallableTask
from aws_durable_execution_sdk_python_testing.worker.status import InvocationState

from durable_local.runner import lifecycle, limits
from durable_local.runner.children import executed_version
from durable_local.runner.clock import ScaledClock, ScaledScheduler
from durable_local.runner.invocations import Invocations, retry_delay
from durable_local.runner.lanes import SharedThreadRegistry
from durable_local.runner.record import ExecutionRecord, start_input
from durable_local.runner.restore import Restore
from durable_local.runner.slots import Slots
from durable_local.runner.timeouts import ExecutionTimeouts
from durable_local.settings import REGION

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Future
    from datetime import datetime

    from aws_durable_execution_sdk_python.lambda_service import ErrorObject, OperationUpdate
    from aws_durable_execution_sdk_python_testing.child_dispatcher import ChildDispatcher, DispatchResult
    from aws_durable_execution_sdk_python_testing.execution import Execution
    from aws_durable_execution_sdk_python_testing.invoker import Invoker, InvokeResponse
    from aws_durable_execution_sdk_python_testing.model import (
        CheckpointDurableExecutionResponse,
        StartDurableExecutionInput,
    )

    from durable_local.function_reference import FunctionVersion
    from durable_local.runner.pause import Pause
    from durable_local.runner.store import Store

T = TypeVar("T")

logger = logging.getLogger(__name__)

# The runner counts the wait for a slot as part of the invocation. The function's Timeout ends an invocation and
# ExecutionTimeout an execution, so this limit is a year and has no effect.
NO_INVOCATION_TIMEOUT_SECONDS = 31_622_400


class DurableRunner(Executor):
    """Executions of every durable function of the stack."""

    _store: Store
    _clock: ScaledClock

    def __init__(
        self,
        store: Store,
        invoker: Invoker,
        child_dispatcher: ChildDispatcher,
        concurrency: int,
        *,
        time_scale: float = 1,
        on_status_change: Callable[[lifecycle.StatusChange], None] = lambda _change: None,
    ) -> None:
        scheduler = ScaledScheduler(time_scale)
        clock = ScaledClock(time_scale, not_before=store.clock())
        registry = SharedThreadRegistry(store, scheduler)
        checkpoints = CheckpointProcessor(store, scheduler, clock=clock)
        super().__init__(
            store,
            scheduler,
            invoker,
            checkpoints,
            invocation_timeout_seconds=NO_INVOCATION_TIMEOUT_SECONDS,
            registry=registry,
            clock=clock,
            child_dispatcher=child_dispatcher,
            region=REGION,
        )
        checkpoints.add_execution_observer(self)
        checkpoints.set_chained_invoke_preflight(self.preflight_chained_invoke)
        # An invocation is a process of this machine, so only a few run at once. The rest queue, in order.
        self.slots = Slots(concurrency, thread_name_prefix="invocation")
        self._invocation_pool = self.slots
        self._target_pool = DaemonThreadPool(concurrency, thread_name_prefix="chained-invoke")
        self._firing: set[asyncio.Future[None]] = set()
        self._ends = lifecycle.Ends(on_status_change)
        self._invocations = Invocations(clock)
        self._timeouts = ExecutionTimeouts(
            store,
            clock,
            scheduler,
            registry,
            self._invocations,
            time_out=self._apply_timeout,
            complete=self._complete_events,
        )
        self._restore = Restore(
            store,
            clock,
            self._schedule_callback_timeouts,
            self.on_chained_invoke_started,
            self._notify_parent_of_terminal_child,
        )
        self.now = clock.now
        self.deadline = self._timeouts.deadline

    def start(self) -> None:
        """Starts the clock of all executions."""
        self._scheduler.start()  # type: ignore[no-untyped-call]
        self._every_second()

    def shutdown(self) -> None:
        """Leaves every execution in the store, where `restore` finds it."""
        super().shutdown()
        self._registry.shutdown()
        self._store.keep_clock(self._clock.now())

    def _every_second(self) -> None:
        if self._closing:
            return
        now = self._clock.now()
        self._store.keep_clock(now)
        for arn in self._store.expired(now):
            self._store.delete(arn)
            self._registry.remove(arn)
        self._scheduler.call_later(self._every_second, delay=self._clock.scale)

    # -- start, restore and end ---------------------------------------------------------------------------

    def create(
        self,
        function: FunctionVersion,
        name: str,
        payload: str,
        tenant_id: str | None = None,
        *,
        by_event: bool = False,
    ) -> ExecutionRecord:
        """A new execution of `function`, not launched yet."""
        record = self._create_execution(start_input(function, name, payload, tenant_id))
        if by_event and function.dead_letter_arn:
            record.dead_letter_arn = function.dead_letter_arn
            self._store.save(record)
        return record

    def launch(self, execution: Execution) -> None:
        """Starts its clock and its first invocation."""
        self._launch_execution(execution, execution.start_input.execution_timeout_seconds)

    def end_of(self, execution: Execution) -> Future[None] | None:
        """Resolves when the execution ends; None when it has ended."""
        return self._ends.of(execution.durable_execution_arn)

    def restore(self) -> int:
        """Continues every execution in the store that has not ended; how many."""
        running = self._store.running()
        for record in running:
            arn = record.durable_execution_arn
            self._ends.expect(arn)
            self._timeouts.arm(arn)
            self._restore.operations(record)
            if record.needs_invocation():
                self._invoke_execution(arn)
            self._schedule_earliest_pending(arn)
        return len(running)

    def _create_execution(
        self,
        input: StartDurableExecutionInput,  # noqa: A002 - the runner's signature
        parent_execution_arn: str | None = None,
    ) -> ExecutionRecord:
        """The runner's ARN is two random ids. Lambda's has the function, its version and the execution's name."""
        record = ExecutionRecord.started_now(input, self.region, parent_execution_arn, self._clock.now())
        self._ends.expect(record.durable_execution_arn)
        self._invocations.queued(record.durable_execution_arn, record.started)
        self._store.save(record)
        return record

    def _launch_execution(self, execution: Execution, timeout_seconds: int) -> None:  # noqa: ARG002
        self._ends.started(self._store.load(execution.durable_execution_arn))
        self._timeouts.arm(execution.durable_execution_arn)
        # 0: no timeout of the runner, see `timeouts`.
        super()._launch_execution(execution, 0)

    def _complete_events(self, execution_arn: str) -> None:
        """Every end calls this. The runner keeps an event for each ended execution; here it is removed."""
        super()._complete_events(execution_arn)
        self._timeouts.cancel(execution_arn)
        self._invocations.forget(execution_arn)
        record = self._store.load(execution_arn)
        for operation in record.operations:
            if operation.callback_details is not None:
                self._cleanup_callback_timeouts(operation.callback_details.callback_id)
        if event := self._completion_events.pop(execution_arn, None):
            event.remove()  # type: ignore[no-untyped-call]
        self._ends.ended(record)

    # -- pause, resume, delete ----------------------------------------------------------------------------

    def pause(self, arn: str, request: Pause) -> None:
        """PauseDurableExecution; raises ApiError (409) unless the execution runs."""

        def pause(record: ExecutionRecord) -> None:
            if lifecycle.pause(record, request):
                if self._invocation_gate(arn) is not InvocationState.INVOKING:
                    record.begin_pause(self._clock.now())
                self._store.save(record)

        self._on_lane(arn, pause)

    def end_pause(self, arn: str, client_token: str | None, reason: str | None) -> None:
        """ResumeDurableExecution; raises ApiError (409) unless the execution is paused or pausing."""

        def resume(record: ExecutionRecord) -> None:
            if lifecycle.end_pause(record, client_token, reason, self._clock.now()):
                # The runner's method starts the invocation that the pause delayed, and saves.
                self._resume_execution(arn)
                self._timeouts.arm(arn)

        self._on_lane(arn, resume)

    def delete(self, arn: str) -> datetime:
        """DeleteDurableExecution; the time of the request. Raises ApiError (409) unless the execution has ended."""

        def delete(record: ExecutionRecord) -> None:
            lifecycle.delete(record)
            self._store.save(record)

        self._on_lane(arn, delete)
        return self._clock.now()

    def _on_lane(self, arn: str, task: Callable[[ExecutionRecord], T]) -> T:
        """Blocks until the task has run: tasks of one execution run one at a time."""
        result: T = self._registry.submit(arn, CallableTask(lambda: task(self._store.load(arn)))).result()
        return result

    # -- checkpoints and invocations ----------------------------------------------------------------------

    def _checkpoint_execution(
        self,
        execution_arn: str,
        checkpoint_token: str,
        updates: list[OperationUpdate] | None = None,
        client_token: str | None = None,
    ) -> CheckpointDurableExecutionResponse:
        """Lambda's limits, and the begin of a pause: its sign is an answer without a token."""
        record = self._store.load(self.get_execution(execution_arn).durable_execution_arn)
        if self._is_current_token(record, checkpoint_token):
            limits.check(record, updates or [])
        response = super()._checkpoint_execution(execution_arn, checkpoint_token, updates, client_token)
        if response.checkpoint_token is None:
            record = self._store.load(execution_arn)
            record.begin_pause(self._clock.now())
            self._store.save(record)
        return response

    def _resolve_dispatch(
        self, execution_arn: str, operation_id: str, function_name: str, tenant_id: str | None, payload: str | None
    ) -> DispatchResult:
        """Remembers which version of its target a chained invoke runs."""
        dispatched = super()._resolve_dispatch(execution_arn, operation_id, function_name, tenant_id, payload)
        if version := executed_version(dispatched):

            def remember(record: ExecutionRecord) -> None:
                record.executed_versions[operation_id] = version
                self._store.save(record)

            self._on_lane(execution_arn, remember)
        return dispatched

    def _invoke_execution(self, execution_arn: str, delay: float = 0) -> None:
        if delay == 0:
            self._invocations.queued(execution_arn)
        super()._invoke_execution(execution_arn, delay)

    def _fire_due_and_invoke_handler(self, execution_arn: str) -> Callable[[], Awaitable[None]]:
        """The runner cancels this when it sets the next timer. Between the end of a wait and the invocation after it,
        the execution would never be invoked again: durable_local/docs/upstream/testing-sdk-a-wake-up-is-lost.md."""
        fire_due = super()._fire_due_and_invoke_handler(execution_arn)

        async def fire() -> None:
            firing = asyncio.ensure_future(fire_due())
            self._firing.add(firing)
            firing.add_done_callback(self._firing.discard)
            await asyncio.shield(firing)

        return fire

    def _begin_invocation(self, execution_arn: str) -> tuple[Execution, Any, int] | None:
        self._invocations.queued(execution_arn)
        claim = super()._begin_invocation(execution_arn)
        if claim is not None:
            self._invocations.began(execution_arn)
            # Checkpoints answer with what changed after the input: the runner also repeats what the input has.
            execution, _, seen = claim
            execution.handler_seen_seq = max(execution.handler_seen_seq, seen)
        elif self._invocation_gate(execution_arn) is not InvocationState.INVOKING:
            record = self._store.load(execution_arn)
            self._invocations.stopped(record)
            self._store.save(record)
        return claim

    def _finish_invocation(
        self,
        execution_arn: str,
        invoke_response: InvokeResponse,
        invocation_start: datetime,
        invocation_end: datetime,
        invocation_seq: int | None = None,
    ) -> None:
        record = self._store.load(execution_arn)
        record.owes_invocation = False
        self._invocations.stopped(record)
        super()._finish_invocation(execution_arn, invoke_response, invocation_start, invocation_end, invocation_seq)

    def _retry_after_error(self, execution_arn: str, error: ErrorObject) -> None:
        """The runner forgets a failed invocation. Lambda's history has it, with its error."""
        record = self._store.load(execution_arn)
        if self._invocations.failed(record, error):
            self._store.save(record)
        super()._retry_after_error(execution_arn, error)

    def _retry_invocation(self, execution: Execution, error: ErrorObject, max_attempts: int | None = None) -> None:
        """The runner fails an execution at the fifth failed invocation. Lambda retries until ExecutionTimeout.

        `max_attempts` is set for an answer after which Lambda does give up; the runner handles that.
        """
        if max_attempts is not None:
            super()._retry_invocation(execution, error, max_attempts)
            return
        if execution.is_complete:
            return
        delay = retry_delay(execution.consecutive_failed_invocation_attempts)
        execution.consecutive_failed_invocation_attempts += 1
        self._invocations.stopped(self._store.load(execution.durable_execution_arn))
        self._store.save(execution)
        logger.warning("%s: retry in %g s", execution.durable_execution_arn, delay)
        self._invoke_execution(execution.durable_execution_arn, delay=delay)
