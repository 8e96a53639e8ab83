# mypy: disable-error-code="import-not-found"
"""What a handler raises, reported as Lambda reports it.

MiniStack says `Runtime.HandlerError` whatever was raised, without a stack trace, and ends the worker. On Lambda the
class is the error type, a result that is no JSON is a `Runtime.MarshalError`, and the environment stays warm: only a
process that is gone, or out of time, is replaced.
https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html
"""

from __future__ import annotations

from typing import Any

MARK = "__local_stack_handler_error__"

# The end of MiniStack's worker program for Python, and what stands in its place. To MiniStack the error is a result,
# so that it keeps the worker; `_reported` makes an error of it again.
THEIRS = """\
        try:
            result = handler_fn(event, context)
            _real_stdout.write(json.dumps({"status": "ok", "result": result}) + "\\n")
        except Exception as e:
            _real_stdout.write(json.dumps({"status": "error", "error": str(e), "trace": traceback.format_exc()}) + "\\n")
        _real_stdout.flush()
"""  # noqa: E501 - to the letter
OURS = f"""\
        def _failed(error_type, message, frames):
            report = {{"errorMessage": message, "errorType": error_type, "requestId": context.aws_request_id,
                      "stackTrace": traceback.format_list(frames)}}
            trace = traceback.format_exc()
            return json.dumps({{"status": "ok", "result": {{"{MARK}": {{"report": report, "trace": trace}}}}}})
        try:
            result = handler_fn(event, context)
        except Exception as e:
            answer = _failed(type(e).__name__, str(e), traceback.extract_tb(e.__traceback__)[1:])
        else:
            try:
                answer = json.dumps({{"status": "ok", "result": result}})
            except Exception as e:
                answer = _failed("Runtime.MarshalError", "Unable to marshal response: " + str(e), [])
        _real_stdout.write(answer + "\\n")
        _real_stdout.flush()
"""


def install() -> None:
    """Changes the worker's program and what MiniStack makes of its answer."""
    from ministack.core import lambda_runtime  # noqa: PLC0415 - not before sys.executable is set
    from ministack.services import lambda_svc  # noqa: PLC0415

    program: str = lambda_runtime._PYTHON_WORKER_SCRIPT  # noqa: SLF001 - there is no public way
    if program.count(THEIRS) != 1:
        raise RuntimeError("MiniStack's worker program has changed: see handler_errors.py")
    lambda_runtime._PYTHON_WORKER_SCRIPT = program.replace(THEIRS, OURS)  # noqa: SLF001
    execute = lambda_svc._execute_function_warm  # noqa: SLF001

    def reported(function: dict[str, Any], event: Any, request_id: str) -> dict[str, Any]:
        return _reported(execute(function, event, request_id))

    lambda_svc._execute_function_warm = reported  # noqa: SLF001


def _reported(answer: dict[str, Any]) -> dict[str, Any]:
    body = answer.get("body")
    if not isinstance(body, dict) or MARK not in body:
        return answer
    failed = body[MARK]
    log = "\n".join(filter(None, [answer.get("log"), failed["trace"]]))
    return {"body": failed["report"], "error": True, "function_error": "Unhandled", "log": log}
