"""Ends a worker that has used more memory than its function's `MemorySize`, as Lambda does.

The limit applies to the peak of resident memory (VmHWM in /proc/<pid>/status), so a short peak is found too: a thread
checks busy workers every 50 ms, and each worker is checked once more after its answer. Processes that a handler starts
do not count. Without /proc (macOS) there is no check.
https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
"""

import re
import subprocess
import threading
import time
import weakref
from pathlib import Path
from typing import Any

from .patching import Patch

INTERVAL_SECONDS = 0.05
DEFAULT_MEGABYTES = 128
PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)

RUNTIME = "ministack.core.lambda_runtime"
patch = Patch(__name__)
lock = patch.uses(RUNTIME, "_lock")
workers = patch.uses(RUNTIME, "_workers")

_ended: weakref.WeakSet[subprocess.Popen[str]] = weakref.WeakSet()


@patch.at_start
def watch() -> None:
    """Starts the thread that checks the workers."""
    threading.Thread(target=_watch, name="memory-limit", daemon=True).start()


def end_if_passed(worker: Any) -> bool:
    """Kills the worker's process if it has used too much memory; returns whether it has."""
    process = worker._proc  # noqa: SLF001 - an attribute of an object, not of a module
    if process is None:
        return False
    if peak_kilobytes(process.pid) > int(worker.config.get("MemorySize") or DEFAULT_MEGABYTES) * 1024:
        _ended.add(process)
        process.kill()
    return has_ended(process)


def has_ended(process: subprocess.Popen[str]) -> bool:
    """Whether the memory limit ended this process."""
    return process in _ended


def peak_kilobytes(pid: int) -> int:
    """The peak of the process's memory; 0 for one that has ended, and without /proc."""
    try:
        found = PEAK.search(Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))
    except OSError:
        return 0
    return int(found[1]) if found else 0


def _watch() -> None:
    while True:
        with lock.get():
            busy = [worker for pool in workers.get().values() for worker in pool if worker.in_use]
        for worker in busy:
            end_if_passed(worker)
        time.sleep(INTERVAL_SECONDS)
