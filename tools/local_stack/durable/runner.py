"""AWS's durable runner, changed where AWS Lambda differs. Each difference is one method, with its reason."""

from __future__ import annotations

import logging
import threading
import uuid
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from aws_durable_execution_sdk_python_testing.checkpoint.processor import CheckpointProcessor
from aws_durable_execution_sdk_python_testing.clock import RealClock
from aws_durable_execution_sdk_python_testing.execution import Execution, ExecutionStatus
from aws_durable_execution_sdk_python_testing.executor import Executor
from aws_durable_execution_sdk_python_testing.model import StartDurableExecutionInput
from aws_durable_execution_sdk_python_testing.scheduler import Scheduler
from aws_durable_execution_sdk_python_testing.threads import DaemonThreadPool

from tools.local_stack.durable.lanes import SharedThreadRegistry
from tools.local_stack.settings import ACCOUNT, REGION

if TYPE_CHECKING:
    from collections.abc import Callable

    from aws_durable_execution_sdk_python.lambda_service import ErrorObject
    from aws_durable_execution_sdk_python_testing.child_dispatcher import ChildDispatcher
    from aws_durable_execution_sdk_python_testing.invoker import Invoker
    from aws_durable_execution_sdk_python_testing.stores.base import ExecutionStore

    from tools.local_stack.functions import FunctionVersion

logger = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 30.0

# The runner counts the time an invocation queues for a slot as part of it. The function's own Timeout ends an
# invocation and ExecutionTimeout an execution, so this limit is set where it never decides: a year.
NO_INVOCATION_TIMEOUT_SECONDS = 31_622_400


@dataclass(frozen=True)
class StatusChange:
    """An execution started or ended: what Lambda reports to EventBridge.

    Reported on a thread of the runner, which waits: whoever does more than take a note does it elsewhere.
    """

    execution: Execution
    status: ExecutionStatus


class DurableRunner(Executor):
    """Executions of every durable function of the stack, in memory."""

    def __init__(
        self,
        store: ExecutionStore,
        invoker: Invoker,
        child_dispatcher: ChildDispatcher,
        concurrency: int,
        on_status_change: Callable[[StatusChange], None] = lambda _change: None,
    ) -> None:
        scheduler = Scheduler()
        clock = RealClock()
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
        self._invocation_pool = DaemonThreadPool(concurrency, thread_name_prefix="invocation")
        self._target_pool = DaemonThreadPool(concurrency, thread_name_prefix="chained-invoke")
        self._on_status_change = on_status_change
        self._running: dict[str, Future[None]] = {}
        self._running_lock = threading.Lock()

    def start(self) -> None:
        """Starts the clock of all executions."""
        self._scheduler.start()  # type: ignore[no-untyped-call]

    def shutdown(self) -> None:
        """Leaves every execution where it is; with the process they are gone."""
        super().shutdown()
        self._registry.shutdown()

    def create(self, function: FunctionVersion, name: str, payload: str) -> Execution:
        """A new execution of `function`, at the version its qualifier stood for now, not launched yet."""
        if function.durable is None:
            raise ValueError(f"{function.name} is not a durable function")
        return self._create_execution(start_input(function, name, payload))

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
        execution = Execution(
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
        self._store.save(execution)
        return execution

    def _launch_execution(self, execution: Execution, timeout_seconds: int) -> None:
        self._status_changed(execution)
        super()._launch_execution(execution, timeout_seconds)

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
        self._store.save(execution)
        logger.warning("%s: next try in %g s", execution.durable_execution_arn, delay)
        self._invoke_execution(execution.durable_execution_arn, delay=delay)

    def _apply_timeout(self, execution_arn: str, error: ErrorObject) -> None:
        """The runner would overwrite an execution that ended in the instant before its timeout."""
        if not self._store.load(execution_arn).is_complete:
            super()._apply_timeout(execution_arn, error)

    def _complete_events(self, execution_arn: str) -> None:
        """Every end passes here. The runner keeps an event per ended execution for ever; it is dropped."""
        super()._complete_events(execution_arn)
        if event := self._completion_events.pop(execution_arn, None):
            event.remove()  # type: ignore[no-untyped-call]
        with self._running_lock:
            end = self._running.pop(execution_arn, None)
        if end is not None:
            try:
                self._status_changed(self._store.load(execution_arn))
            finally:
                end.set_result(None)

    def _status_changed(self, execution: Execution) -> None:
        self._on_status_change(StatusChange(execution, execution.current_status()))


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


def error_of(execution: Execution) -> dict[str, Any]:
    """The error an ended execution carries, as the API spells it (`ErrorMessage`, `ErrorType`, ...)."""
    error = execution.result.error if execution.result else None
    return {name: value for name, value in error.to_dict().items() if value is not None} if error else {}
