"""Delivers a message of an event source mapping twice, as SQS may.

MiniStack polls its queues in its own process, so these requests do not pass the front door. For each message of a
batch, when it is received and when it is deleted, this patch asks the front door whether to deliver it again.
"""

import contextvars
import http.client
import json
import os
import time
import urllib.parse
from typing import Any

from .patching import Original, Patch

TIMEOUT_SECONDS = 60
PATH = "/_local_stack/faults/deliveries"

Message = dict[str, Any]

SQS = "ministack.services.sqs"
patch = Patch(__name__)
lock = patch.uses(SQS, "_queues_lock")
queue_of = patch.uses(SQS, "_get_q")

secret_header: dict[str, str] = {}  # what the front door requires; set before `apply`
_function: contextvars.ContextVar[str] = contextvars.ContextVar("function")


@patch.replaces("ministack.services.lambda_svc", "_run_sqs_batch")
def run_batch(original: Original, mapping: Any, function: Any, event: Any, batch: list[Message], *queue: Any) -> None:
    """Delivers a batch; a message may become visible while the function works on it."""
    _function.set(mapping["FunctionName"])
    again = ask("ReceiveMessage", batch)
    with lock.get():
        _show(batch, again)
    original(mapping, function, event, batch, *queue)


@patch.replaces(SQS, "_delete_messages_for_esm")
def delete_batch(original: Original, queue_url: str, handles: set[str]) -> None:
    """Deletes a batch, except the messages that are to be delivered again."""
    with lock.get():
        messages = queue_of.call(queue_url)["messages"]
        batch = [message for message in messages if message.get("receipt_handle") in handles]
    again = ask("DeleteMessage", batch)
    with lock.get():
        kept = _show(batch, again)
    original(queue_url, handles - kept)


def _show(messages: list[Message], again: list[float | None]) -> set[str]:
    """Makes messages visible after so many seconds; the receipt handles of those messages."""
    now = time.time()
    shown = [(message, after) for message, after in zip(messages, again, strict=True) if after is not None]
    for message, after in shown:
        message["visible_at"] = now + after
    return {message["receipt_handle"] for message, _ in shown}


def ask(operation: str, messages: list[Message]) -> list[float | None]:
    """For each message, in how many seconds it becomes visible again; None: no change."""
    front_door = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"])
    connection = http.client.HTTPConnection(front_door.netloc, timeout=TIMEOUT_SECONDS)
    asked = {
        "operation": operation,
        "function": _function.get(),
        "messages": [f"{message['id']}\n{message['body']}" for message in messages],
    }
    try:
        connection.request("POST", PATH, json.dumps(asked).encode(), secret_header)
        again: list[float | None] = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return again
