"""The command `orders` as a process, forked from one that has imported it: its imports take longer than its work."""

import multiprocessing
import multiprocessing.connection
import os
import pty
import sys
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

from tools.orders_cli import app

FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(
    [__name__, *(f"tools.orders_cli.commands.{name.replace('-', '_')}" for name in app.COMMANDS)]
)


def run_orders(environment, *arguments, given=""):
    """The command that has ended, with its output as text. `given`: its standard input."""
    with TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("stdin", "stdout", "stderr")]
        files[0].write_text(given)
        process = _started(environment, arguments, files)
        process.join()
        return CompletedProcess(arguments, process.exitcode, files[1].read_text(), files[2].read_text())


def run_on_terminal(environment, *arguments):
    """The command that has ended, with what it wrote to its terminal, which is 200 characters wide."""
    ours, terminal = pty.openpty()
    named = {**environment, "COLUMNS": "200", "TERM": "xterm"}
    process = _started(named, arguments, [os.ttyname(terminal)] * 3)
    os.set_blocking(ours, False)
    shown = b""
    # Linux forgets what was written when the last one closes the terminal, so it stays open here until all is read.
    while multiprocessing.connection.wait([ours, process.sentinel]) != [process.sentinel]:
        shown += os.read(ours, 65_536)
    process.join()
    os.close(terminal)
    os.close(ours)
    return CompletedProcess(arguments, process.exitcode, shown.decode())


def _started(environment, arguments, files):
    process = FORKED.Process(target=_run, args=(dict(environment), list(map(str, arguments)), files))
    process.start()
    return process


def _run(environment, arguments, files):
    os.environ.clear()
    os.environ.update(environment)
    write = os.O_WRONLY | os.O_CREAT | os.O_NOCTTY
    for number, (file, flags) in enumerate(zip(files, (os.O_RDONLY, write, write), strict=True)):
        os.dup2(os.open(file, flags), number)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 (multiprocessing gave it another)
    app.main(arguments)
