"""The processes of a stack, found by their command lines.

A process id in a file may belong to another program by the time it is used. Every process of a stack has the stack's
directory in its arguments, so its processes are found also after the front door was killed.
"""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

SERVE_ARGUMENTS = ("-m", "durable_local", "serve")
MINISTACK_PROGRAM = "ministack"
FORK_SERVER_PROGRAM = "fork_server.py"
WORKER_PREFIX = "ministack-lambda-"
# The function's name, then the random part that `tempfile` adds.
WORKER_FOLDER = re.compile(rf"{WORKER_PREFIX}(.+)-[a-z0-9_]{{8}}")
POLL_SECONDS = 0.05


class End(Enum):
    """How a stack ended."""

    IN_ORDER = "the front door ended after SIGTERM, and ended the other processes"
    KILLED = "a process was killed, or ran without its front door"
    NOTHING_RAN = "no process of it was running"


def of_stack(directory: Path) -> dict[int, list[str]]:
    """Process ids and arguments of the front door, MiniStack, the fork server and the workers of this stack."""
    return {pid: arguments for pid, arguments in _all() if _belongs(arguments, directory)}


def front_door_of(directory: Path) -> int | None:
    """The process id of the stack's front door, if it runs."""
    return next((pid for pid, arguments in _all() if _is_front_door(arguments, directory)), None)


def ministack_of(directory: Path) -> int | None:
    """The process id of the stack's MiniStack, if it runs."""
    return next((pid for pid, arguments in _all() if _is_program(arguments, directory, MINISTACK_PROGRAM)), None)


def end(directory: Path, timeout_seconds: float = 150) -> End:
    """Ends all processes of the stack in `directory`; returns how it ended.

    The front door is asked to end (SIGTERM) and ends the others. Without a front door the others end by themselves and
    may be writing state. Processes that still run after `timeout_seconds` are killed.
    """
    if not of_stack(directory):
        return End.NOTHING_RAN
    if front_door := front_door_of(directory):
        _signal(front_door, signal.SIGTERM)
    if _until_gone(directory, timeout_seconds) and front_door:
        return End.IN_ORDER
    for _ in range(3):  # MiniStack may start a worker between the listing and the kill
        for pid in of_stack(directory):
            _signal(pid, signal.SIGKILL)
        if _until_gone(directory, 1):
            break
    return End.KILLED


def workers(directory: Path) -> dict[int, str]:
    """Process ids of the Lambda workers of the stack in `directory`, with the names of their functions."""
    functions = {pid: _function_of(arguments, directory) for pid, arguments in _all()}
    return {pid: function for pid, function in functions.items() if function is not None}


def worker(directory: Path, pid: int) -> str | None:
    """The name of the function that the worker `pid` belongs to; None if it is not a worker of this stack."""
    return next((_function_of(arguments, directory) for _, arguments in _all(pid)), None)


def _function_of(arguments: list[str], directory: Path) -> str | None:
    folder = Path(arguments[1]).parent if len(arguments) > 1 else Path()
    found = WORKER_FOLDER.fullmatch(folder.name)
    return found[1] if found and folder.parent == directory / "tmp" else None


def _until_gone(directory: Path, timeout_seconds: float) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while of_stack(directory):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _belongs(arguments: list[str], directory: Path) -> bool:
    return (
        _is_front_door(arguments, directory)
        or _is_program(arguments, directory, MINISTACK_PROGRAM)
        or _is_program(arguments, directory, FORK_SERVER_PROGRAM)
        or any(argument.startswith(str(directory / "tmp" / WORKER_PREFIX)) for argument in arguments[1:2])
    )


def _is_front_door(arguments: list[str], directory: Path) -> bool:
    return tuple(arguments[1:4]) == SERVE_ARGUMENTS and str(directory) in arguments[4:]


def _is_program(arguments: list[str], directory: Path, program: str) -> bool:
    return any(Path(argument).name == program for argument in arguments[1:2]) and str(directory) in arguments[2:]


def _all(only: int | None = None) -> Iterator[tuple[int, list[str]]]:
    """Process ids and arguments of every process, or of one."""
    if Path("/proc/self/cmdline").exists():
        return _from_proc(only)
    return _from_ps(only)


def _from_proc(only: int | None) -> Iterator[tuple[int, list[str]]]:
    for entry in Path("/proc").iterdir() if only is None else [Path("/proc") / str(only)]:
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                yield int(entry.name), arguments[:-1]


def _from_ps(only: int | None) -> Iterator[tuple[int, list[str]]]:
    """For systems without /proc (macOS). `ps` does not quote: a directory with a space in its path is not found."""
    which = ["-ax"] if only is None else ["-p", str(only)]
    ps = ["ps", *which, "-ww", "-o", "pid=,command="]
    listing = subprocess.run(ps, capture_output=True, text=True, check=only is None).stdout
    for line in listing.splitlines():
        pid, _, command = line.strip().partition(" ")
        try:
            yield int(pid), shlex.split(command)
        except ValueError:
            yield int(pid), command.split()
