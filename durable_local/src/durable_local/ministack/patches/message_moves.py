"""Adds dead-letter queue redrive: StartMessageMoveTask, ListMessageMoveTasks, CancelMessageMoveTask.

MiniStack answers `InvalidAction`. The rules are those of SQS's API reference: the source must be the dead-letter queue
of a queue; it has one active task at a time; without a destination a message goes to the queue that it came from; a
moved message is a new one, with another id and a receive count of 0. Tasks end with the stack.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from .patching import Patch

MAX_RATE = 500
"""Messages per second."""

MAX_LISTED = 10

SQS = "ministack.services.sqs"
patch = Patch(__name__)
actions = patch.uses(SQS, "_HANDLERS")
queues = patch.uses(SQS, "_queues")
queue_by_arn = patch.uses(SQS, "_queue_by_arn")
queue_url = patch.uses(SQS, "_queue_url")
refresh_counts = patch.uses(SQS, "_refresh_counts")
send_message = patch.uses(SQS, "_act_send_message")
sqs_error = patch.uses(SQS, "_Err")

_tasks: list[Task] = []
_running: set[asyncio.Task[None]] = set()


@dataclass
class Task:
    """One move task. Times are milliseconds since 1970."""

    source: str
    destination: str | None
    rate: int | None
    to_move: int
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    started: int = field(default_factory=lambda: int(time.time() * 1000))
    status: str = "RUNNING"
    moved: int = 0
    failure: str | None = None

    @property
    def handle(self) -> str:
        """The task's handle, as SQS makes it: its id and source in Base64."""
        return base64.b64encode(json.dumps({"taskId": self.id, "sourceArn": self.source}).encode()).decode()

    def listed(self) -> dict[str, Any]:
        """The task as ListMessageMoveTasks shows it. Only a running one has a handle."""
        shown = {
            "TaskHandle": self.handle if self.status == "RUNNING" else None,
            "Status": self.status,
            "SourceArn": self.source,
            "DestinationArn": self.destination,
            "MaxNumberOfMessagesPerSecond": self.rate,
            "ApproximateNumberOfMessagesMoved": self.moved,
            "ApproximateNumberOfMessagesToMove": self.to_move,
            "FailureReason": self.failure,
            "StartedTimestamp": self.started,
        }
        return {name: value for name, value in shown.items() if value is not None}


@patch.at_start
def register() -> None:
    """Adds the actions to MiniStack's table."""
    actions.get().update(StartMessageMoveTask=start, ListMessageMoveTasks=listing, CancelMessageMoveTask=cancel)


async def start(request: dict[str, Any], _url: str) -> dict[str, Any]:
    """StartMessageMoveTask."""
    source, destination = request.get("SourceArn", ""), request.get("DestinationArn")
    rate = request.get("MaxNumberOfMessagesPerSecond")
    queue = _queue(source, "SourceArn")
    if destination is not None:
        _queue(destination, "DestinationArn")
    if rate is not None and not 1 <= int(rate) <= MAX_RATE:
        raise _invalid(
            f"Value {rate} for parameter MaxNumberOfMessagesPerSecond is invalid."
            f" Reason: Must be between 1 and {MAX_RATE}, if provided."
        )
    if not any(_dead_letter_arn(other) == source for other in queues.get().values()):
        raise _invalid("Source queue must be configured as a Dead Letter Queue.")
    if any(task.source == source and task.status == "RUNNING" for task in _tasks):
        raise _invalid(
            "There is already a task running. Only one active task is allowed for a source queue arn at a given time."
        )
    refresh_counts.call(queue)
    task = Task(source, destination, rate, int(queue["attributes"]["ApproximateNumberOfMessages"]))
    _tasks.append(task)
    moving = asyncio.create_task(_move(task, queue))
    _running.add(moving)
    moving.add_done_callback(_running.discard)
    return {"TaskHandle": task.handle}


def listing(request: dict[str, Any], _url: str) -> dict[str, Any]:
    """ListMessageMoveTasks, the newest first."""
    source, most = request.get("SourceArn", ""), int(request.get("MaxResults") or 1)
    _queue(source, "SourceArn")
    if not 1 <= most <= MAX_LISTED:
        raise _invalid("Value for parameter MaxResults is invalid. Reason: Must be between 1 and 10.")
    found = [task.listed() for task in reversed(_tasks) if task.source == source]
    return {"Results": found[:most]}


def cancel(request: dict[str, Any], _url: str) -> dict[str, Any]:
    """CancelMessageMoveTask. Messages that were moved stay where they are."""
    task = next((task for task in _tasks if task.handle == request.get("TaskHandle")), None)
    if task is None:
        raise sqs_error.call("ResourceNotFoundException", "Task does not exist.", 404)
    if task.status != "RUNNING":
        raise _invalid("Only active tasks can be cancelled.")
    task.status = "CANCELLED"
    return {"ApproximateNumberOfMessagesMoved": task.moved}


async def _move(task: Task, queue: dict[str, Any]) -> None:
    """Moves the messages that are visible, until there is none."""
    while task.status == "RUNNING":
        now = time.time()
        message = next((message for message in queue["messages"] if message["visible_at"] <= now), None)
        if message is None:
            task.status = "COMPLETED"
            return
        to = task.destination or message.get("sys", {}).get("DeadLetterQueueSourceArn")
        destination = queue_by_arn.call(to) if to else None
        if destination is None:
            task.status, task.failure = "FAILED", "QueueDoesNotExist" if to else "CouldNotDetermineMessageSource"
            return
        _send(message, destination)
        queue["messages"].remove(message)
        task.moved += 1
        await asyncio.sleep(1 / task.rate if task.rate else 0)


def _send(message: dict[str, Any], destination: dict[str, Any]) -> None:
    trace = message.get("sys", {}).get("AWSTraceHeader")
    request = {
        "QueueUrl": queue_url.call(destination["name"]),
        "MessageBody": message["body"],
        "MessageAttributes": message.get("message_attributes") or {},
        "MessageSystemAttributes": {"AWSTraceHeader": {"StringValue": trace}} if trace else {},
        "MessageGroupId": message.get("group_id"),
        "MessageDeduplicationId": message.get("dedup_id"),
    }
    send_message.call({name: value for name, value in request.items() if value}, request["QueueUrl"])


def _queue(arn: str, parameter: str) -> dict[str, Any]:
    queue: dict[str, Any] | None = queue_by_arn.call(arn)
    if queue is None:
        raise sqs_error.call(
            "ResourceNotFoundException",
            f"The resource that you specified for the {parameter} parameter doesn't exist.",
            404,
        )
    return queue


def _dead_letter_arn(queue: dict[str, Any]) -> str | None:
    policy = queue["attributes"].get("RedrivePolicy")
    found: str | None = json.loads(policy).get("deadLetterTargetArn") if policy else None
    return found


def _invalid(message: str) -> Exception:
    error: Exception = sqs_error.call("InvalidParameterValue", message)
    return error
