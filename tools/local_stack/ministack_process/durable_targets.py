# mypy: disable-error-code="import-not-found"
"""An event source whose target is a durable function starts an execution.

EventBridge rules, schedules, topics, buckets, queues and streams call MiniStack's Lambda from within, past the
front door, and MiniStack would run the handler once with the bare event: the durable SDK cannot even read that. So
whatever is about to run a durable function without a checkpoint token goes out to the front door as an Invoke.

Rules, schedules, topics, buckets and log groups only start it; queues, streams, APIs and state machines wait for its
end: https://docs.aws.amazon.com/lambda/latest/dg/durable-invoking.html and durable-invoking-esm.html
"""

from __future__ import annotations

import json
import logging
import os
import threading
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote

logger = logging.getLogger("local_stack.durable_targets")

ONLY_START = frozenset({"aws:sns", "aws:s3"})
LONGEST_WAIT_SECONDS = 930  # Lambda's 15 minutes and a little


def install() -> None:
    """Wraps the one place through which MiniStack runs functions, and EventBridge's way to it."""
    from ministack.services import eventbridge, lambda_svc  # noqa: PLC0415 - not before sys.executable is set

    run = lambda_svc._execute_function  # noqa: SLF001 - there is no public way
    dispatch = eventbridge._dispatch_to_lambda  # noqa: SLF001

    def execute(function: dict[str, Any], event: Any) -> dict[str, Any]:
        config = function.get("config") or function
        if not config.get("DurableConfig") or is_an_invocation_of_the_runner(event):
            result: dict[str, Any] = run(function, event)
            return result
        return start(config["FunctionArn"], event, waiting=waits(event))

    def dispatched(reference: str, payload: str) -> None:
        # What a rule or a schedule sends may look like anything, so here it is said that nobody waits for an answer.
        _, config, _ = lambda_svc._get_func_record_for_ref(reference)  # noqa: SLF001
        if not config or not config.get("DurableConfig"):
            dispatch(reference, payload)
            return
        arguments = (config["FunctionArn"], json.loads(payload))
        threading.Thread(target=start, args=arguments, kwargs={"waiting": False}, daemon=True).start()

    lambda_svc._execute_function = execute  # noqa: SLF001
    eventbridge._dispatch_to_lambda = dispatched  # noqa: SLF001


def is_an_invocation_of_the_runner(event: Any) -> bool:
    """Whether the durable runner sent it: the SDK's input has these fields, and no event source's has."""
    return isinstance(event, dict) and {"DurableExecutionArn", "CheckpointToken"} <= event.keys()


def start(function_arn: str, event: Any, *, waiting: bool) -> dict[str, Any]:
    """Invokes the durable function with `event`; the answer as MiniStack's event sources expect it."""
    request = urllib.request.Request(  # noqa: S310 - the front door's own address
        f"{os.environ['AWS_ENDPOINT_URL']}/2015-03-31/functions/{quote(function_arn, safe='')}/invocations",
        data=json.dumps(event).encode(),
        headers={
            "X-Amz-Invocation-Type": "RequestResponse" if waiting else "Event",
            "Content-Type": "application/json",
        },
        method="POST",
    )
    try:
        with urllib.request.urlopen(request, timeout=LONGEST_WAIT_SECONDS) as response:  # noqa: S310
            text = response.read()
            failed = "X-Amz-Function-Error" in response.headers
    except urllib.error.HTTPError as error:
        return refused(function_arn, error.headers.get("x-amzn-errortype", "ServiceException"), error.read().decode())
    except OSError as error:
        return refused(function_arn, "ServiceException", str(error))
    return {"body": json.loads(text) if text else None, "error": failed, "log": ""}


def waits(event: Any) -> bool:
    """Whether the source of the event needs the outcome: not a topic, a bucket or a log group."""
    if not isinstance(event, dict) or "awslogs" in event:
        return not isinstance(event, dict)
    records = event.get("Records")
    first = records[0] if isinstance(records, list) and records and isinstance(records[0], dict) else {}
    return ONLY_START.isdisjoint({first.get("eventSource"), first.get("EventSource")})


def refused(function_arn: str, code: str, message: str) -> dict[str, Any]:
    """A start that the front door did not take."""
    logger.error("%s was not started: %s %s", function_arn, code, message)
    return {"body": {"errorType": code, "errorMessage": message}, "error": True, "log": ""}
