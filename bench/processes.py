"""Starts the functions' processes, ours and the peers', with the same environment, and asks them to run an event."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import IO, Any, Final, NamedTuple, TextIO, cast

BENCH: Final = Path(__file__).parent
NODE_PEER: Final = BENCH / "peers" / "node"
NAIVE_PEER: Final = BENCH / "peers" / "naive"
WORK: Final = BENCH.parent / ".local" / "bench"
"""What the benchmarks install and unpack."""


class Ran(NamedTuple):
    """One run of a handler: its time and CPU time in milliseconds, and what it returned."""

    ms: float
    cpu_ms: float
    returned: Any


@dataclass(frozen=True)
class Function:
    """A function's process: how it is started, and the folders of its code."""

    name: str
    command: tuple[str, ...]
    folders: tuple[Path, ...] = ()

    def environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        """As on Lambda: only the settings, and code that cannot be written to."""
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(map(str, self.folders)),
            "PYTHONDONTWRITEBYTECODE": "1",
            "NODE_OPTIONS": "--no-warnings",
            **settings,
        }


class Worker:
    """A running process of a function."""

    def __init__(self, process: "Popen[str]", answers: TextIO) -> None:
        self._process = process
        self._answers = answers

    def run(self, event: Any) -> Ran:
        """Run the handler once."""
        events = cast("IO[str]", self._process.stdin)
        events.write(json.dumps(event) + "\n")
        events.flush()
        answer = json.loads(self._answers.readline())
        return Ran(answer["ms"], answer["cpu_ms"], answer["returned"])


@contextmanager
def started(function: Function, settings: Mapping[str, str]) -> Iterator[tuple[Worker, float]]:
    """A process with its handler loaded, and the seconds from the start of the process to that."""
    read, write = os.pipe()
    environment = {**function.environment(settings), "ANSWERS": str(write)}
    began = time.perf_counter()
    with (
        os.fdopen(read) as answers,
        Popen(function.command, stdin=PIPE, stdout=DEVNULL, text=True, env=environment, pass_fds=(write,)) as process,
    ):
        os.close(write)
        ready = answers.readline()
        seconds = time.perf_counter() - began
        if not ready:
            raise RuntimeError(f"{function.name} did not start: {' '.join(function.command)}")
        try:
            yield Worker(process, answers), seconds
        finally:
            cast("IO[str]", process.stdin).close()


def python_function(
    python: str, folder: Path, module: str, name: str | None = None, *, beside: Path = BENCH / "inside"
) -> Function:
    """A function of a folder with everything that it imports, such as the unpacked bundle; `beside` may have it too."""
    command = (python, "-P", str(BENCH / "worker.py"), module)
    return Function(name or module.partition(".")[0], command, (folder, beside))


def node_peer() -> Function | None:
    """The peer on Node.js with its packages installed, or None on a machine without Node.js or npm."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    folder = WORK / "node"
    shutil.copytree(NODE_PEER, folder, dirs_exist_ok=True)
    locked = (folder / "package-lock.json").read_bytes()
    installed = folder / "node_modules" / ".installed"
    if not installed.exists() or installed.read_bytes() != locked:
        subprocess.run([npm, "ci", "--silent", "--no-audit", "--no-fund"], cwd=folder, check=True)
        installed.write_bytes(locked)
    return Function("Node.js peer", (node, str(folder / "worker.mjs")))
