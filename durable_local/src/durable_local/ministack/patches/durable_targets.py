# mypy: disable-error-code="import-not-found"
"""A durable function that a queue, a rule or a topic invokes starts an execution, as on Lambda.

MiniStack would run its handler once, with an event that the durable SDK does not understand. What is not the
runner's own invocation is sent to the front door instead, which starts executions: with the reference that the
source has, so that an unqualified one is refused there as Lambda refuses it.

https://docs.aws.amazon.com/lambda/latest/dg/durable-invoking-esm.html: event source mappings wait for the
execution; rules, topics and buckets start it by event.
"""

from __future__ import annotations

import contextvars
import http.client
import json
import logging
import os
import threading
import urllib.parse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

INVOCATION_OF_THE_RUNNER = frozenset({"DurableExecutionArn", "CheckpointToken", "InitialExecutionState"})
# A synchronous execution lasts 15 minutes at most.
TIMEOUT_SECONDS = 960
REFERENCE = "LocalStackReference"
# The stack's own key lets the request in; no signature is verified.
AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential={key}/20260101/{region}/lambda/aws4_request, SignedHeaders=host, Signature=0"
)

_by_event: contextvars.ContextVar[bool] = contextvars.ContextVar("by_event", default=False)


def install() -> None:
    """Wraps the one place where MiniStack runs a handler, and those in front of it that know more."""
    from ministack.services import eventbridge, lambda_svc, sns  # noqa: PLC0415 - not before sys.executable is set

    _wrap_lambda(lambda_svc)
    _wrap_sources(eventbridge, sns, lambda_svc._get_func_record_for_ref)  # noqa: SLF001 - there is no public way


def _wrap_lambda(lambda_svc: Any) -> None:
    execute, execute_later = lambda_svc._execute_function, lambda_svc.invoke_async_with_retry  # noqa: SLF001
    find = lambda_svc._get_func_record_for_ref  # noqa: SLF001

    def find_and_note(function_ref: str) -> tuple[Any, Any, str]:
        function, config, name = find(function_ref)
        if is_durable(config):
            config = {**config, REFERENCE: function_ref}
        return function, config, name

    def run(function: dict[str, Any], event: Any) -> dict[str, Any]:
        config = function.get("config") or function
        if not is_durable(config) or is_invocation_of_the_runner(event):
            result: dict[str, Any] = execute(function, event)
            return result
        if _by_event.get():
            start_by_event(reference_of(config), event)
            return {"body": None, "log": ""}
        return start(reference_of(config), event)

    def run_later(function: dict[str, Any], event: Any) -> None:
        config = function.get("config") or function
        if is_durable(config):
            start_by_event(reference_of(config), event)
        else:
            execute_later(function, event)

    lambda_svc._get_func_record_for_ref = find_and_note  # noqa: SLF001
    lambda_svc._execute_function = run  # noqa: SLF001
    lambda_svc.invoke_async_with_retry = run_later


def _wrap_sources(eventbridge: Any, sns: Any, find: Callable[[str], tuple[Any, Any, str]]) -> None:
    dispatch, deliver = eventbridge._dispatch_to_lambda, sns._deliver_to_lambda  # noqa: SLF001

    def dispatch_by_event(arn: str, payload: str) -> None:
        if is_durable(find(arn)[1]):
            start_by_event(arn, json.loads(payload))
        else:
            dispatch(arn, payload)

    def deliver_by_event(*arguments: Any) -> None:
        mark = _by_event.set(True)
        try:
            deliver(*arguments)
        finally:
            _by_event.reset(mark)

    eventbridge._dispatch_to_lambda = dispatch_by_event  # noqa: SLF001
    sns._deliver_to_lambda = deliver_by_event  # noqa: SLF001


def is_durable(config: dict[str, Any] | None) -> bool:
    """Whether a function's configuration is that of a durable one."""
    return bool(config and config.get("DurableConfig"))


def is_invocation_of_the_runner(event: Any) -> bool:
    """Whether `event` is what the durable SDK expects, and not what somebody sends."""
    return isinstance(event, dict) and event.keys() >= INVOCATION_OF_THE_RUNNER


def reference_of(config: dict[str, Any]) -> str:
    """As the event source has it; where MiniStack keeps only the version, `$LATEST` stands for no qualifier."""
    if REFERENCE in config:
        return str(config[REFERENCE])
    name, version = config["FunctionName"], config.get("Version", "$LATEST")
    return str(name) if version == "$LATEST" else f"{name}:{version}"


def start_by_event(reference: str, event: Any) -> None:
    """On a thread: the caller may be the one that answers what the front door has to ask before it can start."""
    threading.Thread(target=start, args=(reference, event, "Event"), daemon=True).start()


def start(reference: str, event: Any, invocation_type: str = "RequestResponse") -> dict[str, Any]:
    """Invokes at the front door; what came of it, as MiniStack's executors put it."""
    front_door = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"])
    connection = http.client.HTTPConnection(front_door.netloc, timeout=TIMEOUT_SECONDS)
    try:
        connection.request(
            "POST",
            f"/2015-03-31/functions/{urllib.parse.quote(reference, safe='')}/invocations",
            json.dumps(event).encode(),
            {
                "X-Amz-Invocation-Type": invocation_type,
                "Content-Type": "application/json",
                "Authorization": AUTHORIZATION.format(
                    key=os.environ["AWS_ACCESS_KEY_ID"], region=os.environ["AWS_REGION"]
                ),
            },
        )
        response = connection.getresponse()
        text = response.read()
        code = response.headers.get("x-amzn-errortype")
        failed = code is not None or "X-Amz-Function-Error" in response.headers
    except (OSError, http.client.HTTPException) as error:
        code, failed, text = "ServiceException", True, json.dumps({"message": str(error)}).encode()
    finally:
        connection.close()
    body = json.loads(text or b"null")
    if code is not None:
        body = {"errorType": code, "errorMessage": body.get("message")}
        logger.warning("%s was not started: %s: %s", reference, code, body["errorMessage"])
    return {"body": body, "log": "", **({"error": True} if failed else {})}
