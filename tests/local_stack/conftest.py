import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from botocore.config import Config

from tools.local_stack import LocalStack, local_stack

T = TypeVar("T")

FIXTURE = Path(__file__).parent / "fixture" / "template.yaml"


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
