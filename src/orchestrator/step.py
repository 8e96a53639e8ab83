"""Runs a step of the workflow, always with a name and a retry policy.

The SDK's `context.step` makes both optional. Without a policy it makes up to six attempts, whatever the error is.
"""

from collections.abc import Callable
from typing import Any, Literal, TypeVar

from aws_durable_execution_sdk_python.config import StepConfig
from aws_durable_execution_sdk_python.context import DurableContext
from aws_durable_execution_sdk_python.serdes import JsonSerDes

from orchestrator.policies import RetryPolicy
from shared.ledger.entry import kept_text

T = TypeVar("T")

StepName = Literal["enrich", "finalize", "record-failure"]
"""A replay compares the name of each step with the recorded one, so a name must be constant."""

_JSON: JsonSerDes[Any] = JsonSerDes()
"""The SDK's own format adds up to 15 bytes to each value, for types that the results here do not have."""


def step(context: DurableContext, name: StepName, policy: RetryPolicy, function: Callable[[], T]) -> T:
    """Run `function`, checkpoint its result as JSON and return it. A replay returns the checkpointed result.

    The error of a step has at most MAX_TEXT_BYTES of message, as the ledger keeps it: Lambda refuses to checkpoint an
    error of more than 32 KiB.

    Raises `StepError` when `function` has failed and `policy` allows no further attempt.
    """
    config = StepConfig(retry_strategy=policy, serdes=_JSON)
    return context.step(lambda _: _with_short_error(function), name=name, config=config)


def _with_short_error(function: Callable[[], T]) -> T:
    try:
        return function()
    except Exception as error:
        text = str(error)
        if (short := kept_text(text)) != text:
            error.args = (short,)  # the type stays: by it the workflow restores the error
        raise
