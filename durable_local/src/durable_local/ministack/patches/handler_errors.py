"""Reports an error of a handler as Lambda does.

MiniStack reports `Runtime.HandlerError` for every error, without a stack trace, and ends the worker. Lambda reports the
error's class, and `Runtime.MarshalError` for a result that is not JSON. It replaces only a worker that has ended or
timed out.
https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html
"""

from __future__ import annotations

from typing import Any

from .patching import Original, Patch

MARK = "__local_stack_handler_error__"

# The end of MiniStack's worker program for Python, and its replacement. The replacement returns an error as a marked
# result, so that MiniStack keeps the worker; `execute_warm` turns it back into an error.
THEIRS = """\
        try:
            result = handler_fn(event, context)
            _real_stdout.write(json.dumps({"status": "ok", "result": result}) + "\\n")
        except Exception as e:
            _real_stdout.write(json.dumps({"status": "error", "error": str(e), "trace": traceback.format_exc()}) + "\\n")
        _real_stdout.flush()
"""  # noqa: E501 - an exact copy
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


patch = Patch(__name__)
patch.replaces_text("ministack.core.lambda_runtime", "_PYTHON_WORKER_SCRIPT", THEIRS, OURS)


@patch.replaces("ministack.services.lambda_svc", "_execute_function_warm")
def execute_warm(original: Original, function: dict[str, Any], event: Any, request_id: str) -> dict[str, Any]:
    """Turns a marked result into a function error."""
    answer: dict[str, Any] = original(function, event, request_id)
    body = answer.get("body")
    if not isinstance(body, dict) or MARK not in body:
        return answer
    failed = body[MARK]
    log = "\n".join(filter(None, [answer.get("log"), failed["trace"]]))
    return {"body": failed["report"], "error": True, "function_error": "Unhandled", "log": log}
