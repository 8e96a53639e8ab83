"""Runs a step of the workflow, always with a name and a retry policy.

The SDK's `context.step` makes both optional. Without a policy it makes up to six attempts, whatever the error is.
"""

from collections.abc import Callable
from typing import Literal, TypeVar

from aws_durable_execution_sdk_python.config import StepConfig
from aws_durable_execution_sdk_python.context import DurableContext

from orchestrator.policies import RetryPolicy

T = TypeVar("T")

StepName = Literal["enrich", "finalize", "record-failure"]
"""A replay compares the name of each step with the recorded one, so a name must be constant."""


def step(context: DurableContext, name: StepName, policy: RetryPolicy, function: Callable[[], T]) -> T:
    """Run `function`, checkpoint its result and return it. A replay returns the checkpointed result.

    Raises `StepError` when `function` has failed and `policy` allows no further attempt.
    """
    return context.step(lambda _: function(), name=name, config=StepConfig(retry_strategy=policy))
