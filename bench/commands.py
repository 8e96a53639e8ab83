"""P12: how long the commands take that a person waits for, one run each.

Inside the figures: the whole command, as typed. `make up` is warm: everything is installed, and a stack ran before on
that port. `make demo` runs in a new clone of this repository's last commit, with nothing installed but what the package
manager has in its cache. A command that fails has no figure. Run it on an idle machine.
"""

import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final

from bench.figures import Row
from durable_local.settings import PORT_VARIABLE

ROOT: Final = Path(__file__).parents[1]
MAX_SECONDS: Final = {"up": 5.0, "demo": 45.0, "fast": 60.0, "test": 14 * 60.0}


def measure(commands: list[str]) -> list[Row]:
    """A row for each of these targets of make."""
    rows = []
    for command in commands:
        with tempfile.TemporaryDirectory() as folder:
            seconds, note = _seconds(command, Path(folder))
        rows.append(Row.at_most("P12", f"make {command}", seconds, MAX_SECONDS[command], unit="s", note=note))
    return rows


def _seconds(command: str, folder: Path) -> tuple[float | None, str]:
    """The seconds of one run, or None and what the command printed last."""
    # Not the port of a stack that the user has now.
    environment = {**os.environ, PORT_VARIABLE: str(free_port())}
    where = ROOT
    if command == "up":
        _make("up", where, environment)
        _make("down", where, environment)
    elif command == "demo":
        where = folder / "clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(where)], check=True)
    began = time.monotonic()
    done = _make(command, where, environment)
    seconds = time.monotonic() - began
    if command == "up":
        _make("down", where, environment)
    last = (done.stderr or done.stdout).strip().splitlines()[-1:]
    return (None, f"failed: {' '.join(last)}") if done.returncode else (seconds, "")


def _make(target: str, where: Path, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["make", target], cwd=where, env=environment, capture_output=True, text=True, check=False)


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
