"""How the durable runner differs from the testing SDK's, without processes."""

import gc
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from aws_durable_execution_sdk_python.execution import DurableExecutionInvocationOutput, InvocationStatus
from aws_durable_execution_sdk_python.identifier import OperationIdentifier
from aws_durable_execution_sdk_python.lambda_service import OperationType, OperationUpdate, WaitOptions
from aws_durable_execution_sdk_python_testing.child_dispatcher import UnconfiguredChildDispatcher
from aws_durable_execution_sdk_python_testing.execution import ExecutionStatus
from aws_durable_execution_sdk_python_testing.invoker import InvokeResponse, LambdaInvoker

from durable_local.function_reference import DurableConfig, FunctionVersion
from durable_local.runner import invocations, runner
from durable_local.runner.clock import ScaledScheduler
from durable_local.runner.invoker import InvocationFailedError
from durable_local.runner.lanes import THREADS, SharedThreadLane, SharedThreadRegistry
from durable_local.runner.record import ExecutionRecord
from durable_local.runner.store import Selection, Store

TIMEOUT_SECONDS = 30


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


class WaitingThenTwoCheckpoints(LambdaInvoker):
    """Waits in its first invocation, and checkpoints two steps in its second; the operations each was told of."""

    def __init__(self):
        super().__init__(lambda_client=None)
        self.checkpoint = None
        self.told = []

    def invoke(self, _function, invocation, *_arguments, **_named):
        self.told.append([operation.name for operation in invocation.initial_execution_state.operations])
        token = invocation.checkpoint_token
        if len(self.told) == 1:
            wait = OperationUpdate.create_wait_start(named("wait", OperationType.WAIT), WaitOptions(1))
            self.checkpoint(invocation.durable_execution_arn, token, [wait])
            return InvokeResponse(DurableExecutionInvocationOutput(InvocationStatus.PENDING), "first")
        for name in ("one", "two"):
            start = OperationUpdate.create_step_start(named(name, OperationType.STEP))
            answer = self.checkpoint(invocation.durable_execution_arn, token, [start])
            self.told.append([operation.name for operation in answer.new_execution_state.operations])
            token = answer.checkpoint_token
        return InvokeResponse(DurableExecutionInvocationOutput(InvocationStatus.SUCCEEDED, '"done"'), "second")


def named(name, kind):
    return OperationIdentifier(name, kind.value, None, name, operation_type=kind)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "executions.sqlite")


@pytest.fixture
def started(monkeypatch, store):
    """A runner on the store, of a handler that fails a number of times before it succeeds."""
    monkeypatch.setattr(invocations, "FIRST_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(invocations, "MAX_RETRY_SECONDS", 0.02)
    runners = []

    def start(failures, on_status_change, invoker=None):
        durable = runner.DurableRunner(
            store, invoker or Crashing(failures), UnconfiguredChildDispatcher(), 2, on_status_change=on_status_change
        )
        durable.start()
        runners.append(durable)
        return durable

    yield start
    for durable in runners:
        durable.shutdown()
        durable._scheduler.stop()


def run_one(durable, name, execution_timeout=30):
    execution = durable.create(FunctionVersion("f", "7", DurableConfig(execution_timeout, 1)), name, "{}")
    end = durable.end_of(execution)
    durable.launch(execution)
    end.result(timeout=20)
    assert durable.end_of(execution) is None
    return execution


@pytest.fixture
def run(started):
    """Runs one execution to its end; returns it and its reported status changes."""

    def to_its_end(failures, execution_timeout=30):
        changes = []
        execution = run_one(started(failures, changes.append), "name", execution_timeout)
        return execution, [change.status for change in changes]

    return to_its_end


def test_failed_invocations_are_retried_more_than_five_times(run):
    execution, changes = run(failures=12)
    assert execution.current_status() is ExecutionStatus.SUCCEEDED
    assert changes == [ExecutionStatus.RUNNING, ExecutionStatus.SUCCEEDED]


def test_failed_invocations_are_retried_until_the_execution_timeout(run):
    execution, changes = run(failures=1_000_000, execution_timeout=1)
    assert execution.current_status() is ExecutionStatus.TIMED_OUT
    assert changes == [ExecutionStatus.RUNNING, ExecutionStatus.TIMED_OUT]


def test_a_checkpoint_does_not_repeat_what_the_invocations_input_has(started):
    """Else a plugin of the SDK is told of the end of an operation twice."""
    invoker = WaitingThenTwoCheckpoints()
    durable = started(0, lambda _change: None, invoker)
    invoker.checkpoint = durable.checkpoint_execution
    run_one(durable, "name")
    assert invoker.told == [["name"], ["name", "wait"], ["one"], ["two"]]


def test_no_ended_execution_is_in_memory(started, store, eventually):
    durable = started(0, lambda _change: None)
    names = [f"execution-{number}" for number in range(30)]
    with ThreadPoolExecutor(4) as callers:
        list(callers.map(lambda name: run_one(durable, name).durable_execution_arn, names))
    assert store.running() == []

    def none_is_left():
        gc.collect()
        records = [thing for thing in gc.get_objects() if type(thing) is ExecutionRecord]
        return not [record for record in records if record.start_input.execution_name in names]

    # What they wait for is the last step of their last invocations.
    eventually(none_is_left)
    assert sorted(
        summary.durable_execution_name for summary in store.select(Selection("f"), 100, oldest_first=True)
    ) == sorted(names)


def test_an_ended_execution_is_read_exactly_as_it_was_stored(started, store):
    durable = started(1, lambda _change: None)
    execution = run_one(durable, "name")
    # The invocation that ended it saves a last time. This task runs after it: those of one execution run in sequence.
    durable._on_lane(execution.durable_execution_arn, lambda _saved: store.save(execution))
    read = store.load(execution.durable_execution_arn)
    assert read is not execution
    assert read.started == execution.started
    assert read.ended == execution.ended
    assert read.invocation_completions == execution.invocation_completions
    assert read.to_json_dict() == json.loads(json.dumps(execution.to_json_dict()))


def test_an_execution_is_deleted_at_the_end_of_its_retention(started, store):
    execution = run_one(started(0, lambda _change: None), "name")
    end_of_retention = execution.ended + timedelta(days=1)
    assert store.expired(end_of_retention - timedelta(microseconds=1)) == []
    assert store.expired(end_of_retention) == [execution.durable_execution_arn]
    store.delete(execution.durable_execution_arn)
    assert store.named("f", "name") is None


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


def test_a_queued_task_still_runs_when_the_stack_ends(store):
    """A checkpoint waits for the task, and would keep the front door's process alive."""
    registry = SharedThreadRegistry(store, ScaledScheduler(1))
    busy, go_on = threading.Barrier(THREADS + 1), threading.Event()

    def hold():
        busy.wait(TIMEOUT_SECONDS)
        go_on.wait(TIMEOUT_SECONDS)

    for _ in range(THREADS):
        SharedThreadLane(registry._threads).submit(hold)
    busy.wait(TIMEOUT_SECONDS)
    queued = SharedThreadLane(registry._threads).submit(lambda: "done")
    registry.shutdown()
    go_on.set()
    assert queued.result(TIMEOUT_SECONDS) == "done"


def test_a_stopped_lane_accepts_no_more_tasks():
    with ThreadPoolExecutor(1) as threads:
        lane = SharedThreadLane(threads)
        lane.stop()
        with pytest.raises(RuntimeError):
            lane.submit(print)


def test_a_timer_replaced_at_the_end_of_a_wait_still_wakes_the_execution(started, monkeypatch):
    durable = started(0, lambda _: None)
    ending, let_go, invoked = threading.Event(), threading.Event(), threading.Event()

    def end_the_wait(_arn):
        ending.set()
        return let_go.wait(10)

    monkeypatch.setattr(durable, "_fire_due_operations", end_the_wait)
    monkeypatch.setattr(durable, "_invoke_execution", lambda _arn: invoked.set())
    timer = durable._scheduler.call_later(durable._fire_due_and_invoke_handler("arn"))
    assert ending.wait(10)
    timer.cancel()
    let_go.set()
    assert invoked.wait(10)
