# mypy: disable-error-code="import-not-found"
"""How an invocation ends whose process ends before its answer: by itself, by a signal, or out of memory.

MiniStack says `Runtime.HandlerError`, "Worker process died", whatever it was; if the process ended while it started,
MiniStack ends every other worker of the function as well. Lambda names the exit or the signal.
https://docs.aws.amazon.com/lambda/latest/dg/troubleshooting-invocation.html
"""

from __future__ import annotations

import signal
from typing import Any

DIED = "Worker process died"
DIED_STARTING = "Worker process exited immediately"
LONGEST_END_SECONDS = 2


def install() -> None:
    """Wraps what starts a worker's process, and what has it run a handler."""
    from ministack.core import lambda_runtime  # noqa: PLC0415 - not before sys.executable is set
    from patches import memory_limit  # noqa: PLC0415 - a top-level module in this process only

    spawn, invoke = lambda_runtime.Worker._spawn, lambda_runtime.Worker.invoke  # noqa: SLF001 - there is no public way

    def spawned(worker: Any) -> None:
        try:
            spawn(worker)
        finally:
            # Its own reference is gone when the answer is there.
            worker.last_process = worker._proc  # noqa: SLF001

    def invoked(worker: Any, event: Any, request_id: str, **named: Any) -> dict[str, Any]:
        try:
            response: dict[str, Any] = invoke(worker, event, request_id, **named)
        except RuntimeError as error:
            if not str(error).startswith(DIED_STARTING):
                raise
            response = {"status": "error", "error": DIED, "log": str(error)}
        process = worker.last_process
        beyond = memory_limit.end_if_passed(worker) or memory_limit.has_ended(process)
        if beyond or response.get("error") == DIED:
            code = process.wait(LONGEST_END_SECONDS)
            response = _told(response, request_id, "Runtime.OutOfMemory" if beyond else "Runtime.ExitError", code)
        return response

    lambda_runtime.Worker._spawn = spawned  # noqa: SLF001
    lambda_runtime.Worker.invoke = invoked


def _told(response: dict[str, Any], request_id: str, error_type: str, code: int) -> dict[str, Any]:
    """As what handler_errors makes an error of."""
    from patches import handler_errors  # noqa: PLC0415 - as above

    message = f"RequestId: {request_id} Error: {reason(code)}"
    report = {"errorType": error_type, "errorMessage": message}
    failed = {"report": report, "trace": f"{message}\n{error_type}"}
    return {**response, "status": "ok", "result": {handler_errors.MARK: failed}}


def reason(code: int) -> str:
    """In Lambda's words; `code` as a process is waited for: negative for a signal."""
    if code < 0:
        return f"Runtime exited with error: signal: {(signal.strsignal(-code) or str(-code)).lower()}"
    return f"Runtime exited with error: exit status {code}" if code else "Runtime exited without providing a reason"
