"""An order's ledger transitions and Lambda's operations of all its attempts, as rows of one timeline to scale."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from durable_local.console.timeline import Bar, Row, Timeline, timeline
from shared.ledger.entry import LedgerEntry, Transition
from shared.ledger.states import RETRYABLE, TERMINAL, State


def order_timeline(entry: LedgerEntry, events_by_attempt: Mapping[int, Sequence[Any]], now: datetime) -> Timeline:
    """The timeline of the attempts that have events in the mapping, or of none.

    An attempt whose execution Lambda no longer has is there with no events: then only the ledger's row is shown. `now`
    is the time on the clock of the executions.
    """
    several = len(events_by_attempt) > 1
    rows: list[Row] = []
    ends: list[datetime] = []
    for attempt, events in events_by_attempt.items():
        steps = [step for step in entry.history if step.attempt == attempt]
        ledger = _ledger_row(steps, entry.error if attempt == entry.attempt else None)
        ledger.name = f"attempt {attempt}: ledger" if several else "ledger"
        rows.append(ledger)
        ends.append(datetime.fromisoformat(steps[-1].at))
        if not events:
            continue
        seen = timeline(events, now)
        ends.append(seen.end)
        for row in seen.rows:
            if row.kind in {"execution", "invocation", "paused"} and several:
                row.name = f"attempt {attempt}: {row.name}"
            rows.append(row)
    is_open = any(row.end is None for row in rows)
    start = min((row.start for row in rows), default=now)
    return Timeline(start, max([*ends, *([now] if is_open else [])], default=now), now if is_open else None, rows)


def _ledger_row(steps: Sequence[Transition], error: Mapping[str, Any] | None) -> Row:
    """A bar for each state of the attempt, from its transition to the next."""
    last = steps[-1]
    times = [datetime.fromisoformat(step.at) for step in steps]
    row = Row("ledger", "ledger", times[0], status=last.state, attempts=0)
    for step, start, end in zip(steps, times, [*times[1:], None], strict=True):
        if step.state in TERMINAL:
            continue
        row.bars.append(Bar(f"state-{step.state.lower()}", start, end, text=step.state))
    if last.state in TERMINAL:
        row.end = times[-1]
        row.bars.append(Bar(f"state-{last.state.lower()}", times[-1], times[-1], text=last.state))
        row.bars[-1].is_failure = last.state in RETRYABLE
    else:
        row.note = last.state.lower()
    if error and last.state is not State.COMPLETED:
        row.error = {"ErrorType": error["type"], "ErrorMessage": error["message"]}
    return row
