import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from botocore.config import Config
from playwright.sync_api import sync_playwright

from durable_local import LocalStack, local_stack, processes
from durable_local.settings import Settings

T = TypeVar("T")

# The last one is on some systems a script that only says how to install the browser.
BROWSERS = ("chromium", "google-chrome", "chromium-browser")
BROWSER_ARGUMENTS = (
    "--disable-gpu",
    "--disable-quic",
    # Names under .example are this machine, and no other name exists: no test reaches the internet.
    "--host-resolver-rules=MAP *.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    # Chromium keeps some pages from sending requests to this machine. Other browsers do not, so no test may rely on it.
    "--disable-features=LocalNetworkAccessChecks",
    # A proxy of the developer's shell would get the requests for *.example.
    "--no-proxy-server",
)

REPOSITORY = Path(__file__).parents[2]
FIXTURE = Path(__file__).parent / "fixture" / "template.yaml"
SMALL = Path(__file__).parent / "fixture" / "small.yaml"


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    with local_stack(template=FIXTURE, stack_name="fixture") as running:
        yield running


@pytest.fixture(scope="session")
def aws_lambda(stack: LocalStack) -> Any:
    return stack.client("lambda", Config(max_pool_connections=20))


@pytest.fixture(scope="session")
def eventually() -> Callable[[Callable[[], T]], T]:
    """Asks again until the answer is true, and returns it."""

    def wait(ask: Callable[[], T], seconds: float = 60) -> T:
        deadline = time.monotonic() + seconds
        while not (answer := ask()):
            assert time.monotonic() < deadline, "it never came true"
            time.sleep(0.05)
        return answer

    return wait


@pytest.fixture
def end(aws_lambda: Any, eventually: Callable[..., Any]) -> Callable[[str], Any]:
    """Waits until an execution has ended; what GetDurableExecution says of it then."""

    def ended(arn: str) -> Any:
        def look() -> Any:
            execution = aws_lambda.get_durable_execution(DurableExecutionArn=arn)
            return execution if execution["Status"] != "RUNNING" else None

        return eventually(look)

    return ended


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def home(tmp_path):
    """Where stacks keep their things, instead of in `.local`."""
    return tmp_path / "a home with spaces"


@pytest.fixture
def chosen(port, home):
    """The environment of a command of the local stack: a small template on a port of its own."""
    # Without the variables that say that these tests were started by `make`.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return {
        **inherited,
        "LOCAL_STACK_PORT": str(port),
        "LOCAL_STACK_HOME": str(home),
        "LOCAL_STACK_NAME": "lifecycle",
        "LOCAL_STACK_TEMPLATE": str(SMALL),
    }


@pytest.fixture
def run(chosen):
    """Runs a command of the local stack on a port of its own, which is down afterwards."""

    def command(*arguments, **environment):
        return subprocess.run(
            [sys.executable, "-m", "durable_local", *arguments],
            cwd=Path(__file__).parent,
            env={**chosen, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    yield command
    command("down")


@pytest.fixture
def make(chosen, run):
    """Starts `make` in a process group of its own, as a terminal does; `run` ends the stack afterwards."""
    groups = []

    def start(*arguments, **environment):
        process = subprocess.Popen(
            ["make", *arguments],
            cwd=REPOSITORY,
            env={**chosen, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        groups.append(process)
        return process

    yield start
    for process in groups:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


@pytest.fixture
def running(port, home):
    """The processes of the stack that `run` starts, by id."""
    return lambda: processes.of_stack(Settings(port=port, home=home).directory)


def browser_program():
    """The path of the browser: CHROMIUM, else the first of BROWSERS on PATH.

    Without one, the test that asks fails in CI and is skipped elsewhere.
    """
    names = (os.environ["CHROMIUM"],) if os.environ.get("CHROMIUM") else BROWSERS
    if path := next(filter(None, map(shutil.which, names)), None):
        return path
    missing = pytest.fail if "CI" in os.environ else pytest.skip
    raise missing.Exception(f"no browser: {', '.join(names)} not found; CHROMIUM=path names a Chromium or Chrome")


@pytest.fixture
def find_browser():
    return browser_program


@pytest.fixture(scope="module")
def browser():
    """A Chromium with an empty profile, driven by Playwright.

    Not for the whole session: until it ends, `asyncio.run` fails in this thread.
    """
    executable = browser_program()
    # Chromium writes crash reports and caches under HOME, beside its profile.
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=executable, args=BROWSER_ARGUMENTS, env={**os.environ, "HOME": home}
        )
        yield running
        running.close()
