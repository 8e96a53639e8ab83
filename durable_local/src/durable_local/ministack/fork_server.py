"""Starts Lambda workers as forks of a process that has imported boto3: that import is most of a worker's start.

This runs in the interpreter of the functions' environment; MiniStack starts it with the first worker. Its arguments are
the file descriptor of a socket, the stack's directory, and as many characters as a worker's command line may have. Each
request on the socket is a line of JSON with `program`, `directory` and `environment`, and the three standard streams.
The answer is the process id of the worker, or 0 where a fork would not be the same as a new interpreter: the function
brings a module under the name of one that is imported here, has layers, or sets a variable that Python reads when it
starts.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import socket
import sys
from pathlib import Path
from typing import Any

IMPORTED = ("boto3", "aws_durable_execution_sdk_python", "aws_lambda_powertools", "pydantic")
# By Python and the C library.
READ_AT_START = ("PYTHON", "LD_", "LANG", "LC_", "TZ")
REQUEST_BYTES = 65536
STREAMS = 3


def main() -> None:
    """Answers until the other end of the socket closes, or becomes a worker and ends with it."""
    asked = socket.socket(fileno=int(sys.argv[1]))
    del sys.path[0]  # this file's folder
    for module in IMPORTED:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    gc.collect()
    gc.freeze()
    while True:
        data, streams, _, _ = socket.recv_fds(asked, REQUEST_BYTES, STREAMS)
        if not data:
            return None
        while not data.endswith(b"\n"):
            data += asked.recv(REQUEST_BYTES)
        request = json.loads(data)
        pid = 0 if _needs_its_own(request) else _fork(streams)
        if pid is None:
            asked.close()
            return _become(request)
        for stream in streams:
            os.close(stream)
        asked.sendall(b"%d\n" % pid)


def _needs_its_own(request: dict[str, Any]) -> bool:
    environment = request["environment"]
    changed = {name for name, value in environment.items() if os.environ.get(name) != value}
    folder = {path.name.partition(".")[0] for path in Path(request["directory"]).iterdir()}
    imported = {name.partition(".")[0] for name in sys.modules}
    return (
        bool(folder & imported)
        or "_LAMBDA_LAYERS_DIRS" in environment
        or any(name.startswith(READ_AT_START) for name in changed)
    )


def _fork(streams: list[int]) -> int | None:
    """The process id of the worker, and None inside it.

    Its parent ends at once, so that it becomes a child of MiniStack, which waits for it and sees how it ends.
    """
    answer, tell = os.pipe()
    if (parent := os.fork()) == 0:
        if pid := os.fork():
            os.write(tell, b"%d" % pid)
            os._exit(0)
        os.close(answer)
        os.close(tell)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        return None
    os.close(tell)
    os.waitpid(parent, 0)
    pid = int(os.read(answer, 32))
    os.close(answer)
    return pid


def _become(request: dict[str, Any]) -> None:
    _show(f"{sys.executable}\0{request['program']}\0".encode())
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["directory"])
    sys.argv = [request["program"]]
    sys.path.insert(0, str(Path(request["program"]).parent))
    runpy.run_path(request["program"], run_name="__main__")


def _show(command: bytes) -> None:
    """Replaces this process's command line: a stack's workers are found by theirs. See proc(5), `stat`, 48 and 49."""
    fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    start, size = int(fields[45]), int(fields[46]) - int(fields[45])
    ctypes.memmove(start, command.ljust(size, b"\0"), size)


if __name__ == "__main__":
    main()
