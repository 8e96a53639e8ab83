"""Starts workers of the functions' environment as forks: see ../fork_server.py. This needs Linux."""

import contextlib
import ctypes
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from .patching import Patch

PROGRAM = Path(__file__).parents[1] / "fork_server.py"
# <linux/limits.h>: of the path of a worker's program.
PATH_MAX = 4096
# <linux/prctl.h>: a process whose parent has ended becomes a child of this one.
PR_SET_CHILD_SUBREAPER = 36

# Of Popen._execute_child, after `args`: the same in Python 3.11 to 3.14.
ARGUMENTS = (
    *("executable", "preexec_fn", "close_fds", "pass_fds", "cwd", "env", "startupinfo", "creationflags", "shell"),
    *("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite"),
)
CHILDS_ENDS = ("p2cread", "c2pwrite", "errwrite")

patch = Patch(__name__)
runtime_subprocess = patch.uses("ministack.core.lambda_runtime", "subprocess")


class ForkServer:
    """The process that forks, started when it is first asked."""

    def __init__(self) -> None:
        self.directory = ""
        """The stack's, by which the process is recognized as this stack's."""
        self._lock = threading.Lock()
        self._server: socket.socket | None = None

    def fork(self, program: str, directory: str, environment: dict[str, str], streams: list[int]) -> int:
        """The process id of a new worker; 0 when this one needs its own interpreter, or the server has ended."""
        request = {"program": program, "directory": directory, "environment": environment}
        with self._lock, contextlib.suppress(OSError):
            self._server = self._server or self._start()
            socket.send_fds(self._server, [json.dumps(request).encode() + b"\n"], streams)
            return int(self._server.recv(32) or 0)
        return 0

    def _start(self) -> socket.socket:
        mine, its = socket.socketpair()
        # Closed with the last reference: the socket is the server's only link to this process.
        with its:
            command = [sys.executable, str(PROGRAM), str(its.fileno()), self.directory, " " * PATH_MAX]
            subprocess.Popen(command, pass_fds=[its.fileno()], stdin=subprocess.DEVNULL)
        return mine


server = ForkServer()


class Worker(subprocess.Popen[str]):
    """A process with pipes that is a fork where that is possible."""

    def _execute_child(self, args: Any, *rest: Any) -> None:
        """Called by Popen with the ends of the pipes, to start the process and to close the child's ends."""
        given = dict(zip(ARGUMENTS, rest, strict=False))
        streams = [given[end] for end in CHILDS_ENDS]
        if pid := server.fork(args[1], given["cwd"], given["env"], streams):
            self.pid, self._child_created = pid, True
            for stream in streams:
                os.close(stream)
        else:
            super()._execute_child(args, *rest)  # type: ignore[misc] # a private method


def start(args: list[str], **options: Any) -> "subprocess.Popen[str]":
    """What the module gets as `subprocess.Popen`."""
    if args[0] == sys.executable and "stdin" in options and options.get("text"):
        return Worker(args, **options)
    return subprocess.Popen(args, **options)


@patch.at_start
def fork_workers() -> None:
    """Replaces `subprocess` in this one module."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    runtime_subprocess.set(SimpleNamespace(**{**vars(subprocess), "Popen": start}))
