"""What a stack with `keep` still has after a stop and a start."""

import json
import os
import signal
from datetime import timedelta
from pathlib import Path

import pytest

from durable_local import local_stack, processes
from durable_local.settings import Settings

FIXTURE = Path(__file__).parent / "fixture" / "template.yaml"
WAIT_SECONDS = 15
"""Longer than a busy machine needs to see the wait and to stop the stack."""


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def kept(home):
    """A stack that keeps its state. On the same port, the next stack continues."""

    def stack(port=0, **arguments):
        return local_stack(template=FIXTURE, stack_name="kept", home=home, port=port, keep=True, **arguments)

    return stack


def start(stack, function, **payload):
    name = payload.pop("name")
    return stack.client("lambda").invoke(
        FunctionName=stack.outputs[function],
        InvocationType="Event",
        Payload=json.dumps(payload).encode(),
        DurableExecutionName=name,
    )["DurableExecutionArn"]


def get(stack, arn):
    return stack.client("lambda").get_durable_execution(DurableExecutionArn=arn)


def history(stack, arn):
    events = stack.client("lambda").get_durable_execution_history(DurableExecutionArn=arn, MaxItems=1000)["Events"]
    return [event["EventType"] for event in events]


def waits(stack, arn):
    """Whether the execution waits and its handler has returned."""
    return history(stack, arn)[-1] == "InvocationCompleted"


def end(stack, arn, eventually):
    eventually(lambda: get(stack, arn)["Status"] != "RUNNING")
    return get(stack, arn)


def test_a_kept_stack_continues_after_a_restart(kept, eventually, tmp_path):
    """An execution in its wait, one in a step, one that invoked another; a queue's messages, a table's items."""
    with kept() as stack:
        waiting = start(stack, "Durable", wait=WAIT_SECONDS, name="waiting")
        parent = start(
            stack, "Durable", invoke=stack.outputs["Durable"], **{"with": {"wait": WAIT_SECONDS}}, name="parent"
        )
        ended = start(stack, "Durable", name="ended")
        brief = start(stack, "Brief", wait=60, name="brief")
        busy = start(stack, "Durable", hang_once=str(tmp_path / "mark"), name="busy")
        result = end(stack, ended, eventually)
        eventually(lambda: waits(stack, waiting))
        eventually(lambda: waits(stack, parent))
        eventually((tmp_path / "mark").exists)
        sqs, dynamodb = stack.client("sqs"), stack.client("dynamodb")
        queue = sqs.create_queue(QueueName="kept")["QueueUrl"]
        sqs.send_message(QueueUrl=queue, MessageBody="from before")
        dynamodb.put_item(TableName=stack.outputs["TableName"], Item={"id": {"S": "kept"}})
        before = get(stack, waiting)
        port, outputs = stack.settings.port, stack.outputs

    with kept(port) as stack:
        assert stack.outputs == outputs
        assert (
            stack.client("lambda").get_alias(FunctionName=outputs["DurableName"], Name="prod")["FunctionVersion"] == "1"
        )
        after = end(stack, waiting, eventually)
        assert after["Status"] == "SUCCEEDED"
        assert after["StartTimestamp"] == before["StartTimestamp"]
        assert after["EndTimestamp"] - after["StartTimestamp"] >= timedelta(seconds=WAIT_SECONDS)
        assert history(stack, waiting).count("StepStarted") == 1  # what was done is not done again
        assert end(stack, parent, eventually)["Status"] == "SUCCEEDED"
        assert end(stack, busy, eventually)["Status"] == "SUCCEEDED"
        # Five seconds after its start, not after the stack's.
        assert end(stack, brief, eventually)["Status"] == "TIMED_OUT"
        assert get(stack, ended)["Result"] == result["Result"]
        assert start(stack, "Durable", name="ended") == ended
        messages = stack.client("sqs").receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"]
        assert [message["Body"] for message in messages] == ["from before"]
        key = {"id": {"S": "kept"}}
        assert "Item" in stack.client("dynamodb").get_item(TableName=outputs["TableName"], Key=key)
        message = stack.client("sqs").send_message(QueueUrl=outputs["QueueUrl"], MessageBody="to the mapping")
        key = {"id": {"S": message["MessageId"]}}
        get_item = stack.client("dynamodb").get_item
        eventually(lambda: get_item(TableName=outputs["TableName"], Key=key).get("Item"))


def test_a_killed_front_door_loses_nothing(kept, home, eventually):
    """SQLite has every checkpoint. MiniStack writes its state when its pipe closes."""
    with kept() as stack:
        port = stack.settings.port
        waiting = start(stack, "Durable", wait=3, name="waiting")
        eventually(lambda: waits(stack, waiting))
        queue = stack.client("sqs").create_queue(QueueName="kept")["QueueUrl"]
        stack.client("sqs").send_message(QueueUrl=queue, MessageBody="from before")
        directory = Settings(port=port, home=home).directory
        os.kill(processes.front_door_of(directory), signal.SIGKILL)
        eventually(lambda: not processes.of_stack(directory))

    with kept(port) as stack:
        assert end(stack, waiting, eventually)["Status"] == "SUCCEEDED"
        assert "Messages" in stack.client("sqs").receive_message(QueueUrl=queue, WaitTimeSeconds=5)
