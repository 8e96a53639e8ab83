"""The console of a local stack that `make up` starts in the background: it ends when its stack has ended."""

import os
import signal
import subprocess
import sys
import threading
import time
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from durable_local import folder, processes
from durable_local.lifecycle import LocalStack
from durable_local.settings import HOME_VARIABLES
from tools import sample_data
from tools.pipeline import ROOT

LOOK_SECONDS: Final = 2
"""How long after its stack the console ends at the latest."""


def prepare(stack: LocalStack) -> str:
    """Loads the sample customers and starts the console. Returns what `make up` prints about both.

    A stack of another template has no console.
    """
    prepared = sample_data.prepare(stack)
    if "LedgerTableName" not in stack.outputs:
        return prepared
    address = running(stack) or start(stack)
    log = stack.settings.directory / "console.log"
    return f"{prepared}\n\n" + (f"The console: {address}" if address else f"The console did not start: see {log}")


def running(stack: LocalStack) -> str | None:
    """The address of this stack's console, if it answers."""
    try:
        address = _address_file(stack).read_text(encoding="utf-8")
        url = urlsplit(address)
        connection = HTTPConnection(url.netloc, timeout=5)
        connection.request("GET", f"{url.path}?{url.query}")
        # Only the console of this token answers so.
        is_ours = connection.getresponse().status == HTTPStatus.SEE_OTHER
        connection.close()
    except OSError:
        return None
    return address if is_ours else None


def start(stack: LocalStack) -> str | None:
    """Starts a console in a process of its own. Returns its address, None if it did not start."""
    chosen = stack.settings
    environment = os.environ | stack.environment | {HOME_VARIABLES[0]: str(chosen.home)}
    with folder.create(chosen.directory / "console.log") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tools.console.background", str(chosen.directory), chosen.stack_name],
            cwd=ROOT,
            env=environment,
            umask=folder.UMASK,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    assert process.stdout is not None  # noqa: S101 (it is a pipe)
    with process.stdout as printed:
        line = printed.readline().decode()
        # All that it prints: a write into a closed pipe would end it.
        printed.readline()
    if "http://" not in line:
        return None
    address = line[line.index("http://") :].strip()
    with folder.create(_address_file(stack)) as file:
        file.write(address.encode())
    return address


def _address_file(stack: LocalStack) -> Path:
    # In a folder that ends with the stack. It has the token, and only its user can read it.
    return stack.settings.temporary / "console"


def main(directory: str, stack_name: str) -> None:
    """Serve the console of the stack in this folder until that ends."""
    # Not at the top: `make up` needs no web server and should not wait for its import.
    from durable_local.console import run  # noqa: PLC0415
    from tools.console.app import app  # noqa: PLC0415
    from tools.console.desk import Desk  # noqa: PLC0415
    from tools.orders_cli.connection import Connection  # noqa: PLC0415

    front_door = processes.front_door_of(Path(directory))
    threading.Thread(target=_end_with, args=(Path(directory), front_door), daemon=True).start()
    desk = Desk(Connection(stack_name))
    run(lambda guard: app(desk, guard), 0, read_only=False)


def _end_with(directory: Path, front_door: int | None) -> None:
    while processes.front_door_of(directory) == front_door is not None:
        time.sleep(LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(*sys.argv[1:])
