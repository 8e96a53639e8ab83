"""What Lambda tells others of an execution: its status to EventBridge, a lost event to the dead-letter queue.

Status changes go to the default bus as `aws.lambda`, "Durable Execution Status Change":
https://docs.aws.amazon.com/lambda/latest/dg/durable-monitoring.html. AWS delivers them as a best effort, and so
does this: what a killed stack had not sent yet is lost.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import urllib3
from aws_durable_execution_sdk_python_testing.execution import ExecutionStatus
from botocore.exceptions import BotoCoreError, ClientError

from durable_local import clients
from durable_local.runner.runner import StatusChange, error_of
from durable_local.settings import ACCOUNT, REGION

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from botocore.awsrequest import AWSPreparedRequest

    from durable_local.ministack.child import MiniStackAddress
    from durable_local.runner.record import ExecutionRecord

logger = logging.getLogger(__name__)

MOST_WAITING = 100_000
ATTEMPTS = 5
FIRST_RETRY_SECONDS = 0.2
REQUEST_TIMEOUT_SECONDS = 10
LONGEST_GOODBYE_SECONDS = 5
LOST = frozenset({ExecutionStatus.FAILED, ExecutionStatus.TIMED_OUT, ExecutionStatus.STOPPED})
LONGEST_ERROR_MESSAGE = 1024

Event = dict[str, Any]


@dataclass(frozen=True)
class Letter:
    """An event whose execution failed, on its way to `queue_or_topic`."""

    queue_or_topic: str
    event: str
    attributes: dict[str, dict[str, str]]


class Reports:
    """Takes notes on the runner's threads, and sends them in order on one of its own."""

    def __init__(
        self,
        ministack: MiniStackAddress,
        on_the_way: Callable[[Event, Callable[[Event], None]], None] = lambda event, send: send(event),
    ) -> None:
        """`on_the_way`: what an event passes before it is sent; may send it later, on any thread, or not at all."""
        self._on_the_way = on_the_way
        self._ministack = ministack
        self._connections = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(REQUEST_TIMEOUT_SECONDS))
        self._waiting: queue.Queue[Event | Letter | None] = queue.Queue(MOST_WAITING)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._send_all, name="reports", daemon=True)
        self._thread.start()

    def __call__(self, change: StatusChange) -> None:
        """Notes the change; never waits."""
        notes: list[Event | Letter] = [_event(change)]
        if change.status in LOST and change.execution.dead_letter_arn:
            notes.append(_letter(change.execution, change.execution.dead_letter_arn))
        for note in notes:
            try:
                self._waiting.put_nowait(note)
            except queue.Full:
                logger.error("too many reports are waiting: one of %s is lost", change.execution.durable_execution_arn)

    def close(self) -> None:
        """Sends what is waiting, for a few seconds at most."""
        self._ending.set()
        self._waiting.put(None)
        self._thread.join(LONGEST_GOODBYE_SECONDS)

    def _send_all(self) -> None:
        while (note := self._waiting.get()) is not None:
            if isinstance(note, Letter):
                self._send_patiently(note)
            else:
                self._on_the_way(note, self._send_patiently)

    def _send_patiently(self, note: Event | Letter) -> None:
        for attempt in range(ATTEMPTS):
            try:
                self._send(note)
                break
            except (urllib3.exceptions.HTTPError, BotoCoreError, ClientError, RuntimeError) as error:
                logger.warning("a report was not taken (attempt %d of %d): %s", attempt + 1, ATTEMPTS, error)
                self._ending.wait(FIRST_RETRY_SECONDS * 2**attempt)

    def _send(self, note: Event | Letter) -> None:
        if isinstance(note, Letter):
            self._post(note)
            return
        # `FromService`: see `ministack/patches`. From anyone else, EventBridge refuses a source of AWS's own.
        answer = self._connections.request(
            "POST",
            self._ministack.url,
            body=json.dumps({"FromService": True, "Entries": [note]}).encode(),
            headers={
                **self._ministack.headers("events"),
                "Content-Type": "application/x-amz-json-1.1",
                "X-Amz-Target": "AWSEvents.PutEvents",
            },
        )
        if answer.status != HTTPStatus.OK or answer.json()["FailedEntryCount"]:
            raise RuntimeError(f"{answer.status}: {answer.data[:500]!r}")

    def _post(self, letter: Letter) -> None:
        service, name = letter.queue_or_topic.split(":")[2], letter.queue_or_topic.rpartition(":")[2]
        client = clients.client(self._ministack.url, self._ministack.keys.credentials, service)
        client.meta.events.register("before-send", self._say_who_sends)
        if service == "sqs":
            url = f"{self._ministack.url}/{ACCOUNT}/{name}"
            client.send_message(QueueUrl=url, MessageBody=letter.event, MessageAttributes=letter.attributes)
        else:
            client.publish(TopicArn=letter.queue_or_topic, Message=letter.event, MessageAttributes=letter.attributes)

    def _say_who_sends(self, request: AWSPreparedRequest, **_: Any) -> None:
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


def _letter(record: ExecutionRecord, queue_or_topic: str) -> Letter:
    """With the three attributes that Lambda adds to a dead letter:
    https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html#invocation-dlq
    """
    message = error_of(record).get("ErrorMessage") or record.current_status().value
    attributes = {
        "RequestID": {"DataType": "String", "StringValue": record.start_input.invocation_id or ""},
        "ErrorCode": {"DataType": "Number", "StringValue": str(int(HTTPStatus.OK))},
        "ErrorMessage": {"DataType": "String", "StringValue": message[:LONGEST_ERROR_MESSAGE]},
    }
    return Letter(queue_or_topic, record.start_input.input or "{}", attributes)


def _text(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
