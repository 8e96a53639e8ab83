"""Reports an error of a handler as Lambda does.

MiniStack reports `Runtime.HandlerError` for every error, without a stack trace, and ends the worker. Lambda reports the
error's class, and `Runtime.MarshalError` for a result that is not JSON. It replaces only a worker that has ended or
timed out. Our part of the worker program returns an error as a marked result, so that MiniStack keeps the worker.
"""

from typing import Any

from . import worker_program
from .patching import Original, Patch

patch = Patch(__name__)


@patch.replaces("ministack.services.lambda_svc", "_execute_function_warm")
def execute_warm(original: Original, function: dict[str, Any], event: Any, request_id: str) -> dict[str, Any]:
    """Turns a marked result into a function error."""
    answer: dict[str, Any] = original(function, event, request_id)
    body = answer.get("body")
    if not isinstance(body, dict) or worker_program.FAILED not in body:
        return answer
    return {**answer, "body": body[worker_program.FAILED]["report"], "error": True, "function_error": "Unhandled"}
