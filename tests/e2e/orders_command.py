"""The command `orders`, run to its end inside the test's process: a process of its own would first import everything.

Tests of terminals, interrupts and kills start a process.
"""

import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, StringIO, TextIOWrapper
from subprocess import CompletedProcess
from unittest.mock import patch

from tools.orders_cli import app
from tools.orders_cli.connection import ENVIRONMENT


def run_orders(environment, *arguments, given=""):
    """What the command prints with these environment variables, and its exit status. `given`: its standard input."""
    stdout, stderr = StringIO(), StringIO()
    with (
        patch.dict(os.environ, environment, clear=True),
        patch.dict(vars(ENVIRONMENT)),  # which keeps the clients of a command
        patch.object(sys, "stdin", TextIOWrapper(BytesIO(given.encode()))),
        redirect_stdout(stdout),
        redirect_stderr(stderr),
    ):
        status = app.run(list(map(str, arguments)))
    return CompletedProcess(arguments, status, stdout.getvalue(), stderr.getvalue())
