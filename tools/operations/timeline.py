"""What happened to an order, from the ledger's history and from Lambda's history of each attempt's execution."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from shared.aws.clock import timestamp
from shared.ledger.entry import LedgerEntry, Transition
from shared.ledger.states import TERMINAL
from shared.orders.differences import differences

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient


@dataclass(frozen=True)
class Moment:
    """One line of the time line. `source` is `ledger` or `lambda`; `what` a state or an operation and its event."""

    at: str
    attempt: int
    source: str
    what: str
    detail: str | None = None


@dataclass(frozen=True)
class Attempt:
    """One attempt. `retries` are failed tries of steps. `events` is False when Lambda no longer has the execution.

    `began` says why the attempt began, and which fields of the order were corrected. `seconds` is the time from the
    start to the end, None for an attempt that has not ended; `error` the reason of its end, None for a success.
    `function_version` is the orchestrator's. `enrichment` is what the enrich step returned, None when Lambda does not
    say it; it can be personal, so it is compared and not shown.
    """

    attempt: int
    execution_arn: str
    started: str
    ended: str
    state: str
    retries: int
    invocations: int
    events: bool
    began: str | None
    seconds: float | None
    error: str | None
    function_version: str
    enrichment: Mapping[str, Any] | None = field(repr=False)


@dataclass(frozen=True)
class Difference:
    """What differs between an attempt and the one before. A field of the enrichment has no values, only its name."""

    attempt: int
    field: str
    before: object
    now: object


COMPARED = ("state", "error", "seconds", "function_version", "retries", "invocations")
"""The fields of an attempt that are compared with their values."""


def compared(attempts: Sequence[Attempt]) -> list[Difference]:
    """What differs between each attempt and the one before it."""
    found = []
    for before, now in pairwise(attempts):
        values = ((name, getattr(before, name), getattr(now, name)) for name in COMPARED)
        found += [Difference(now.attempt, name, old, new) for name, old, new in values if old != new]
        if before.enrichment is not None and now.enrichment is not None:
            found += [
                Difference(now.attempt, f"enrichment.{one.field}", None, None)
                for one in differences(before.enrichment, now.enrichment)
            ]
    return found


def timeline(entry: LedgerEntry, aws_lambda: "LambdaClient") -> tuple[list[Moment], list[Attempt]]:
    """The time line, oldest first, and the attempts. Lambda's errors are raised unchanged."""
    firsts = _firsts(entry)
    events = {str(first.execution_arn): list(events_of(aws_lambda, str(first.execution_arn))) for first in firsts}
    moments = [Moment(step.at, step.attempt, "ledger", step.state, step.detail) for step in entry.history]
    for first in firsts:
        moments += _moments(first.attempt, events[str(first.execution_arn)])
    # The sort is stable: of one time, the ledger's transitions come first and in their order.
    return sorted(moments, key=lambda moment: moment.at), attempts_of(entry, events)


def attempts_of(entry: LedgerEntry, events_by_arn: Mapping[str, Sequence[Any]]) -> list[Attempt]:
    """The attempts, oldest first, with what Lambda's events of their executions say."""
    attempts = []
    for first in _firsts(entry):
        arn = str(first.execution_arn)
        events = events_by_arn[arn]
        steps = [step for step in entry.history if step.attempt == first.attempt]
        kinds = Counter(event["EventType"] for event in events)
        end = steps[-1] if steps[-1].state in TERMINAL else None
        attempts.append(
            Attempt(
                attempt=first.attempt,
                execution_arn=arn,
                started=first.at,
                ended=steps[-1].at,
                state=steps[-1].state,
                retries=kinds["StepFailed"],
                invocations=kinds["InvocationCompleted"],
                events=bool(events),
                began=first.detail,
                seconds=None if end is None else _seconds(first.at, end.at),
                error=None if end is None else end.detail,
                function_version=arn.partition("/")[0].rpartition(":")[2],
                enrichment=_enrichment(events),
            )
        )
    return attempts


def _firsts(entry: LedgerEntry) -> list[Transition]:
    """The first transition of each attempt."""
    return [step for step in entry.history if step.execution_arn is not None]


def events_of(aws_lambda: "LambdaClient", execution_arn: str) -> Iterator[Any]:
    """The execution's events, or none when it was deleted or has expired."""
    pages = aws_lambda.get_paginator("get_durable_execution_history").paginate(
        # Lambda leaves out errors too without the data. Inputs and results are not shown.
        DurableExecutionArn=execution_arn,
        IncludeExecutionData=True,
    )
    try:
        for page in pages:
            yield from page["Events"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise


def _seconds(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def _enrichment(events: Sequence[Any]) -> Mapping[str, Any] | None:
    """The enrichment in the result of the enrich step.

    None if Lambda leaves it out, as it does with a large result, or if it is in the SDK's typed JSON, in which earlier
    versions of the orchestrator wrote it.
    """
    for event in events:
        if event["EventType"] == "StepSucceeded" and event.get("Name") == "enrich":
            result = event["StepSucceededDetails"]["Result"]
            if result.get("Truncated") or "Payload" not in result:
                return None
            step: dict[str, Mapping[str, Any]] = json.loads(result["Payload"])
            return step.get("enrichment")
    return None


def _moments(attempt: int, events: list[Any]) -> Iterator[Moment]:
    invocations = 0
    for event in events:
        kind = event["EventType"]
        details = event.get(f"{kind}Details", {})
        name = event.get("Name")
        what = f"{name} {kind}" if name else kind
        if kind == "InvocationCompleted":
            invocations += 1
            what = f"invocation {invocations}" + (" (replay)" if invocations > 1 else "")
        yield Moment(timestamp(event["EventTimestamp"]), attempt, "lambda", what, _detail(details))


def _detail(details: Any) -> str | None:
    """The parts of an event that say what will happen next or why it happened."""
    parts = []
    if isinstance(until := details.get("ScheduledEndTimestamp"), datetime):
        parts.append(f"until {timestamp(until)}")
    error = details.get("Error", {}).get("Payload", {})
    if error:
        parts.append(": ".join(error[key] for key in ("ErrorType", "ErrorMessage") if error.get(key)))
    retry = details.get("RetryDetails", {})
    if retry.get("NextAttemptDelaySeconds"):
        parts.append(f"try {retry.get('CurrentAttempt')}, next in {retry['NextAttemptDelaySeconds']} s")
    elif retry.get("CurrentAttempt", 0) > 1:
        parts.append(f"try {retry['CurrentAttempt']}")
    return "; ".join(parts) or None
