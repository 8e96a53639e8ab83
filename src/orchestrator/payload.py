"""Payloads that must not reach the SDK.

Before any code of ours runs, the SDK reads an execution's payload with plain `json.loads`. What that cannot bear
(thousands of digits, very deep nesting) leaves the invocation as an error that Lambda takes for a crash and tries
again until the execution times out, and megabytes of small values take its memory. Such a payload can only come by a
direct invoke; it fails here, at once.
"""

import json
from typing import Any

from aws_durable_execution_sdk_python.lambda_service import (
    DurableExecutionInvocationOutput,
    ErrorObject,
    InvocationStatus,
)

from shared.errors import FieldError, InvalidOrder, NotJson
from shared.orders.exact_json import refuse_large_text


def refusal(invocation: Any) -> dict[str, Any] | None:
    """The answer that fails the execution, or None for a payload that can be read."""
    try:
        for payload in _input_payloads(invocation):
            refuse_large_text(payload)
            json.loads(payload)
    except InvalidOrder as error:
        return _failed(error)
    except json.JSONDecodeError:
        return _failed(NotJson([FieldError("", "not JSON")]))
    except (ValueError, RecursionError):
        return _failed(
            NotJson([FieldError("", "not JSON this pipeline reads: a number too long or nested too deeply")])
        )
    return None


def _input_payloads(invocation: Any) -> list[str]:
    """The payload the execution was started with; none in a form this does not know, which is the SDK's to refuse."""
    if not isinstance(invocation, dict):
        return []
    operations = invocation.get("InitialExecutionState", {}).get("Operations", [])
    payloads = (operation.get("ExecutionDetails", {}).get("InputPayload") for operation in operations)
    return [payload for payload in payloads if payload]


def _failed(error: InvalidOrder) -> dict[str, Any]:
    return dict(
        DurableExecutionInvocationOutput(
            status=InvocationStatus.FAILED, error=ErrorObject.from_exception(error)
        ).to_dict()
    )
