# mypy: disable-error-code="import-not-found"
"""An event source whose target is a durable function starts an execution.

EventBridge rules, schedules, topics, buckets, queues and streams call MiniStack's Lambda from within, past the
front door, and MiniStack would run the handler once with the bare event: the durable SDK cannot even read that. So
whatever is about to run a durable function without a checkpoint token goes out to the front door as an Invoke.

Queues and streams wait for the end of the execution, everything else only starts it:
https://docs.aws.amazon.com/lambda/latest/dg/durable-invoking-esm.html
"""

from __future__ import annotations

import json
import logging
import os
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote

logger = logging.getLogger("local_stack.durable_targets")

WAITS_FOR_THE_END = frozenset({"aws:sqs", "aws:kinesis", "aws:dynamodb"})
LONGEST_WAIT_SECONDS = 930  # Lambda's 15 minutes and a little


def install() -> None:
    """Wraps the one place through which MiniStack runs functions."""
    from ministack.services import lambda_svc  # noqa: PLC0415 - not before sys.executable is set

    run = lambda_svc._execute_function  # noqa: SLF001 - there is no public way

    def execute(function: dict[str, Any], event: Any) -> dict[str, Any]:
        config = function.get("config") or function
        if not config.get("DurableConfig") or is_an_invocation_of_the_runner(event):
            result: dict[str, Any] = run(function, event)
            return result
        return start(config["FunctionArn"], event)

    lambda_svc._execute_function = execute  # noqa: SLF001


def is_an_invocation_of_the_runner(event: Any) -> bool:
    """Whether the durable runner sent it: the SDK's input has these fields, and no event source's has."""
    return isinstance(event, dict) and {"DurableExecutionArn", "CheckpointToken"} <= event.keys()


def start(function_arn: str, event: Any) -> dict[str, Any]:
    """Invokes the durable function with `event`; the answer as MiniStack's event sources expect it."""
    kind = "RequestResponse" if waits(event) else "Event"
    request = urllib.request.Request(  # noqa: S310 - the front door's own address
        f"{os.environ['AWS_ENDPOINT_URL']}/2015-03-31/functions/{quote(function_arn, safe='')}/invocations",
        data=json.dumps(event).encode(),
        headers={"X-Amz-Invocation-Type": kind, "Content-Type": "application/json"},
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
    """Whether the event came from a source that needs the outcome: a queue or a stream."""
    records = event.get("Records") if isinstance(event, dict) else None
    return bool(records and records[0].get("eventSource") in WAITS_FOR_THE_END)


def refused(function_arn: str, code: str, message: str) -> dict[str, Any]:
    """A start that the front door did not take."""
    logger.error("%s was not started: %s %s", function_arn, code, message)
    return {"body": {"errorType": code, "errorMessage": message}, "error": True, "log": ""}
