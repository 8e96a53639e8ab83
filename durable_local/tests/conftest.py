import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from botocore.config import Config
from browsers import browser, find_browser  # noqa: F401 (fixtures)
from process_groups import commands_in_groups

from durable_local import LocalStack, local_stack, processes
from durable_local.settings import Settings

T = TypeVar("T")

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
            time.sleep(0.15)
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
    return {
        **os.environ,
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
def start(chosen, run):
    """Starts a command in a process group of its own, as a terminal does; `run` ends the stack afterwards."""
    with commands_in_groups(Path(__file__).parent, chosen) as start_command:
        yield lambda *arguments: start_command([sys.executable, "-m", "durable_local", *arguments])


@pytest.fixture
def running(port, home):
    """The processes of the stack that `run` starts, by id."""
    return lambda: processes.of_stack(Settings(port=port, home=home).directory)
