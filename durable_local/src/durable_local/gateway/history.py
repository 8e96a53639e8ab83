"""GetDurableExecutionHistory: the runner's events, the events that the runner does not have, and Lambda's paging.

Without `IncludeExecutionData`, Lambda returns data and the runner does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from durable_local.errors import invalid_parameter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from durable_local.runner.record import ExecutionRecord
    from durable_local.runner.runner import DurableRunner

INVOCATION = "InvocationCompleted"
MAX_EVENTS = 1_000_000


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
    events = [*_invocations(record, with_data=with_data)]
    events.extend(event.to_dict() for event in history.events if event.event_type != INVOCATION)
    events.extend(_pauses(record, with_data=with_data))
    events.sort(key=lambda event: event["EventTimestamp"])
    for number, event in enumerate(events, 1):
        event["EventId"] = number
    return events


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
