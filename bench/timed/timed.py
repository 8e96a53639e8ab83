"""The durable function of bench/outside_steps.py: its steps do nothing but read the clock."""

import time
from typing import Any

from aws_durable_execution_sdk_python import DurableContext, durable_execution
from aws_durable_execution_sdk_python.config import Duration

WAIT_SECONDS = 1


@durable_execution
def handler(_event: Any, context: DurableContext) -> list[list[float]]:
    """The start and the end of each step, in seconds since 1970."""
    first = context.step(_times, name="first")
    second = context.step(_times, name="second")
    context.wait(Duration.from_seconds(WAIT_SECONDS), name="wait")
    return [first, second, context.step(_times, name="third")]


def _times(_: Any) -> list[float]:
    return [time.time(), time.time()]
