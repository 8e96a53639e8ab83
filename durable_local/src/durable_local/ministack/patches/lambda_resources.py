"""Corrects how MiniStack's CloudFormation creates and updates Lambda's resources.

- It drops properties of a function that its Lambda service has. One of them is `DurableConfig`, which makes a function
  durable. Versions that are published later copy them from the function.
- The log format of a durable function is JSON unless the template says otherwise. AWS's docs do not say so; its
  conformance suite expects it, and so do its engineers: https://github.com/aws/aws-durable-execution-sdk-js/issues/302
- Code that cannot run on this machine is refused at deployment, not at the first invocation.
- A number from a parameter is text. One text in place of a number in one event source mapping stops the polling of
  every queue.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from . import interpreters
from .patching import Patch

if TYPE_CHECKING:
    from collections.abc import Callable

DROPPED = ("DurableConfig", "DeadLetterConfig", "TenancyConfig")
NUMBERS = frozenset(
    """BatchSize ExecutionTimeout MaximumBatchingWindowInSeconds MaximumConcurrency MaximumRecordAgeInSeconds
    MaximumRetryAttempts MemorySize ParallelizationFactor ReservedConcurrentExecutions RetentionPeriodInDays Size
    Timeout TumblingWindowInSeconds""".split()
)
# The position of the properties in a handler's arguments.
CREATED_WITH, UPDATED_WITH = 1, 2
TYPED = ("AWS::Lambda::EventInvokeConfig", "AWS::Lambda::EventSourceMapping", "AWS::Lambda::Function")


patch = Patch(__name__)
functions = patch.uses("ministack.services.lambda_svc", "_functions")
handlers = patch.uses("ministack.services.cloudformation.provisioners", "_RESOURCE_HANDLERS")


@patch.at_start
def wrap_handlers() -> None:
    """Wraps CloudFormation's create and update of Lambda's resources."""
    function = handlers.get()["AWS::Lambda::Function"]
    function["create"] = _keeping(function["create"], CREATED_WITH)
    function["update"] = _keeping(function["update"], UPDATED_WITH)
    for resource_type in TYPED:
        handler = handlers.get()[resource_type]
        handler.update({action: _with_numbers(handler[action]) for action in ("create", "update") if action in handler})


def _keeping(action: Callable[..., tuple[str, Any]], properties_at: int) -> Callable[..., tuple[str, Any]]:
    def act(*arguments: Any, **named: Any) -> tuple[str, Any]:
        name, attributes = action(*arguments, **named)
        record = functions.get()[name]
        try:
            interpreters.check(name, record["config"], record.get("code_zip"))
        except ValueError:
            if properties_at == CREATED_WITH:
                functions.get().pop(name)  # CloudFormation deletes only what was created
            raise
        keep(record, arguments[properties_at])
        return name, attributes

    return act


def keep(function: dict[str, Any], properties: dict[str, Any]) -> None:
    """Stores a template's `properties` where MiniStack's Lambda reads them."""
    for name in DROPPED:
        if name in properties:
            function["config"][name] = properties[name]
        else:
            function["config"].pop(name, None)
    function["concurrency"] = properties.get("ReservedConcurrentExecutions")
    logging = properties.get("LoggingConfig") or {}
    if "DurableConfig" in properties and "LogFormat" not in logging:
        function["config"]["LoggingConfig"] = {**function["config"]["LoggingConfig"], "LogFormat": "JSON"}


def with_numbers(properties: Any) -> Any:
    """The properties with numbers and booleans in place of texts."""
    if isinstance(properties, list):
        return [with_numbers(entry) for entry in properties]
    if not isinstance(properties, dict):
        return properties
    return {
        # Environment variables are always text.
        name: value if name == "Variables" else _value(name, value)
        for name, value in properties.items()
    }


def _value(name: str, value: Any) -> Any:
    if isinstance(value, str):
        if name in NUMBERS and value.lstrip("-").isdecimal():
            return int(value)
        if name in {"Enabled", "BisectBatchOnFunctionError"} and value in {"true", "false"}:
            return value == "true"
        return value
    return with_numbers(value)


def _with_numbers(action: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(action)  # MiniStack inspects a handler's parameters
    def act(*arguments: Any, **named: Any) -> Any:
        return action(
            *(with_numbers(argument) if isinstance(argument, dict) else argument for argument in arguments), **named
        )

    return act
