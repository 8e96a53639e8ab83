"""The end of an invocation wakes the SDK's checkpoint thread, on the version of the SDK that was read."""

import logging
import queue
import threading
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from aws_durable_execution_sdk_python import __version__, state
from aws_durable_execution_sdk_python.lambda_service import CheckpointOutput, CheckpointUpdatedExecutionState
from aws_durable_execution_sdk_python.plugin import PluginExecutor

from orchestrator.checkpoint_stop import READ_SDK_VERSION, wake_at_stop


class ObservedQueue(queue.Queue):
    """A queue whose reads never time out, and which says that a reader waits."""

    def __init__(self):
        super().__init__()
        self.reading = threading.Event()

    def get(self, block=True, timeout=None):  # noqa: ARG002 (a read that times out would hide a missing wake)
        self.reading.set()
        return super().get(block=True, timeout=30)


@pytest.fixture
def stopping(monkeypatch):
    """The SDK's state of an invocation, whose checkpoint thread sleeps in its queue."""
    monkeypatch.setattr(state.ExecutionState, "stop_checkpointing", stock_stop())
    monkeypatch.setattr(state, "_BLOCKED_CALLER_WAIT_SECONDS", 0.001)
    execution = state.ExecutionState("arn", "token", {}, Mock(), PluginExecutor([]))
    execution._checkpoint_queue = ObservedQueue()
    thread = threading.Thread(target=execution.checkpoint_batches_forever, daemon=True)
    return SimpleNamespace(execution=execution, thread=thread, monkeypatch=monkeypatch)


def stock_stop():
    """The SDK's own method, also after the handler was imported in this process."""
    stop = state.ExecutionState.stop_checkpointing
    return stop.__closure__[0].cell_contents if getattr(stop, "wakes", False) else stop


def test_the_sdk_is_the_version_that_was_read():
    """Read the new state.py, and then set READ_SDK_VERSION, or delete the module if the SDK no longer waits."""
    assert __version__ == READ_SDK_VERSION


def test_the_end_of_an_invocation_wakes_the_checkpoint_thread(stopping):
    assert wake_at_stop()
    stopping.thread.start()
    assert stopping.execution._checkpoint_queue.reading.wait(30)
    stopping.execution.close()
    stopping.thread.join(20)
    assert not stopping.thread.is_alive()
    assert stopping.execution._checkpoint_queue.empty()
    stopping.execution._service_client.checkpoint.assert_not_called()


def test_a_checkpoint_that_the_workflow_waits_for_is_sent_without_a_wait_for_others(stopping):
    assert wake_at_stop()
    answer = CheckpointOutput("token", CheckpointUpdatedExecutionState([], ""))
    stopping.execution._service_client.checkpoint.return_value = answer
    stopping.thread.start()
    workflow = threading.Thread(target=stopping.execution.create_checkpoint, daemon=True)
    workflow.start()
    workflow.join(10)  # another read of the queue, for more checkpoints, would not have ended
    assert not workflow.is_alive()
    stopping.execution.close()
    stopping.thread.join(20)
    assert not stopping.thread.is_alive()
    stopping.execution._service_client.checkpoint.assert_called_once()


def test_the_sdk_alone_lets_the_thread_sleep_until_its_read_times_out(stopping):
    """When this fails, the SDK wakes its thread itself, and the module can go."""
    stopping.thread.start()
    assert stopping.execution._checkpoint_queue.reading.wait(30)
    stopping.execution.close()
    assert stopping.execution._checkpoint_queue.empty()
    stopping.execution._checkpoint_queue.put(state._Signal.REFRESH_WAKE)
    stopping.thread.join(20)
    assert not stopping.thread.is_alive()


def test_the_method_is_replaced_once_when_the_handler_is_loaded_again(stopping):
    assert wake_at_stop()
    replaced = state.ExecutionState.stop_checkpointing
    assert wake_at_stop()
    assert state.ExecutionState.stop_checkpointing is replaced


@pytest.mark.parametrize(
    ("version", "sdk"),
    [
        ("3.0.1", state),
        (READ_SDK_VERSION, SimpleNamespace(ExecutionState=state.ExecutionState)),
        (READ_SDK_VERSION, SimpleNamespace(_Signal=state._Signal)),
        (READ_SDK_VERSION, SimpleNamespace(ExecutionState=state.ExecutionState, _Signal=state._Signal)),
    ],
    ids=["another version", "no signal", "no state", "no wait for branches"],
)
def test_another_sdk_stays_as_it_is_with_one_warning(stopping, caplog, version, sdk):
    stock = state.ExecutionState.stop_checkpointing
    with caplog.at_level(logging.WARNING):
        assert not wake_at_stop(version, sdk)
    assert state.ExecutionState.stop_checkpointing is stock
    assert len(caplog.records) == 1
