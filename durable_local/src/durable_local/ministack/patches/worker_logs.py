"""Writes the log of an invocation to CloudWatch Logs as Lambda does, by the function's LoggingConfig.

MiniStack sets up no logging in its Python workers, so it loses every INFO line. It gives all lines of an invocation one
time and makes an event of each line. It reads `LogGroup` of LoggingConfig, and no format and no level.
https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-advanced.html
"""

from __future__ import annotations

import contextlib
import json
import queue
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import worker_program
from .patching import Original, Patch

if TYPE_CHECKING:
    from collections.abc import Iterator

LAMBDA = "ministack.services.lambda_svc"
LOGS = "ministack.services.cloudwatch_logs"
RUNTIME = "ministack.core.lambda_runtime"
WORKER = f"{RUNTIME}:Worker"
# How long MiniStack waits for the log of a worker that does not say where it ends.
MAX_DRAIN_SECONDS = 0.25
LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
SAME_LEVEL = {"WARNING": "WARN", "CRITICAL": "FATAL"}

Event = tuple[int, str]
"""Milliseconds since 1970, and the text."""

patch = Patch(__name__)
peak_megabytes = patch.uses(LAMBDA, "_probe_peak_memory_mb")
groups = patch.uses(LOGS, "_log_groups")
create_group = patch.uses(LOGS, "_create_log_group")
create_stream = patch.uses(LOGS, "_create_log_stream")
append = patch.uses(LOGS, "_append_log_events")
fan_out = patch.uses(LOGS, "_fanout_to_subscription_filters")

patch.replaces_text(
    RUNTIME,
    "_PYTHON_WORKER_SCRIPT",
    "import sys, json, importlib, traceback, os, time\n",
    Path(worker_program.__file__).read_text(encoding="utf-8"),
)
patch.replaces_text(
    RUNTIME,
    "_PYTHON_WORKER_SCRIPT",
    """\
        mod = importlib.import_module(module_name)
        handler_fn = getattr(mod, handler_name)
""",
    """\
        set_up_logging()
        import_handler(module_name, handler_name)
""",
)
patch.replaces_text(
    RUNTIME,
    "_PYTHON_WORKER_SCRIPT",
    """\
        try:
            result = handler_fn(event, context)
            _real_stdout.write(json.dumps({"status": "ok", "result": result}) + "\\n")
        except Exception as e:
            _real_stdout.write(json.dumps({"status": "error", "error": str(e), "trace": traceback.format_exc()}) + "\\n")
""",  # noqa: E501 - an exact copy
    """\
        _real_stdout.write(run_handler(module_name, handler_name, event, context) + "\\n")
""",
)

# By request id, from the end of an invocation until its log is written.
_events: dict[str, list[Event]] = {}


@patch.replaces(WORKER, "__init__")
def init(original: Original, worker: Any, func_name: str, config: dict[str, Any], code_zip: bytes) -> None:
    """Tells the worker program the format and the level, in the variables that Lambda has for them."""
    logging = config.get("LoggingConfig") or {}
    variables = {**(config.get("Environment") or {}).get("Variables", {})}
    if logging.get("LogFormat") == "JSON":
        variables["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
        variables["AWS_LAMBDA_LOG_LEVEL"] = logging.get("ApplicationLogLevel") or "INFO"
    original(worker, func_name, {**config, "Environment": {"Variables": variables}}, code_zip)
    worker.events = []


@patch.replaces(WORKER, "_read_stderr")
def read_stderr(_original: Original, worker: Any) -> None:
    """Reads until the process ends; an event without a time of its own gets the time at which it is read."""
    for line in worker._proc.stderr:  # noqa: SLF001
        at, timed, rest = line.partition(worker_program.TIME_END)
        text = (rest if timed else line).rstrip("\n").replace(worker_program.LINE_END, "\n")
        if text != worker_program.END_OF_LOG:
            worker.events.append((int(at) if timed else _now(), text))
        worker._stderr_queue.put(text)  # noqa: SLF001


@patch.replaces(WORKER, "_drain_stderr_bounded")
def drain(original: Original, worker: Any, *limits: float) -> str:
    """Waits for the end of the log that our part of the program writes. MiniStack waits 50 ms for the first line."""
    if not worker.config.get("Runtime", "").startswith("python"):
        return str(original(worker, *limits))
    lines: list[str] = []
    deadline = time.monotonic() + MAX_DRAIN_SECONDS
    while time.monotonic() < deadline and worker._stderr_thread.is_alive():  # noqa: SLF001
        with contextlib.suppress(queue.Empty):
            line = worker._stderr_queue.get(timeout=0.01)  # noqa: SLF001
            if line == worker_program.END_OF_LOG:
                return "\n".join(lines)
            lines.append(line)
    return "\n".join([*lines, worker._drain_stderr()])  # noqa: SLF001


@patch.replaces(WORKER, "invoke")
def invoke(original: Original, worker: Any, event: Any, request_id: str, **named: Any) -> dict[str, Any]:
    """Keeps the events of the invocation until the log is written."""
    try:
        answer: dict[str, Any] = original(worker, event, request_id, **named)
    finally:
        _events[request_id], worker.events = worker.events, []
    if failed := answer.get("error"):  # a timeout
        now = _now()
        _events[request_id].append((now, f"{_text(now)} {request_id} {failed}"))
    return answer


@patch.replaces(LAMBDA, "_emit_lambda_logs")
def emit(
    _original: Original,
    function: dict[str, Any],
    request_id: str,
    log_text: str,
    error: bool,  # noqa: FBT001
    duration_ms: int,
    *,
    log_source: str | None = None,  # noqa: ARG001
) -> None:
    """Writes what the worker logged, between the platform's own events."""
    config = function.get("config") or function
    logging = config.get("LoggingConfig") or {}
    name, version = config.get("FunctionName", "unknown"), config.get("Version", "$LATEST")
    group, now = logging.get("LogGroup") or f"/aws/lambda/{name}", _now()
    stream = f"{datetime.now(UTC):%Y/%m/%d}/[{version}]{uuid.uuid4().hex}"
    if group not in groups.get():
        create_group.call({"logGroupName": group})
    create_stream.call({"logGroupName": group, "logStreamName": stream})
    logged = _events.pop(request_id, None) or [(now, line) for line in log_text.splitlines()]
    memory = {"memorySizeMB": config.get("MemorySize", 128), "maxMemoryUsedMB": peak_megabytes.call(function)}
    began = min([now - duration_ms, *(at for at, _ in logged)])
    if logging.get("LogFormat") == "JSON":
        run = {"requestId": request_id, "status": "error" if error else "success"}
        metrics = {"durationMs": duration_ms, "billedDurationMs": duration_ms, **memory}
        done = "WARN" if error else "DEBUG"
        level = logging.get("ApplicationLogLevel") or "INFO"
        events = [
            *_platform(logging, "INFO", began, "start", {"requestId": request_id, "version": version}),
            *((at, text) for at, text in logged if _rank(_level_of(text)) >= _rank(level)),
            *_platform(logging, done, now, "runtimeDone", {**run, "metrics": {"durationMs": duration_ms}}),
            *_platform(logging, "WARN" if error else "INFO", now, "report", {**run, "metrics": metrics}),
        ]
    else:
        report = (
            f"REPORT RequestId: {request_id}\tDuration: {duration_ms} ms\tBilled Duration: {duration_ms} ms\t"
            f"Memory Size: {memory['memorySizeMB']} MB\tMax Memory Used: {memory['maxMemoryUsedMB']} MB"
        )
        events = [
            (began, f"START RequestId: {request_id} Version: {version}"),
            *logged,
            (now, f"END RequestId: {request_id}"),
            (now, report),
        ]
    stored = [{"timestamp": at, "message": text, "ingestionTime": now} for at, text in events]
    append.call(groups.get()[group]["streams"][stream], stored)
    fan_out.call(group, stream, [{"timestamp": at, "message": text} for at, text in events])


def _platform(logging: dict[str, Any], level: str, at: int, kind: str, record: dict[str, Any]) -> Iterator[Event]:
    """An event of Lambda itself, if SystemLogLevel includes its level."""
    if _rank(level) >= _rank(logging.get("SystemLogLevel") or "INFO"):
        yield at, json.dumps({"time": _text(at), "type": f"platform.{kind}", "record": record})


def _level_of(text: str) -> str:
    """The level that a JSON event names; INFO for any other text, as Lambda does."""
    try:
        event = json.loads(text)
    except ValueError:
        return "INFO"
    level = event.get("level", event.get("log_level")) if isinstance(event, dict) else None
    return level if isinstance(level, str) else "INFO"


def _rank(level: str) -> int:
    name = SAME_LEVEL.get(level.upper(), level.upper())
    return LEVELS.index(name) if name in LEVELS else LEVELS.index("INFO")


def _text(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _now() -> int:
    return time.time_ns() // 1_000_000
