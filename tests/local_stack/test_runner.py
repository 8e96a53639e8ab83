"""The durable runner where it differs from the testing SDK's, without processes."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from aws_durable_execution_sdk_python.execution import DurableExecutionInvocationOutput, InvocationStatus
from aws_durable_execution_sdk_python_testing.child_dispatcher import UnconfiguredChildDispatcher
from aws_durable_execution_sdk_python_testing.execution import ExecutionStatus
from aws_durable_execution_sdk_python_testing.invoker import InvokeResponse, LambdaInvoker

from tools.local_stack.durable import runner
from tools.local_stack.durable.invoker import InvocationFailedError
from tools.local_stack.durable.lanes import SharedThreadLane
from tools.local_stack.durable.store import Store
from tools.local_stack.functions import DurableConfig, FunctionVersion


class Crashing(LambdaInvoker):
    """Fails a number of times, then succeeds."""

    def __init__(self, failures):
        super().__init__(lambda_client=None)
        self.left = failures

    def invoke(self, *_arguments, **_named):
        if self.left:
            self.left -= 1
            raise InvocationFailedError("crashed")
        return InvokeResponse(DurableExecutionInvocationOutput(InvocationStatus.SUCCEEDED, '"done"'), "id")


@pytest.fixture
def run(monkeypatch):
    """Runs one execution to its end; the execution and the status changes reported of it."""
    monkeypatch.setattr(runner, "FIRST_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(runner, "LONGEST_RETRY_SECONDS", 0.02)
    started = []

    def to_its_end(failures, execution_timeout=30):
        changes = []
        durable = runner.DurableRunner(
            Store(), Crashing(failures), UnconfiguredChildDispatcher(), 2, on_status_change=changes.append
        )
        durable.start()
        started.append(durable)
        function = FunctionVersion("f", "7", DurableConfig(execution_timeout, 1))
        execution = durable.create(function, "name", "{}")
        end = durable.end_of(execution)
        durable.launch(execution)
        end.result(timeout=20)
        assert durable.end_of(execution) is None
        return execution, [change.status for change in changes]

    yield to_its_end
    for durable in started:
        durable.shutdown()
        durable._scheduler.stop()


def test_failed_invocations_are_tried_again_beyond_the_testing_sdks_five(run):
    execution, changes = run(failures=12)
    assert execution.current_status() is ExecutionStatus.SUCCEEDED
    assert changes == [ExecutionStatus.RUNNING, ExecutionStatus.SUCCEEDED]


def test_failed_invocations_are_tried_until_the_execution_timeout(run):
    execution, changes = run(failures=1_000_000, execution_timeout=1)
    assert execution.current_status() is ExecutionStatus.TIMED_OUT
    assert changes == [ExecutionStatus.RUNNING, ExecutionStatus.TIMED_OUT]


def test_a_lane_runs_its_tasks_in_order_and_one_at_a_time():
    with ThreadPoolExecutor(4) as threads:
        lane = SharedThreadLane(threads)
        ran, busy = [], threading.Lock()

        def task(number):
            assert busy.acquire(blocking=False)
            time.sleep(0.0005)
            ran.append(number)
            busy.release()

        futures = [lane.submit(lambda number=number: task(number)) for number in range(200)]
        for future in futures:
            future.result(timeout=10)
    assert ran == list(range(200))


def test_a_stopped_lane_takes_no_more_tasks():
    with ThreadPoolExecutor(1) as threads:
        lane = SharedThreadLane(threads)
        lane.stop()
        with pytest.raises(RuntimeError):
            lane.submit(print)
