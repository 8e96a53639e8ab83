"""Sends each status change of an execution to EventBridge, and the event of a failed one to its dead-letter queue.

Status events go to the default bus from `aws.lambda` as "Durable Execution Status Change":
https://docs.aws.amazon.com/lambda/latest/dg/durable-monitoring.html. AWS's delivery is best effort, and so is this
one: a stack that is killed loses the events that it has not sent.
"""

import json
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any

import urllib3
from aws_durable_execution_sdk_python_testing.execution import ExecutionStatus
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import BotoCoreError, ClientError

from durable_local import clients
from durable_local.ministack.child import MiniStackAddress
from durable_local.runner.lifecycle import StatusChange
from durable_local.runner.record import ExecutionRecord
from durable_local.settings import ACCOUNT, REGION

logger = logging.getLogger(__name__)

MAX_WAITING = 100_000
ATTEMPTS = 5
FIRST_RETRY_SECONDS = 0.2
REQUEST_TIMEOUT_SECONDS = 10
CLOSE_TIMEOUT_SECONDS = 5
FAILURES = frozenset({ExecutionStatus.FAILED, ExecutionStatus.TIMED_OUT, ExecutionStatus.STOPPED})
MAX_ERROR_MESSAGE_CHARACTERS = 1024

Event = dict[str, Any]


@dataclass(frozen=True)
class DeadLetter:
    """The event of a failed execution, for `queue_or_topic` (an ARN)."""

    queue_or_topic: str
    event: str
    attributes: dict[str, dict[str, str]]


class StatusEvents:
    """Queues messages on the runner's threads and sends them in order on a thread of its own."""

    def __init__(
        self,
        ministack: MiniStackAddress,
        deliver: Callable[[Event, Callable[[Event], None]], None] = lambda event, send: send(event),
    ) -> None:
        """`deliver` gets each event and the function that sends it. It may send later, on any thread, or not at all."""
        self._deliver = deliver
        self._ministack = ministack
        self._connections = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(REQUEST_TIMEOUT_SECONDS))
        self._waiting: queue.Queue[Event | DeadLetter | None] = queue.Queue(MAX_WAITING)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._send_all, name="status-events", daemon=True)
        self._thread.start()

    def add(self, change: StatusChange) -> None:
        """Queues the change; never blocks."""
        messages: list[Event | DeadLetter] = [_event(change)]
        if change.status in FAILURES and change.execution.dead_letter_arn:
            messages.append(_dead_letter(change.execution, change.execution.dead_letter_arn))
        for message in messages:
            try:
                self._waiting.put_nowait(message)
            except queue.Full:
                logger.error(
                    "too many status events are waiting: one of %s is lost", change.execution.durable_execution_arn
                )

    def close(self) -> None:
        """Sends what is queued, for at most `CLOSE_TIMEOUT_SECONDS`."""
        self._ending.set()
        self._waiting.put(None)
        self._thread.join(CLOSE_TIMEOUT_SECONDS)

    def _send_all(self) -> None:
        while (message := self._waiting.get()) is not None:
            if isinstance(message, DeadLetter):
                self._send_with_retry(message)
            else:
                self._deliver(message, self._send_with_retry)

    def _send_with_retry(self, message: Event | DeadLetter) -> None:
        for attempt in range(ATTEMPTS):
            try:
                self._send(message)
                break
            except (urllib3.exceptions.HTTPError, BotoCoreError, ClientError, RuntimeError) as error:
                logger.warning("a status event was not sent (attempt %d of %d): %s", attempt + 1, ATTEMPTS, error)
                self._ending.wait(FIRST_RETRY_SECONDS * 2**attempt)

    def _send(self, message: Event | DeadLetter) -> None:
        if isinstance(message, DeadLetter):
            self._send_dead_letter(message)
            return
        # `FromService`: see ministack/patches/event_sources.py. EventBridge refuses `aws.` sources of other callers.
        answer = self._connections.request(
            "POST",
            self._ministack.url,
            body=json.dumps({"FromService": True, "Entries": [message]}).encode(),
            headers={
                **self._ministack.headers("events"),
                "Content-Type": "application/x-amz-json-1.1",
                "X-Amz-Target": "AWSEvents.PutEvents",
            },
        )
        if answer.status != HTTPStatus.OK or answer.json()["FailedEntryCount"]:
            raise RuntimeError(f"{answer.status}: {answer.data[:500]!r}")

    def _send_dead_letter(self, dead_letter: DeadLetter) -> None:
        service, name = dead_letter.queue_or_topic.split(":")[2], dead_letter.queue_or_topic.rpartition(":")[2]
        client = clients.client(self._ministack.url, self._ministack.keys.credentials, service)
        client.meta.events.register("before-send", self._add_secret)
        if service == "sqs":
            url = f"{self._ministack.url}/{ACCOUNT}/{name}"
            client.send_message(QueueUrl=url, MessageBody=dead_letter.event, MessageAttributes=dead_letter.attributes)
        else:
            client.publish(
                TopicArn=dead_letter.queue_or_topic, Message=dead_letter.event, MessageAttributes=dead_letter.attributes
            )

    def _add_secret(self, request: AWSPreparedRequest, **_: Any) -> None:
        for name, value in self._ministack.keys.headers.items():
            request.headers[name] = value


def _event(change: StatusChange) -> Event:
    record = change.execution
    detail = {
        "durableExecutionArn": record.durable_execution_arn,
        "durableExecutionName": record.start_input.execution_name,
        "functionArn": record.function_arn(REGION),
        "status": change.status.value,
        "startTimestamp": _text(record.started),
    }
    if change.status is not ExecutionStatus.RUNNING and record.ended is not None:
        detail["endTimestamp"] = _text(record.ended)
    return {
        "Source": "aws.lambda",
        "DetailType": "Durable Execution Status Change",
        "Resources": [record.durable_execution_arn],
        "Detail": json.dumps(detail),
    }


def _dead_letter(record: ExecutionRecord, queue_or_topic: str) -> DeadLetter:
    """The event with the three attributes that Lambda adds:
    https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html#invocation-dlq
    """
    message = record.error.get("ErrorMessage") or record.current_status().value
    attributes = {
        "RequestID": {"DataType": "String", "StringValue": record.start_input.invocation_id or ""},
        "ErrorCode": {"DataType": "Number", "StringValue": str(int(HTTPStatus.OK))},
        "ErrorMessage": {"DataType": "String", "StringValue": message[:MAX_ERROR_MESSAGE_CHARACTERS]},
    }
    return DeadLetter(queue_or_topic, record.start_input.input or "{}", attributes)


def _text(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
