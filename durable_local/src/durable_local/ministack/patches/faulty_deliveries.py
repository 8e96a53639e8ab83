# mypy: disable-error-code="import-not-found"
"""A message that an event source mapping delivers twice, as SQS may.

MiniStack polls its queues in its own process, past the front door. It asks there, for each message of a batch, when it
takes it and when it deletes it, whether the message is to come again.
"""

from __future__ import annotations

import contextvars
import http.client
import json
import os
import time
import urllib.parse
from typing import Any

TIMEOUT_SECONDS = 60
PATH = "/_local_stack/faults/deliveries"

Message = dict[str, Any]

_function: contextvars.ContextVar[str] = contextvars.ContextVar("function")


def install(secret: dict[str, str]) -> None:
    """Wraps the delivery of a batch, and the deletion at its end. `secret`: the header that the front door asks for."""
    from ministack.services import lambda_svc, sqs  # noqa: PLC0415 - not before sys.executable is set

    run, delete = lambda_svc._run_sqs_batch, sqs._delete_messages_for_esm  # noqa: SLF001 - there is no public way
    lock, queue_of = sqs._queues_lock, sqs._get_q  # noqa: SLF001

    def show(messages: list[Message], again: list[float | None]) -> set[str]:
        """Makes messages visible after so many seconds; the handles of those that are."""
        now = time.time()
        shown = [(message, after) for message, after in zip(messages, again, strict=True) if after is not None]
        for message, after in shown:
            message["visible_at"] = now + after
        return {message["receipt_handle"] for message, _ in shown}

    def run_faulty(mapping: Any, function: Any, event: Any, batch: list[Message], *queue: Any) -> None:
        _function.set(mapping["FunctionName"])
        again = ask("ReceiveMessage", batch, secret)
        with lock:
            show(batch, again)
        run(mapping, function, event, batch, *queue)

    def delete_faulty(queue_url: str, handles: set[str]) -> None:
        with lock:
            batch = [message for message in queue_of(queue_url)["messages"] if message.get("receipt_handle") in handles]
        again = ask("DeleteMessage", batch, secret)
        with lock:
            kept = show(batch, again)
        delete(queue_url, handles - kept)

    lambda_svc._run_sqs_batch = run_faulty  # noqa: SLF001
    sqs._delete_messages_for_esm = delete_faulty  # noqa: SLF001


def ask(operation: str, messages: list[Message], secret: dict[str, str]) -> list[float | None]:
    """For each message, after how many seconds it comes again; None: as it is."""
    front_door = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"])
    connection = http.client.HTTPConnection(front_door.netloc, timeout=TIMEOUT_SECONDS)
    asked = {
        "operation": operation,
        "function": _function.get(),
        "messages": [f"{message['id']}\n{message['body']}" for message in messages],
    }
    try:
        connection.request("POST", PATH, json.dumps(asked).encode(), secret)
        again: list[float | None] = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return again
