"""Refuses payloads that are no orders, and those that the SDK cannot read.

The SDK decodes the payload with `json.loads` before it calls our code. For thousands of digits or very deep nesting
that raises, and Lambda retries the invocation as a crash until the execution times out. Megabytes of small values
exhaust the memory. Only a direct invoke can send such a payload. This module fails the execution at once.

An error that left the workflow would be logged by the SDK. The error here is only in the answer, so it can have the
names of the payload.
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
from shared.orders.order import parse_order


def refusal(invocation: Any) -> dict[str, Any] | None:
    """Return the response that fails the execution, or None for a payload that the workflow can read."""
    try:
        for payload in _input_payloads(invocation):
            refuse_large_text(payload)
            json.loads(payload)
            parse_order(payload)
    except InvalidOrder as error:
        return _failed(error.named())
    except json.JSONDecodeError:
        return _failed(NotJson([FieldError("", "not JSON")]))
    except (ValueError, RecursionError):
        return _failed(
            NotJson([FieldError("", "not JSON this pipeline reads: a number too long or nested too deeply")])
        )
    return None


def _input_payloads(invocation: Any) -> list[str]:
    """Return the payload that the execution was started with. An unknown form has none: the SDK refuses it."""
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
