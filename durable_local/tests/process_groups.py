"""Commands that a test can interrupt as a terminal does."""

import os
import signal
import subprocess
from contextlib import contextmanager


@contextmanager
def commands_in_groups(cwd, environment):
    """Gives a function that starts a command in a process group of its own. What still runs at the end is killed."""
    started = []

    def start(command, **more):
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**environment, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
