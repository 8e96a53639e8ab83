"""What is deployed to a running stack and what its durable executions did, read through the stack's own AWS API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from durable_local.errors import LocalStackError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from durable_local.lifecycle import LocalStack


def deployed(stack: LocalStack) -> list[tuple[str, str]]:
    """The CloudFormation stacks: name and status."""
    pages = stack.client("cloudformation").get_paginator("describe_stacks").paginate()
    return [(each["StackName"], each["StackStatus"]) for page in pages for each in page["Stacks"]]


def functions(stack: LocalStack) -> dict[str, bool]:
    """The names of all functions; whether each is durable."""
    pages = stack.client("lambda").get_paginator("list_functions").paginate()
    return {each["FunctionName"]: bool(each.get("DurableConfig")) for page in pages for each in page["Functions"]}


def executions(stack: LocalStack, **filters: Any) -> list[dict[str, Any]]:
    """The executions of all durable functions, newest first; `filters` are those of ListDurableExecutionsByFunction."""
    durable = [name for name, is_durable in functions(stack).items() if is_durable]
    listing = stack.client("lambda").get_paginator("list_durable_executions_by_function")
    found = [
        execution
        for name in durable
        for page in listing.paginate(FunctionName=name, **filters)
        for execution in page["DurableExecutions"]
    ]
    return sorted(found, key=_started, reverse=True)


def arn_of(stack: LocalStack, execution: str) -> str:
    """The ARN of the execution with this ARN or name; raises LocalStackError if none or more than one has the name."""
    if execution.startswith("arn:"):
        return execution
    found = [each["DurableExecutionArn"] for each in executions(stack, DurableExecutionName=execution)]
    if len(found) == 1:
        return str(found[0])
    reason = "no execution has" if not found else f"{len(found)} executions have"
    raise LocalStackError(
        f"{reason} the name {execution}; `durable-local executions` lists them, --arns with their ARNs"
    )


def history(stack: LocalStack, arn: str) -> Iterator[dict[str, Any]]:
    """The events of an execution, oldest first."""
    pages = stack.client("lambda").get_paginator("get_durable_execution_history").paginate(DurableExecutionArn=arn)
    for page in pages:
        yield from page["Events"]


def _started(execution: dict[str, Any]) -> datetime:
    started: datetime = execution["StartTimestamp"]
    return started
