"""The part of a Python worker that is ours: Lambda's logging, the import of the handler, and its errors.

The text of this file becomes a part of MiniStack's worker program, which runs in the interpreter of a function: there
is only the standard library. The formats are those of Lambda's runtime:
https://docs.aws.amazon.com/lambda/latest/dg/python-logging.html
https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html
"""

import contextlib
import importlib
import json
import logging
import os
import sys
import time
import traceback
from typing import Any, Dict, List  # noqa: UP035 - a function may run on a Python older than 3.9

# Marks the result of an invocation that failed, so that MiniStack keeps the worker: see patches/handler_errors.py.
FAILED = "__local_stack_handler_error__"
# Replaces line ends within an event: the log is read by lines.
LINE_END = "\x1e"
# After the time of an event, in milliseconds since 1970. Lines of child processes and of C code have none.
TIME_END = "\x1d"
# The last line of an invocation.
END_OF_LOG = "\x1f"
# The event of an invocation that only imports the handler: see ../imports.py.
ONLY_IMPORT = {"__local_stack_only_import__": True}
TIME = "%Y-%m-%dT%H:%M:%SZ"
NOT_EXTRA = {*vars(logging.makeLogRecord({})), "aws_request_id", "tenant_id"}

_invocation: Dict[str, Any] = {"aws_request_id": "", "tenant_id": None}  # noqa: UP006


class _InitError(Exception):
    """The handler could not be imported."""

    def __init__(self, error_type: str, message: str, stack_trace: List[str]) -> None:  # noqa: UP006
        super().__init__(message)
        self.error_type = error_type
        self.stack_trace = stack_trace


class JsonFormatter(logging.Formatter):
    """The format of a function with `LogFormat: JSON`."""

    def format(self, record: logging.LogRecord) -> str:  # noqa: D102
        fields = {
            "timestamp": self.formatTime(record, TIME),
            "level": logging.getLevelName(min(50, max(0, record.levelno)) // 10 * 10),
            "message": record.getMessage(),
            "logger": record.name,
            "requestId": _invocation["aws_request_id"],
            "tenantId": _invocation["tenant_id"],
        }
        if record.exc_info and record.exc_info[0]:
            error_type, error, trace = record.exc_info
            fields["stackTrace"] = traceback.format_tb(trace)
            fields["errorType"] = error_type.__name__
            fields["errorMessage"] = str(error)
            fields["location"] = f"{record.pathname}:{record.funcName}:{record.lineno}"
        extra = {name: value for name, value in vars(record).items() if name not in NOT_EXTRA and name not in fields}
        return json.dumps({k: v for k, v in {**fields, **extra}.items() if v is not None}, ensure_ascii=False)


class TimedLines:
    """The standard streams: each line begins with the time at which it is written."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._at_start = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes the text, with the time before each line that begins in it."""
        timed = []
        for line in text.splitlines(keepends=True):
            timed += [f"{time.time_ns() // 1_000_000}{TIME_END}" if self._at_start else "", line]
            self._at_start = line.endswith("\n")
        self._stream.write("".join(timed))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Writes each of the texts."""
        for line in lines:
            self.write(line)


class Handler(logging.Handler):
    """The handler of the root logger."""

    def emit(self, record: logging.LogRecord) -> None:  # noqa: D102
        _write(self.format(record))

    def filter(self, record: logging.LogRecord) -> Any:
        """Adds the request's ids to the record, where the formatters of functions look for them."""
        vars(record).update(_invocation)
        return super().filter(record)


def set_up_logging() -> None:
    """Before the handler is imported: its module may add filters to the handlers of the root logger."""
    sys.stdout = sys.stderr = TimedLines(sys.stderr)
    logging.Formatter.converter = time.gmtime
    handler = Handler()
    handler.setFormatter(
        JsonFormatter()
        if os.environ.get("AWS_LAMBDA_LOG_FORMAT") == "JSON"
        else logging.Formatter(
            "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s", "%Y-%m-%dT%H:%M:%S"
        )
    )
    root = logging.getLogger()
    root.addHandler(handler)
    if level := os.environ.get("AWS_LAMBDA_LOG_LEVEL"):
        root.setLevel({"TRACE": "DEBUG"}.get(level, level))


def import_handler(module: str, name: str) -> None:
    """Imports the function's handler; an error is reported by each invocation, which first tries again."""
    with contextlib.suppress(_InitError):
        _handler(module, name)


def run_handler(module: str, name: str, event: Any, context: Any) -> str:
    """Invokes the handler; the line that MiniStack reads."""
    _invocation.update(aws_request_id=context.aws_request_id, tenant_id=context.tenant_id)
    try:
        handler = _handler(module, name)
        result = None if event == ONLY_IMPORT else handler(event, context)
    except _InitError as error:
        # Lambda's sign of an error before the invocation: no request id.
        answer = _failed(error.error_type, str(error), "", error.stack_trace)
    except Exception as error:  # noqa: BLE001 - whatever the handler raises
        trace = traceback.format_list(traceback.extract_tb(error.__traceback__)[1:])
        answer = _failed(type(error).__name__, str(error), context.aws_request_id, trace)
    else:
        try:
            answer = json.dumps({"status": "ok", "result": result})
        except Exception as error:  # noqa: BLE001 - whatever the result's own code raises
            message = f"Unable to marshal response: {error}"
            answer = _failed("Runtime.MarshalError", message, context.aws_request_id, [])
    _write(END_OF_LOG)
    return answer


def _handler(module: str, name: str) -> Any:
    try:
        imported = importlib.import_module(module)
    except ImportError as error:
        message = f"Unable to import module '{module}': {error}"
        raise _InitError("Runtime.ImportModuleError", message, _frames(error)) from None
    except SyntaxError as error:
        trace = [f'  File "{error.filename}" Line {error.lineno}\n    {error.text}']
        raise _InitError("Runtime.UserCodeSyntaxError", f"Syntax error in module '{module}': {error}", trace) from None
    except Exception as error:  # noqa: BLE001 - whatever the module raises
        raise _InitError(type(error).__name__, str(error), _frames(error)) from None
    try:
        return getattr(imported, name)
    except AttributeError:
        raise _InitError("Runtime.HandlerNotFound", f"Handler '{name}' missing on module '{module}'", []) from None


def _frames(error: Exception) -> List[str]:  # noqa: UP006
    """The frames of the module and below."""
    frames = traceback.extract_tb(error.__traceback__)[1:]
    return traceback.format_list([frame for frame in frames if "importlib" not in frame.filename])


def _failed(error_type: str, message: str, request_id: str, trace: List[str]) -> str:  # noqa: UP006
    """Logs the error; the answer that reports it."""
    report = {"errorMessage": message, "errorType": error_type, "requestId": request_id, "stackTrace": trace}
    if os.environ.get("AWS_LAMBDA_LOG_FORMAT") == "JSON":
        _write(json.dumps({"timestamp": time.strftime(TIME, time.gmtime()), "log_level": "ERROR", **report}))
    else:
        _write("\n".join([f"[ERROR] {error_type}: {message}", "Traceback (most recent call last):", *trace]))
    return json.dumps({"status": "ok", "result": {FAILED: {"report": report}}})


def _write(event: str) -> None:
    """One event, also if it has several lines."""
    sys.stderr.write(event.rstrip("\n").replace("\n", LINE_END) + "\n")
    sys.stderr.flush()
