"""Reports how an invocation failed whose process ended: by itself, by a signal, or out of memory.

MiniStack reports `Runtime.HandlerError`, "Worker process died", for all of them. If the process ended while it started,
MiniStack also ends every other worker of the function. Lambda reports the exit status or the signal.
https://docs.aws.amazon.com/lambda/latest/dg/troubleshooting-invocation.html
"""

import signal
import time
from typing import Any

from . import memory_limit, worker_program
from .patching import Original, Patch

DIED = "Worker process died"
DIED_STARTING = "Worker process exited immediately"
END_TIMEOUT_SECONDS = 2


WORKER = "ministack.core.lambda_runtime:Worker"
patch = Patch(__name__)


@patch.replaces(WORKER, "_spawn")
def spawn(original: Original, worker: Any) -> None:
    """Remembers the process: after an answer, the worker has no reference to it."""
    try:
        original(worker)
    finally:
        worker.last_process = worker._proc  # noqa: SLF001 - an attribute of an object, not of a module


@patch.replaces(WORKER, "invoke")
def invoke(original: Original, worker: Any, event: Any, request_id: str, **named: Any) -> dict[str, Any]:
    """Runs the handler; an ended process becomes a result that handler_errors turns into an error."""
    try:
        response: dict[str, Any] = original(worker, event, request_id, **named)
    except RuntimeError as error:
        if not str(error).startswith(DIED_STARTING):
            raise
        response = {"status": "error", "error": DIED, "log": str(error)}
    process = worker.last_process
    is_out_of_memory = memory_limit.end_if_passed(worker) or memory_limit.has_ended(process)
    if not is_out_of_memory and response.get("error") != DIED:
        return response
    error_type = "Runtime.OutOfMemory" if is_out_of_memory else "Runtime.ExitError"
    message = f"RequestId: {request_id} Error: {reason(process.wait(END_TIMEOUT_SECONDS))}"
    report = {"errorType": error_type, "errorMessage": message}
    worker.events.append((time.time_ns() // 1_000_000, f"{message}\n{error_type}"))
    return {**response, "error": None, "status": "ok", "result": {worker_program.FAILED: {"report": report}}}


def reason(code: int) -> str:
    """Lambda's text for an exit code, which is negative for a signal."""
    if code < 0:
        return f"Runtime exited with error: signal: {(signal.strsignal(-code) or str(-code)).lower()}"
    return f"Runtime exited with error: exit status {code}" if code else "Runtime exited without providing a reason"
