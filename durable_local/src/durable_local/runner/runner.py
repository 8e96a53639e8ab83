"""AWS's durable runner, changed where AWS Lambda differs. Each difference is one method, with its reason."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import threading
import uuid
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from aws_durable_execution_sdk_python.lambda_service import (
    CallbackOptions,
    ErrorObject,
    OperationAction,
    OperationStatus,
    OperationType,
)
from aws_durable_execution_sdk_python_testing.checkpoint.processor import CheckpointProcessor
from aws_durable_execution_sdk_python_testing.execution import ExecutionStatus
from aws_durable_execution_sdk_python_testing.executor import Executor
from aws_durable_execution_sdk_python_testing.model import StartDurableExecutionInput
from aws_durable_execution_sdk_python_testing.threads import DaemonThreadPool
from aws_durable_execution_sdk_python_testing.worker.checkpoint_tasks import CallableTask
from aws_durable_execution_sdk_python_testing.worker.status import InvocationState

from durable_local.errors import conflict
from durable_local.runner import limits
from durable_local.runner.clock import ScaledClock, ScaledScheduler
from durable_local.runner.lanes import SharedThreadRegistry
from durable_local.runner.record import ExecutionRecord
from durable_local.runner.slots import Slots
from durable_local.settings import ACCOUNT, REGION

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from aws_durable_execution_sdk_python.lambda_service import Operation, OperationUpdate
    from aws_durable_execution_sdk_python_testing.child_dispatcher import ChildDispatcher
    from aws_durable_execution_sdk_python_testing.execution import Execution
    from aws_durable_execution_sdk_python_testing.invoker import Invoker, InvokeResponse
    from aws_durable_execution_sdk_python_testing.model import CheckpointDurableExecutionResponse

    from durable_local.function_reference import FunctionVersion
    from durable_local.runner.pause import Pause
    from durable_local.runner.store import Store

logger = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 30.0

# The runner counts the time an invocation queues for a slot as part of it. The function's own Timeout ends an
# invocation and ExecutionTimeout an execution, so this limit is set where it never decides: a year.
NO_INVOCATION_TIMEOUT_SECONDS = 31_622_400

# "An execution with a paused timeout still times out 366 days after it started" (PauseDurableExecution).
LONGEST_EXECUTION = timedelta(days=366)
NOT_ENDED = frozenset({"RUNNING", "PAUSING", "PAUSED", "DELETING"})


@dataclass(frozen=True)
class StatusChange:
    """An execution started or ended: what Lambda reports to EventBridge.

    Reported on a thread of the runner, which waits: whoever does more than take a note does it elsewhere.
    """

    execution: ExecutionRecord
    status: ExecutionStatus


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
        on_status_change: Callable[[StatusChange], None] = lambda _change: None,
    ) -> None:
        scheduler = ScaledScheduler(time_scale)
        clock = ScaledClock(time_scale, not_before=store.clock())
        checkpoints = CheckpointProcessor(store, scheduler, clock=clock)
        super().__init__(
            store,
            scheduler,
            invoker,
            checkpoints,
            invocation_timeout_seconds=NO_INVOCATION_TIMEOUT_SECONDS,
            registry=SharedThreadRegistry(store, scheduler),
            clock=clock,
            child_dispatcher=child_dispatcher,
            region=REGION,
        )
        checkpoints.add_execution_observer(self)
        checkpoints.set_chained_invoke_preflight(self.preflight_chained_invoke)
        # Each invocation is a process of this machine, not one of Lambda's: the rest queue, in order.
        self.slots = Slots(concurrency, thread_name_prefix="invocation")
        self._invocation_pool = self.slots
        self._target_pool = DaemonThreadPool(concurrency, thread_name_prefix="chained-invoke")
        self._on_status_change = on_status_change
        self._working_since: dict[str, datetime] = {}
        self._invoked_at: dict[str, datetime] = {}
        self._firing: set[asyncio.Future[None]] = set()
        self._running: dict[str, Future[None]] = {}
        self._running_lock = threading.Lock()

    def start(self) -> None:
        """Starts the clock of all executions."""
        self._scheduler.start()  # type: ignore[no-untyped-call]
        self._every_second()

    def shutdown(self) -> None:
        """Leaves every execution where it is: in the store, from which `resume` takes it up."""
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

    def now(self) -> datetime:
        """The time on the stack's clock."""
        return self._clock.now()

    def resume(self) -> int:
        """Goes on with every execution in the store that has not ended; how many."""
        running = self._store.running()
        for record in running:
            self._resume(record)
        return len(running)

    def create(self, function: FunctionVersion, name: str, payload: str, *, by_event: bool = False) -> Execution:
        """A new execution of `function`, at the version its qualifier stood for now, not launched yet."""
        execution = self._create_execution(start_input(function, name, payload))
        if by_event and function.dead_letter_arn:
            self._store.load(execution.durable_execution_arn).dead_letter_arn = function.dead_letter_arn
            self._store.save(execution)
        return execution

    def launch(self, execution: Execution) -> None:
        """Starts its clock and its first invocation."""
        self._launch_execution(execution, execution.start_input.execution_timeout_seconds)

    def end_of(self, execution: Execution) -> Future[None] | None:
        """Resolves when the execution ends; None when it has."""
        with self._running_lock:
            return self._running.get(execution.durable_execution_arn)

    def _create_execution(
        self,
        input: StartDurableExecutionInput,  # noqa: A002 - the runner's signature
        parent_execution_arn: str | None = None,
    ) -> Execution:
        """The runner's ARN is two random ids; Lambda's names the function, its version and the execution."""
        started = replace(input, invocation_id=str(uuid.uuid4()))
        execution = ExecutionRecord(
            durable_execution_arn=(
                f"arn:aws:lambda:{self.region}:{started.account_id}:function:{started.function_name}"
                f":{started.function_qualifier}/durable-execution/{started.execution_name}/{started.invocation_id}"
            ),
            start_input=started,
            operations=[],
        )
        execution.region = self.region
        execution.parent_execution_arn = parent_execution_arn
        execution.start(now=self._clock.now())
        with self._running_lock:
            self._running[execution.durable_execution_arn] = Future()
        self._working_since[execution.durable_execution_arn] = execution.started
        self._store.save(execution)
        return execution

    def _launch_execution(self, execution: Execution, timeout_seconds: int) -> None:  # noqa: ARG002
        self._status_changed(self._store.load(execution.durable_execution_arn))
        self._arm_execution_timeout(execution.durable_execution_arn)
        # 0: no timeout of the runner's, which knows neither restarts nor another clock.
        super()._launch_execution(execution, 0)

    # -- taking executions up again after a restart -------------------------------------------------------

    def _resume(self, record: ExecutionRecord) -> None:
        """Timers anew, from the times that were written; then whatever was under way is done again."""
        arn = record.durable_execution_arn
        with self._running_lock:
            self._running[arn] = Future()
        self._arm_execution_timeout(arn)
        for operation in record.operations:
            if operation.status is OperationStatus.STARTED:
                if operation.operation_type is OperationType.CALLBACK:
                    self._resume_callback(record, operation)
                elif operation.operation_type is OperationType.CHAINED_INVOKE:
                    self._resume_chained_invoke(record, operation)
        if record.needs_invocation():
            self._invoke_execution(arn)
        self._schedule_earliest_pending(arn)

    def _resume_callback(self, record: ExecutionRecord, operation: Operation) -> None:
        """Its timeout counts from its start. When the last heartbeat came is not written: that one starts anew."""
        options = _start_of(record, operation).callback_options
        if options is None or operation.callback_details is None or operation.start_timestamp is None:
            return
        timeout = options.timeout_seconds
        if timeout > 0:
            due = operation.start_timestamp + timedelta(seconds=timeout)
            timeout = max(1, math.ceil((due - self._clock.now()).total_seconds()))
        self._schedule_callback_timeouts(
            record.durable_execution_arn,
            CallbackOptions(timeout, options.heartbeat_timeout_seconds),
            operation.callback_details.callback_id,
        )

    def _resume_chained_invoke(self, record: ExecutionRecord, operation: Operation) -> None:
        """A durable target goes on by itself, or has ended; a plain one is invoked again."""
        child = record.chained_invoke_children.get(operation.operation_id)
        if child is not None:
            if self._store.load(child).is_complete:
                self._notify_parent_of_terminal_child(child)
            return
        start = _start_of(record, operation)
        if start.chained_invoke_options is not None:
            self.on_chained_invoke_started(
                record.durable_execution_arn,
                operation.operation_id,
                start.chained_invoke_options.function_name,
                start.chained_invoke_options.tenant_id,
                start.payload,
            )

    # -- pause, resumption, deletion ----------------------------------------------------------------------

    def pause(self, arn: str, request: Pause) -> None:
        """PauseDurableExecution; raises ApiError (409) unless the execution runs."""

        def pause() -> None:
            record = self._store.load(arn)
            if record.pauses and record.pauses[-1].is_repeated_by(request):
                return
            if record.status != ExecutionStatus.RUNNING.value:
                raise conflict(f"The durable execution cannot be paused: its status is {record.status}.")
            record.pause()
            record.pauses.append(request)
            if self._invocation_gate(arn) is not InvocationState.INVOKING:
                self._pause_begins(record)
            self._store.save(record)

        self._registry.submit(arn, CallableTask(pause)).result()

    def _pause_begins(self, record: ExecutionRecord) -> None:
        pause = record.pause_under_way
        if pause is not None and pause.began is None:
            pause.began = self._clock.now()

    def end_pause(self, arn: str, client_token: str | None, reason: str | None) -> None:
        """ResumeDurableExecution; raises ApiError (409) unless the execution is paused or pausing."""

        def resume() -> None:
            record, now = self._store.load(arn), self._clock.now()
            if record.pauses and record.pauses[-1].is_resumption_repeated(client_token, reason, now):
                return
            pause = record.pause_under_way
            if record.is_complete or pause is None:
                raise conflict(f"The durable execution cannot be resumed: its status is {record.status}.")
            pause.resume_requested, pause.resume_reason, pause.resume_client_token = now, reason, client_token
            # The runner's own: starts the invocation that the pause held back, and saves.
            self._resume_execution(arn)
            self._arm_execution_timeout(arn)

        self._registry.submit(arn, CallableTask(resume)).result()

    def delete(self, arn: str) -> datetime:
        """DeleteDurableExecution; when it was asked for. Raises ApiError (409) unless the execution has ended."""

        def delete() -> None:
            record = self._store.load(arn)
            if record.status in NOT_ENDED:
                raise conflict(f"The durable execution cannot be deleted: its status is {record.status}.")
            record.is_being_deleted = True
            self._store.save(record)

        self._registry.submit(arn, CallableTask(delete)).result()
        return self._clock.now()

    def _checkpoint_execution(
        self,
        execution_arn: str,
        checkpoint_token: str,
        updates: list[OperationUpdate] | None = None,
        client_token: str | None = None,
    ) -> CheckpointDurableExecutionResponse:
        execution = self.get_execution(execution_arn)
        if self._is_current_token(execution, checkpoint_token):
            limits.check(self._store.load(execution_arn), updates or [])
        response = super()._checkpoint_execution(execution_arn, checkpoint_token, updates, client_token)
        if response.checkpoint_token is None:
            record = self._store.load(execution_arn)
            self._pause_begins(record)
            self._store.save(record)
        return response

    # -- ExecutionTimeout ---------------------------------------------------------------------------------

    def deadline(self, record: ExecutionRecord) -> datetime:
        """When the execution times out: ExecutionTimeout after its start, on the stack's clock.

        On a fast clock the work of the handlers, and its wait for a free process, seems longer than it is; that
        does not count.
        """
        work = record.worked
        if (since := self._working_since.get(record.durable_execution_arn)) is not None:
            work += self._clock.now() - since
        last = record.started + LONGEST_EXECUTION
        pause = record.pause_under_way
        if pause is not None and pause.began is not None and pause.timeout_paused:
            return last
        timeout = timedelta(seconds=record.start_input.execution_timeout_seconds)
        paused = sum((pause.stopped_timeout for pause in record.pauses), timedelta())
        return min(record.started + timeout + paused, last) + self._clock.allowance(work)

    def _arm_execution_timeout(self, arn: str) -> None:
        if (armed := self._execution_timeouts.pop(arn, None)) is not None:
            armed.cancel()
        delay = self._clock.arm(self.deadline(self._store.load(arn)))
        self._execution_timeouts[arn] = self._scheduler.call_later(self._at_deadline(arn), delay=delay)

    def _at_deadline(self, arn: str) -> Callable[[], Awaitable[None]]:
        async def check() -> None:
            self._execution_timeouts.pop(arn, None)
            due = CallableTask(lambda: self._time_out_if_due(arn))
            if await asyncio.wrap_future(self._registry.submit(arn, due)):
                self._complete_events(arn)

        return check

    def _time_out_if_due(self, arn: str) -> bool:
        record = self._store.load(arn)
        if record.is_complete:
            return False
        if self._clock.now() < self.deadline(record):
            self._arm_execution_timeout(arn)
            return False
        seconds = record.start_input.execution_timeout_seconds
        self._apply_timeout(arn, ErrorObject.from_message(f"Execution timed out after {seconds} seconds."))
        return True

    # -- invocations --------------------------------------------------------------------------------------

    def _invoke_execution(self, execution_arn: str, delay: float = 0) -> None:
        if delay == 0:
            self._working_since.setdefault(execution_arn, self._clock.now())
        super()._invoke_execution(execution_arn, delay)

    def _fire_due_and_invoke_handler(self, execution_arn: str) -> Callable[[], Awaitable[None]]:
        """The runner cancels this whenever it sets the next timer. Between the end of a wait and the invocation that
        goes on after it, nobody would ever invoke: durable_local/docs/upstream/testing-sdk-a-wake-up-is-lost.md."""
        fire_due = super()._fire_due_and_invoke_handler(execution_arn)

        async def fire() -> None:
            firing = asyncio.ensure_future(fire_due())
            self._firing.add(firing)
            firing.add_done_callback(self._firing.discard)
            await asyncio.shield(firing)

        return fire

    def _begin_invocation(self, execution_arn: str) -> tuple[Execution, Any, int] | None:
        self._working_since.setdefault(execution_arn, self._clock.now())
        claim = super()._begin_invocation(execution_arn)
        if claim is not None:
            self._invoked_at[execution_arn] = self._clock.now()
        elif self._invocation_gate(execution_arn) is not InvocationState.INVOKING:
            record = self._store.load(execution_arn)
            self._stops_working(record)
            self._store.save(record)
        return claim

    def _stops_working(self, record: ExecutionRecord) -> None:
        """The invocation has ended: with an answer, without one, or before it began because of a pause."""
        if (since := self._working_since.pop(record.durable_execution_arn, None)) is not None:
            record.worked += self._clock.now() - since
        self._pause_begins(record)

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
        self._stops_working(record)
        super()._finish_invocation(execution_arn, invoke_response, invocation_start, invocation_end, invocation_seq)

    def _retry_after_error(self, execution_arn: str, error: ErrorObject) -> None:
        """The runner forgets an invocation that failed; Lambda's history has it, with its error."""
        record = self._store.load(execution_arn)
        began = self._invoked_at.pop(execution_arn, None)
        if began is not None:
            request_id = str(uuid.uuid4())
            record.record_invocation_completion(began, self._clock.now(), request_id)
            record.invocation_errors[request_id] = _error_of_invocation(error)
            self._store.save(record)
        super()._retry_after_error(execution_arn, error)

    def _retry_invocation(self, execution: Execution, error: ErrorObject, max_attempts: int | None = None) -> None:
        """The runner fails an execution at the fifth failed invocation; Lambda goes on until ExecutionTimeout.

        `max_attempts` is given for an answer that Lambda does give up on: that stays the runner's business.
        """
        if max_attempts is not None:
            super()._retry_invocation(execution, error, max_attempts)
            return
        if execution.is_complete:
            return
        delay = min(FIRST_RETRY_SECONDS * 2**execution.consecutive_failed_invocation_attempts, LONGEST_RETRY_SECONDS)
        execution.consecutive_failed_invocation_attempts += 1
        self._stops_working(self._store.load(execution.durable_execution_arn))
        self._store.save(execution)
        logger.warning("%s: next try in %g s", execution.durable_execution_arn, delay)
        self._invoke_execution(execution.durable_execution_arn, delay=delay)

    def _complete_events(self, execution_arn: str) -> None:
        """Every end passes here. The runner keeps an event per ended execution for ever; it is dropped."""
        super()._complete_events(execution_arn)
        self._working_since.pop(execution_arn, None)
        self._invoked_at.pop(execution_arn, None)
        for operation in self._store.load(execution_arn).operations:
            if operation.callback_details is not None:
                self._cleanup_callback_timeouts(operation.callback_details.callback_id)
        if event := self._completion_events.pop(execution_arn, None):
            event.remove()  # type: ignore[no-untyped-call]
        with self._running_lock:
            end = self._running.pop(execution_arn, None)
        if end is not None:
            try:
                self._status_changed(self._store.load(execution_arn))
            finally:
                end.set_result(None)

    def _status_changed(self, record: ExecutionRecord) -> None:
        self._on_status_change(StatusChange(record, record.current_status()))


def start_input(function: FunctionVersion, name: str, payload: str) -> StartDurableExecutionInput:
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
        input=payload,
    )


def _start_of(record: ExecutionRecord, operation: Operation) -> OperationUpdate:
    """The checkpoint that started an operation: it has the options, which the operation has not."""
    return next(
        update
        for update in record.updates
        if update.operation_id == operation.operation_id and update.action is OperationAction.START
    )


def _error_of_invocation(error: ErrorObject) -> dict[str, Any]:
    """As the API spells it, out of a function error as Invoke spells it, or of whatever else went wrong."""
    text = error.message or ""
    try:
        function_error = json.loads(text)
    except ValueError:
        function_error = None
    if not isinstance(function_error, dict):
        return {"ErrorType": "ServiceException", "ErrorMessage": text}
    names = {"ErrorType": "errorType", "ErrorMessage": "errorMessage", "StackTrace": "stackTrace"}
    return {name: function_error[spelled] for name, spelled in names.items() if function_error.get(spelled)}


def error_of(execution: Execution) -> dict[str, Any]:
    """The error an ended execution carries, as the API spells it (`ErrorMessage`, `ErrorType`, ...)."""
    error = execution.result.error if execution.result else None
    return {name: value for name, value in error.to_dict().items() if value is not None} if error else {}
