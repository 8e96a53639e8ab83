# mypy: disable-error-code="import-not-found"
"""Puts right what MiniStack's CloudFormation does to Lambda's resources.

- It drops properties of a function that its Lambda service knows. `DurableConfig` is among them: without it
  nobody could tell a durable function from a plain one. Versions published later copy them from the function.
- Code that cannot run on this machine is refused when it is deployed, with the reason, not when it is invoked.
- A number that comes from a parameter reaches it as text. One text for a number in one event source mapping
  stops the polling of every queue.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

DROPPED = ("DurableConfig", "DeadLetterConfig")
NUMBERS = frozenset(
    {
        "BatchSize",
        "ExecutionTimeout",
        "MaximumBatchingWindowInSeconds",
        "MaximumConcurrency",
        "MaximumRecordAgeInSeconds",
        "MaximumRetryAttempts",
        "MemorySize",
        "ParallelizationFactor",
        "ReservedConcurrentExecutions",
        "RetentionPeriodInDays",
        "Size",
        "Timeout",
        "TumblingWindowInSeconds",
    }
)
# Where a handler's arguments have the properties.
CREATED_WITH, UPDATED_WITH = 1, 2
TYPED = (
    "AWS::Lambda::EventInvokeConfig",
    "AWS::Lambda::EventSourceMapping",
    "AWS::Lambda::Function",
)


def install(functions_python: str) -> None:
    """Wraps what CloudFormation does to create and to update these resources."""
    from ministack.services import lambda_svc  # noqa: PLC0415 - not before sys.executable is set
    from ministack.services.cloudformation import provisioners  # noqa: PLC0415
    from patches import interpreters  # noqa: PLC0415 - a top-level module in this process only

    functions = lambda_svc._functions  # noqa: SLF001 - there is no public way
    handlers = provisioners._RESOURCE_HANDLERS  # noqa: SLF001

    def keeping(action: Callable[..., tuple[str, Any]], properties_at: int) -> Callable[..., tuple[str, Any]]:
        def act(*arguments: Any, **named: Any) -> tuple[str, Any]:
            name, attributes = action(*arguments, **named)
            record = functions[name]
            try:
                interpreters.check(name, record["config"], record.get("code_zip"), functions_python)
            except ValueError:
                if properties_at == CREATED_WITH:
                    functions.pop(name)  # CloudFormation deletes only what was created
                raise
            keep(record, arguments[properties_at])
            return name, attributes

        return act

    function = handlers["AWS::Lambda::Function"]
    function["create"] = keeping(function["create"], CREATED_WITH)
    function["update"] = keeping(function["update"], UPDATED_WITH)
    for resource_type in TYPED:
        for action in ("create", "update"):
            if action in handlers[resource_type]:
                handlers[resource_type][action] = _with_numbers(handlers[resource_type][action])


def keep(function: dict[str, Any], properties: dict[str, Any]) -> None:
    """Puts a template's `properties` where MiniStack's Lambda looks for them."""
    for name in DROPPED:
        if name in properties:
            function["config"][name] = properties[name]
        else:
            function["config"].pop(name, None)
    function["concurrency"] = properties.get("ReservedConcurrentExecutions")


def with_numbers(properties: Any) -> Any:
    """The same properties, in which every text for a number or a truth value has become one."""
    if isinstance(properties, list):
        return [with_numbers(entry) for entry in properties]
    if not isinstance(properties, dict):
        return properties
    return {
        # A function's own variables are text, whatever they are called.
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
    @functools.wraps(action)  # MiniStack looks at a handler's parameters
    def act(*arguments: Any, **named: Any) -> Any:
        return action(
            *(with_numbers(argument) if isinstance(argument, dict) else argument for argument in arguments),
            **named,
        )

    return act
