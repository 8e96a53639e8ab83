# mypy: disable-error-code="import-not-found"
"""Ends a worker that has needed more memory than its function's `MemorySize`, as Lambda does.

What counts is the most that was resident at any time (VmHWM in /proc/<pid>/status), so an invocation that needed too
much for a moment is found as well: while it runs by a thread that looks every few hundredths of a second, and once
more when it has answered. Processes that a handler starts do not count. Without /proc (macOS) nothing is looked at.
https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
"""

from __future__ import annotations

import re
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import subprocess

INTERVAL_SECONDS = 0.05
DEFAULT_MEGABYTES = 128
PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)

_ended: weakref.WeakSet[subprocess.Popen[str]] = weakref.WeakSet()


def install() -> None:
    """Starts to watch the workers."""
    from ministack.core import lambda_runtime  # noqa: PLC0415 - not before sys.executable is set

    threading.Thread(target=_watch, args=(lambda_runtime,), name="memory-limit", daemon=True).start()


def end_if_passed(worker: Any) -> bool:
    """Kills the worker's process if it has needed too much; whether it has."""
    process = worker._proc  # noqa: SLF001 - there is no public way
    if process is None:
        return False
    if peak_kilobytes(process.pid) > int(worker.config.get("MemorySize") or DEFAULT_MEGABYTES) * 1024:
        _ended.add(process)
        process.kill()
    return has_ended(process)


def has_ended(process: subprocess.Popen[str]) -> bool:
    """Whether it was its memory that ended this process."""
    return process in _ended


def peak_kilobytes(pid: int) -> int:
    """The most memory that the process had at any time; 0 for one that is gone, and without /proc."""
    try:
        found = PEAK.search(Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))
    except OSError:
        return 0
    return int(found[1]) if found else 0


def _watch(lambda_runtime: Any) -> None:
    while True:
        with lambda_runtime._lock:  # noqa: SLF001 - as above
            busy = [worker for pool in lambda_runtime._workers.values() for worker in pool if worker.in_use]  # noqa: SLF001
        for worker in busy:
            end_if_passed(worker)
        time.sleep(INTERVAL_SECONDS)
