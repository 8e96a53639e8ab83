"""An execution's history as rows of bars, to scale."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from durable_local.console.display import duration
from durable_local.executions import Event

WIDTH = 1000
"""The width of the whole time in the units of the SVG."""
# A bar of no length must still be visible.
MIN_WIDTH = 5
EVENT = re.compile(
    r"(Execution|Context|Wait|Step|ChainedInvoke|Callback)(Started|Succeeded|Failed|TimedOut|Stopped|Cancelled)"
)
STATUSES = {
    "Succeeded": "SUCCEEDED",
    "Failed": "FAILED",
    "TimedOut": "TIMED_OUT",
    "Stopped": "STOPPED",
    "Cancelled": "CANCELLED",
}
KINDS = {"Context": "context", "Wait": "wait", "Step": "step", "ChainedInvoke": "invoke", "Callback": "callback"}
UNFINISHED = "UNFINISHED"
"""The status of an operation whose execution ended first."""


@dataclass
class Bar:
    """`kind`: attempt, retry (until the next attempt), wait, callback, invoke, context, invocation, paused, execution.

    `end`: None while it is open. `until`: when an open one will end, if that is known.
    """

    kind: str
    start: datetime
    end: datetime | None = None
    until: datetime | None = None
    is_failure: bool = False
    text: str = ""


@dataclass
class Row:
    """One operation, the invocations, the pauses, or the execution itself."""

    name: str
    kind: str
    start: datetime
    status: str = "RUNNING"
    end: datetime | None = None
    depth: int = 0
    bars: list[Bar] = field(default_factory=list)
    attempts: int = 0
    input: Any = None
    output: Any = None
    error: dict[str, Any] | None = None
    note: str = ""
    target: str = ""
    callback_id: str = ""
    children: list["Row"] = field(default_factory=list)

    @property
    def took(self) -> timedelta | None:
        """None while it runs."""
        return self.end - self.start if self.end else None

    @property
    def waits_for_callback(self) -> bool:
        """Whether a callback can be sent to it."""
        return bool(self.callback_id) and self.status == "RUNNING"


@dataclass
class Timeline:
    """Rows from `start` to `end`; `now` is between them while the execution runs, else None."""

    start: datetime
    end: datetime
    now: datetime | None
    rows: list[Row]

    def place(self, bar: Bar) -> tuple[float, float]:
        """`x` and width of a bar. An open one is as long as it has lasted, or will last if that is known."""
        x = self.x(bar.start)
        width = self.x(bar.end or bar.until or self.now or self.end) - x
        return min(x, WIDTH - MIN_WIDTH), round(max(width, MIN_WIDTH), 1)

    def x(self, time: datetime) -> float:
        """The place of a time, from 0 to WIDTH."""
        whole = (self.end - self.start).total_seconds() or 1
        return round(min(max((time - self.start).total_seconds() / whole, 0), 1) * WIDTH, 1)

    @property
    def ticks(self) -> list[str]:
        """The times at the start, the middle and the end of the axis, since the start."""
        whole = self.end - self.start
        return ["0", duration(whole / 2), duration(whole)]

    @property
    def callbacks(self) -> list[Row]:
        """The operations that wait for a callback."""
        return [row for row in self.rows if row.waits_for_callback]


def timeline(events: Iterable[Event], now: datetime) -> Timeline:
    """The timeline of a history, oldest event first; `now`: the time on the clock of the executions."""
    history = list(events)
    started = history[0]["EventTimestamp"]
    whole = Row("execution", "execution", started, bars=[Bar("execution", started)])
    invocations = Row("invocations", "invocation", started)
    pauses = Row("pauses", "paused", started)
    operations: dict[str, Row] = {}
    for event in history:
        time, details = event["EventTimestamp"], _details(event)
        if event["EventType"] == "InvocationCompleted":
            _add_invocation(invocations, details)
        elif event["EventType"] == "ExecutionPaused":
            pauses.bars.append(Bar("paused", time, text=_payload(details.get("Reason")) or "paused"))
        elif event["EventType"] == "ExecutionResumed" and pauses.bars:
            pauses.bars[-1].end = time
        elif match := EVENT.fullmatch(event["EventType"]):
            subject, verb = match.groups()
            if subject == "Execution":
                _change(whole, verb, time, details)
            else:
                _operate(operations, event, subject, verb, details)
    _end_what_is_open([*operations.values(), pauses], whole.end)
    for row in operations.values():
        row.note = row.note or _note(row, now)
    others = [row for row in (invocations, pauses) if row.bars]
    rows = [whole, *others, *_in_order(operations.values())]
    return Timeline(started, _axis_end(rows, whole.end, now), None if whole.end else now, rows)


def _details(event: Event) -> dict[str, Any]:
    details: dict[str, Any] = next((value for name, value in event.items() if name.endswith("Details")), {})
    return details


def _payload(data: dict[str, Any] | None) -> Any:
    return (data or {}).get("Payload")


def _add_invocation(row: Row, details: dict[str, Any]) -> None:
    error = _payload(details.get("Error"))
    text = (error or {}).get("ErrorMessage") or f"request {details.get('RequestId', '')}"
    row.bars.append(
        Bar("invocation", details["StartTimestamp"], details["EndTimestamp"], is_failure=bool(error), text=text)
    )
    row.attempts += 1
    row.start, row.end = row.bars[0].start, details["EndTimestamp"]
    row.status = "SUCCEEDED"
    failures = sum(bar.is_failure for bar in row.bars)
    row.note = f"{row.attempts} in all" + (f", {failures} failed" if failures else "")
    if error:
        row.error = error


def _operate(operations: dict[str, Row], event: Event, subject: str, verb: str, details: dict[str, Any]) -> None:
    time = event["EventTimestamp"]
    row = operations.get(event["Id"])
    if row is None:
        kind = _kind(subject, event)
        row = operations[event["Id"]] = Row(event.get("Name") or kind, kind, time)
        if parent := operations.get(event.get("ParentId", "")):
            row.depth = parent.depth + 1
            parent.children.append(row)
    if verb == "Started":
        _begin(row, subject, time, details)
    else:
        _change(row, verb, time, details)


def _kind(subject: str, event: Event) -> str:
    """Such as `wait for callback`: a context says what it is for in its sub type."""
    if subject != "Context" or not event.get("SubType"):
        return KINDS[subject]
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", event["SubType"]).lower()


def _begin(row: Row, subject: str, time: datetime, details: dict[str, Any]) -> None:
    if row.bars and row.bars[-1].kind == "retry":
        row.bars[-1].end = time
    bar = Bar("attempt" if subject == "Step" else KINDS[subject], time)
    row.bars.append(bar)
    row.status, row.end, row.note = "RUNNING", None, ""
    if subject == "Step":
        row.attempts += 1
    elif subject == "Wait":
        bar.until = details.get("ScheduledEndTimestamp")
    elif subject == "ChainedInvoke":
        row.input = _payload(details.get("Input"))
        row.target = details.get("FunctionName", "")
    elif subject == "Callback":
        row.callback_id = details.get("CallbackId", "")
        if timeout := details.get("Timeout"):
            bar.until = time + timedelta(seconds=timeout)


def _change(row: Row, verb: str, time: datetime, details: dict[str, Any]) -> None:
    """The end of an operation or of one of its attempts."""
    if verb == "Started":
        row.input = _payload(details.get("Input"))
        return
    row.output, row.error = _payload(details.get("Result")), _payload(details.get("Error"))
    if not row.bars or row.bars[-1].end or row.bars[-1].kind == "retry":
        # The start of an attempt that is not in the history.
        row.bars.append(Bar("attempt", row.bars[-1].until or time if row.bars else time))
    row.bars[-1].end = time
    row.bars[-1].is_failure = verb in {"Failed", "TimedOut"}
    row.bars[-1].text = (row.error or {}).get("ErrorMessage") or ""
    retry = details.get("RetryDetails", {})
    row.attempts = max(row.attempts, retry.get("CurrentAttempt", 0))
    if delay := retry.get("NextAttemptDelaySeconds"):
        row.bars.append(Bar("retry", time, until=time + timedelta(seconds=delay)))
        return
    row.status, row.end = STATUSES[verb], time


def _end_what_is_open(rows: Iterable[Row], end: datetime | None) -> None:
    if end is None:
        return
    for row in rows:
        if row.end is None:
            row.end, row.status = end, UNFINISHED
        for bar in row.bars:
            bar.end = bar.end or end


def _note(row: Row, now: datetime) -> str:
    if row.end or not row.bars or (until := row.bars[-1].until) is None:
        return ""
    verb = {"wait": "resumes", "retry": "tries again", "callback": "times out"}[row.bars[-1].kind]
    # Without tenths, which would change the page at each look.
    left = duration(max(round((until - now).total_seconds()), 0))
    return f"{verb} in {left}" if until > now else f"{verb} now"


def _in_order(rows: Iterable[Row]) -> Iterator[Row]:
    """Each row before its children."""

    def with_children(row: Row) -> Iterator[Row]:
        yield row
        for child in row.children:
            yield from with_children(child)

    for row in rows:
        if row.depth == 0:
            yield from with_children(row)


def _axis_end(rows: list[Row], ended: datetime | None, now: datetime) -> datetime:
    """The end of an execution that ended; else now, or the end of what it waits for."""
    if ended:
        return ended
    last = rows[0].start + timedelta(milliseconds=1)
    known = [bar.until for row in rows for bar in row.bars if bar.until and not bar.end and bar.kind != "callback"]
    return max(now, last, *known) if known else max(now, last)
