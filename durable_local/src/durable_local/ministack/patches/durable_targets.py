"""Starts an execution when a queue, a rule or a topic invokes a durable function, as Lambda does.

MiniStack would run the handler once, with an event that the durable SDK cannot read. Every event that is not the
runner's own invocation is sent to the front door, with the reference of the source: the front door refuses an
unqualified reference, as Lambda does.

https://docs.aws.amazon.com/lambda/latest/dg/durable-invoking-esm.html: event source mappings wait for the
execution; rules, topics and buckets start it asynchronously.
"""

import contextvars
import http.client
import json
import logging
import os
import threading
import urllib.parse
from typing import Any

from .patching import Original, Patch
from .worker_program import ONLY_IMPORT

logger = logging.getLogger(__name__)

INVOCATION_OF_THE_RUNNER = frozenset({"DurableExecutionArn", "CheckpointToken", "InitialExecutionState"})
# Longer than a synchronous execution, which lasts at most 15 minutes.
TIMEOUT_SECONDS = 960
REFERENCE = "LocalStackReference"
# The stack's own key. No signature is verified.
AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential={key}/20260101/{region}/lambda/aws4_request, SignedHeaders=host, Signature=0"
)

LAMBDA = "ministack.services.lambda_svc"
patch = Patch(__name__)
find = patch.uses(LAMBDA, "_get_func_record_for_ref")
_by_event: contextvars.ContextVar[bool] = contextvars.ContextVar("by_event", default=False)


@patch.replaces(LAMBDA, "_get_func_record_for_ref")
def find_with_reference(original: Original, reference: str) -> tuple[Any, Any, str]:
    """Stores the reference in the configuration of a durable function."""
    function, config, name = original(reference)
    return function, {**config, REFERENCE: reference} if is_durable(config) else config, name


@patch.replaces(LAMBDA, "_execute_function")
def execute(original: Original, function: dict[str, Any], event: Any) -> Any:
    """Starts an execution instead of the handler, unless the runner invokes it."""
    config = function.get("config") or function
    if not is_durable(config) or is_invocation_of_the_runner(event):
        return original(function, event)
    if _by_event.get():
        start_by_event(reference_of(config), event)
        return {"body": None, "log": ""}
    return start(reference_of(config), event)


@patch.replaces(LAMBDA, "invoke_async_with_retry")
def execute_later(original: Original, function: dict[str, Any], event: Any) -> None:
    """Starts an execution asynchronously instead of the handler."""
    config = function.get("config") or function
    if is_durable(config):
        start_by_event(reference_of(config), event)
    else:
        original(function, event)


@patch.replaces("ministack.services.eventbridge", "_dispatch_to_lambda")
def dispatch_by_event(original: Original, arn: str, payload: str) -> None:
    """A rule starts an execution asynchronously."""
    if is_durable(find.call(arn)[1]):
        start_by_event(arn, json.loads(payload))
    else:
        original(arn, payload)


@patch.replaces("ministack.services.sns", "_deliver_to_lambda")
def deliver_by_event(original: Original, *arguments: Any) -> None:
    """A topic starts an execution asynchronously."""
    mark = _by_event.set(True)
    try:
        original(*arguments)
    finally:
        _by_event.reset(mark)


def is_durable(config: dict[str, Any] | None) -> bool:
    """Whether the configuration is a durable function's."""
    return bool(config and config.get("DurableConfig"))


def is_invocation_of_the_runner(event: Any) -> bool:
    """Whether `event` has the fields that the durable SDK expects, or only imports the handler."""
    return isinstance(event, dict) and (event.keys() >= INVOCATION_OF_THE_RUNNER or event == ONLY_IMPORT)


def reference_of(config: dict[str, Any]) -> str:
    """The event source's reference. Where MiniStack stores only the version, `$LATEST` means no qualifier."""
    if REFERENCE in config:
        return str(config[REFERENCE])
    name, version = config["FunctionName"], config.get("Version", "$LATEST")
    return str(name) if version == "$LATEST" else f"{name}:{version}"


def start_by_event(reference: str, event: Any) -> None:
    """On a thread: the front door asks MiniStack about the function, and the caller may be the thread that answers."""
    threading.Thread(target=start, args=(reference, event, "Event"), daemon=True).start()


def start(reference: str, event: Any, invocation_type: str = "RequestResponse") -> dict[str, Any]:
    """Invokes the function at the front door; the result has the form of MiniStack's executors."""
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
