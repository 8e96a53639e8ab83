"""GetDurableExecutionHistory: the runner's events, what the runner leaves out, and Lambda's paging.

Without `IncludeExecutionData`, Lambda returns data and the runner does not.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from typing import TYPE_CHECKING, Any

from aws_durable_execution_sdk_python.lambda_service import OperationAction, OperationType

from durable_local.errors import invalid_parameter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from aws_durable_execution_sdk_python.lambda_service import OperationUpdate

    from durable_local.runner.record import ExecutionRecord
    from durable_local.runner.runner import DurableRunner

INVOCATION = "InvocationCompleted"
MAX_EVENTS = 1_000_000
# The runner makes an event for each checkpoint with one of these.
WITH_EVENT = {OperationAction.START, OperationAction.RETRY, OperationAction.SUCCEED, OperationAction.FAIL}


def page(
    runner: DurableRunner,
    record: ExecutionRecord,
    marker: str | None,
    size: int,
    *,
    with_data: bool,
    newest_first: bool,
) -> dict[str, Any]:
    """One page of the answer; raises ApiError for an unknown marker."""
    events = _events(runner, record, with_data=with_data)
    if newest_first:
        events.reverse()
    first = 0
    if marker is not None:
        if not marker.isdecimal():
            raise invalid_parameter("Marker is not one that this operation returned.")
        # The id of the last event of the page before. Ids do not change when events are added.
        seen = int(marker)
        passed = (event["EventId"] >= seen if newest_first else event["EventId"] <= seen for event in events)
        first = sum(passed)
    answer: dict[str, Any] = {"Events": events[first : first + size]}
    if first + size < len(events):
        answer["NextMarker"] = str(events[first + size - 1]["EventId"])
    return answer


def _events(runner: DurableRunner, record: ExecutionRecord, *, with_data: bool) -> list[dict[str, Any]]:
    """All of them in order, numbered from 1."""
    history = runner.get_execution_history(
        record.durable_execution_arn, include_execution_data=with_data, max_items=MAX_EVENTS
    )
    events = [event.to_dict() for event in history.events if event.event_type != INVOCATION]
    _complete(record, events, with_data=with_data)
    events.extend(_invocations(record, with_data=with_data))
    events.extend(_pauses(record, with_data=with_data))
    events.sort(key=lambda event: event["EventTimestamp"])
    for number, event in enumerate(events, 1):
        event["EventId"] = number
    return events


def _complete(record: ExecutionRecord, events: Iterable[dict[str, Any]], *, with_data: bool) -> None:
    """Adds the fields that the runner leaves out, from the checkpoint behind each event."""
    checkpoints: dict[str, deque[OperationUpdate]] = defaultdict(deque)
    for update in record.updates:
        if update.action in WITH_EVENT:
            checkpoints[update.operation_id].append(update)
    retries: Counter[str] = Counter()
    for event in events:
        # An operation's events are in the order of its checkpoints. An end without a checkpoint, a timeout for example,
        # is the last event.
        if not (left := checkpoints.get(event.get("Id", ""))):
            continue
        update = left.popleft()
        match update.operation_type, update.action:
            case OperationType.STEP, OperationAction.SUCCEED:
                event["StepSucceededDetails"]["RetryDetails"] = {"CurrentAttempt": retries[update.operation_id] + 1}
            case OperationType.STEP, OperationAction.RETRY:
                retries[update.operation_id] += 1
                # A condition that is not met yet: the payload is its state.
                if update.error is None:
                    event["StepSucceededDetails"]["Result"] = _data(update.payload, with_data=with_data)
            case OperationType.CALLBACK, OperationAction.START if options := update.callback_options:
                timeouts = {"Timeout": options.timeout_seconds, "HeartbeatTimeout": options.heartbeat_timeout_seconds}
                event["CallbackStartedDetails"] |= {name: seconds for name, seconds in timeouts.items() if seconds}
            case OperationType.CHAINED_INVOKE, OperationAction.START if target := update.chained_invoke_options:
                values = {
                    "ExecutedVersion": record.executed_versions.get(update.operation_id),
                    "TenantId": target.tenant_id,
                }
                event["ChainedInvokeStartedDetails"] |= {name: value for name, value in values.items() if value}


def _invocations(record: ExecutionRecord, *, with_data: bool) -> Iterator[dict[str, Any]]:
    """The runner drops the details of these events when it numbers them, so they are made here."""
    for completion in record.invocation_completions:
        details = completion.to_dict()
        if error := record.invocation_errors.get(completion.request_id):
            details["Error"] = _data(error, with_data=with_data)
        yield {
            "EventType": INVOCATION,
            "EventTimestamp": completion.end_timestamp,
            "InvocationCompletedDetails": details,
        }


def _pauses(record: ExecutionRecord, *, with_data: bool) -> Iterator[dict[str, Any]]:
    for pause in record.pauses:
        if pause.began is None:
            continue
        paused: dict[str, Any] = {
            "PauseRequestTimestamp": pause.requested,
            "ExecutionTimeoutPaused": pause.timeout_paused,
        }
        if pause.reason is not None:
            paused["Reason"] = _data(pause.reason, with_data=with_data)
        yield {"EventType": "ExecutionPaused", "EventTimestamp": pause.began, "ExecutionPausedDetails": paused}
        if pause.resume_requested is None:
            continue
        resumed: dict[str, Any] = {"ResumeRequestTimestamp": pause.resume_requested}
        if pause.resume_reason is not None:
            resumed["Reason"] = _data(pause.resume_reason, with_data=with_data)
        yield {
            "EventType": "ExecutionResumed",
            "EventTimestamp": pause.resume_requested,
            "ExecutionResumedDetails": resumed,
        }


def _data(payload: Any, *, with_data: bool) -> dict[str, Any]:
    return {"Payload": payload, "Truncated": False} if with_data else {"Truncated": True}
