"""Reads of durable executions over Lambda's API, which the command line and the console have in common."""

from collections.abc import Iterator
from operator import itemgetter
from typing import Any

from durable_local.errors import LocalStackError

Execution = dict[str, Any]
Event = dict[str, Any]

MAX_EVENTS_PER_PAGE = 1000


def functions(client: Any) -> dict[str, bool]:
    """The names of all functions; whether each is durable."""
    pages = client.get_paginator("list_functions").paginate()
    return {each["FunctionName"]: bool(each.get("DurableConfig")) for page in pages for each in page["Functions"]}


def all_executions(client: Any, **filters: Any) -> list[Execution]:
    """The executions of all durable functions, newest first; `filters` are those of ListDurableExecutionsByFunction."""
    listed = client.get_paginator("list_durable_executions_by_function")
    found: list[Execution] = [
        execution
        for name, is_durable in functions(client).items()
        if is_durable
        for page in listed.paginate(FunctionName=name, **filters)
        for execution in page["DurableExecutions"]
    ]
    return sorted(found, key=itemgetter("StartTimestamp"), reverse=True)


def arn_of(client: Any, execution: str) -> str:
    """The ARN of the execution with this ARN or name; raises LocalStackError if none or more than one has the name."""
    if execution.startswith("arn:"):
        return execution
    found = [each["DurableExecutionArn"] for each in all_executions(client, DurableExecutionName=execution)]
    if len(found) == 1:
        return str(found[0])
    reason = "no execution has" if not found else f"{len(found)} executions have"
    raise LocalStackError(
        f"{reason} the name {execution}; `durable-local executions` lists them, --arns with their ARNs"
    )


def describe(client: Any, arn: str) -> Execution:
    """What GetDurableExecution returns, with input, result and error."""
    found: Execution = client.get_durable_execution(DurableExecutionArn=arn, IncludeExecutionData=True)
    return found


def history(client: Any, arn: str) -> Iterator[Event]:
    """The events of an execution with their data, oldest first."""
    pages = client.get_paginator("get_durable_execution_history").paginate(
        DurableExecutionArn=arn, IncludeExecutionData=True, PaginationConfig={"PageSize": MAX_EVENTS_PER_PAGE}
    )
    return (event for page in pages for event in page["Events"])


def function_of(arn: str) -> str:
    """`name:version` of a function's ARN."""
    return ":".join(arn.split(":")[6:])
