"""Decides why an order does not move: one cause, the evidence for it, and the next command.

The decision reads only `Evidence`; `tools/operations/evidence.py` gathers it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from shared.aws.clock import timestamp
from shared.ledger.entry import LedgerEntry
from shared.ledger.states import RETRYABLE, TERMINAL, State

LATE: Final = timedelta(minutes=5)
"""An execution that is due for this long and was not run is throttled. A step takes at most a minute."""

ENABLED: Final = frozenset({"Enabled", "Enabling", "Creating", "Updating"})
"""The states of an event source mapping that polls its queue, or will."""

_NOT_ENDED: Final = frozenset({"RUNNING", "PAUSING", "PAUSED"})
_THROTTLES: Final = ("Throttl", "TooManyRequests", "ThroughputExceeded", "RequestLimitExceeded")


class Cause(StrEnum):
    """The causes. `docs/why.md` says what each means."""

    WAITING = "waiting"
    RETRYING = "retrying"
    PAUSED = "paused"
    INTAKE_PAUSED = "intake paused"
    THROTTLED = "throttled"
    LEDGER_AWAY = "ledger away"
    ENRICHER_AWAY = "enricher away"
    EXECUTION_GONE = "execution gone"
    RECONCILER_BEHIND = "reconciler behind"
    CONFLICT = "conflict"
    NEVER_ARRIVED = "never arrived"
    NOTHING_WRONG = "nothing wrong"


@dataclass(frozen=True)
class Failure:
    """The last failure of a step that will run again. `attempt` is the one that failed, from 1."""

    step: str
    attempt: int
    error_type: str
    message: str
    next_try: datetime


@dataclass(frozen=True)
class Execution:
    """The order's execution, from Lambda. `due` is when an open wait ends, or its last event if none is open."""

    status: str
    started_at: datetime
    ended_at: datetime | None = None
    pause_reason: str | None = None
    paused_at: datetime | None = None
    waits_until: datetime | None = None
    failure: Failure | None = None
    last_event: datetime | None = None


@dataclass(frozen=True)
class Logged:
    """A line that ingest logged about the order: `message`, and the error or reason code of that line."""

    message: str
    reason: str


@dataclass(frozen=True)
class Evidence:
    """What is known about an order. The counts are of messages in a queue, approximately."""

    order_id: str
    now: datetime
    entry: LedgerEntry | None = None
    ledger_error: str | None = None
    execution: Execution | None = None
    intake: str = "Enabled"
    queued: int = 0
    dead: int = 0
    logged: tuple[Logged, ...] = ()
    reconciler: str = "Enabled"
    status_changes: int = 0


@dataclass(frozen=True)
class Why:
    """The cause, the evidence in sentences, and the command to run next, if there is one."""

    cause: Cause
    evidence: tuple[str, ...]
    next_command: str | None = None


def decide(known: Evidence) -> Why:
    """Why the order does not move."""
    if known.ledger_error is not None:
        return Why(Cause.LEDGER_AWAY, (f"the ledger cannot be read: {known.ledger_error}",), "orders doctor")
    if known.entry is not None and known.entry.state in TERMINAL:
        return _ended(known, known.entry)
    if known.execution is None:
        return _not_started(known) if known.entry is None else _gone(known.entry)
    if known.execution.status not in _NOT_ENDED:
        return _behind(known, known.execution)
    return _running(known, known.execution)


def _at(moment: datetime | None) -> str:
    """A time in the ledger's format."""
    return timestamp(moment) if moment is not None else "an unknown time"


def _ended(known: Evidence, entry: LedgerEntry) -> Why:
    evidence: tuple[str, ...] = (f"it ended {entry.state} at {entry.updated_at}",)
    retry = f"orders retry {entry.order_id}" if entry.state in RETRYABLE else None
    if entry.error is not None:
        error_type, message = entry.error["type"], entry.error["message"]
        evidence = (*evidence, f"{error_type}: {message}")
        if error_type == "ExecutionLost":
            return Why(Cause.EXECUTION_GONE, evidence, retry)
        if (cause := _unavailable(error_type, message)) is not None:
            return Why(cause, evidence, retry)
    return _conflict(known) or Why(Cause.NOTHING_WRONG, evidence, retry)


def _conflict(known: Evidence) -> Why | None:
    noted = (
        [f"its execution {noted['executionArn']} had another body" for noted in known.entry.conflicts]
        if (known.entry)
        else []
    )
    logged = ["ingest rejected another body with ORDER_CONFLICT" for line in known.logged if _is_conflict(line)]
    if not noted and not logged:
        return None
    return Why(Cause.CONFLICT, (*noted, *logged[:1]), "orders rejected")


def _is_conflict(line: Logged) -> bool:
    return line.message == "message rejected" and line.reason == "ORDER_CONFLICT"


def _unavailable(error_type: str, message: str) -> Cause | None:
    """The cause that an error of a dependency names, or None for another error."""
    if error_type not in ("LedgerUnavailable", "EnricherUnavailable"):
        return None
    if any(word in message for word in _THROTTLES):
        return Cause.THROTTLED
    return Cause.LEDGER_AWAY if error_type == "LedgerUnavailable" else Cause.ENRICHER_AWAY


def _not_started(known: Evidence) -> Why:
    counts = (f"the orders queue has {known.queued} messages, its dead-letter queue {known.dead}",)
    if known.intake not in ENABLED:
        return Why(
            Cause.INTAKE_PAUSED,
            (f"the event source mapping of the orders queue is {known.intake}", *counts),
            "orders resume --intake",
        )
    given_back = [line.reason for line in known.logged if line.message == "message given back"]
    if any(line.message == "order accepted" for line in known.logged):
        gone = "ingest started it, and neither the ledger nor Lambda has it"
        return Why(Cause.EXECUTION_GONE, (gone,), "orders recover --since 1d")  # as old as the log that was read
    if conflict := _conflict(known):
        return conflict
    if given_back:
        last = f"ingest gave its message back {len(given_back)} times: {given_back[-1]}"
        cause = Cause.THROTTLED if any(word in given_back[-1] for word in _THROTTLES) else Cause.RETRYING
        return Why(cause, (last, *counts), "orders dlq list" if known.dead else f"orders why {known.order_id}")
    return Why(
        Cause.NEVER_ARRIVED,
        ("neither the ledger, nor Lambda, nor ingest's log of the last day has it", *counts),
        f"orders why {known.order_id}" if known.queued else "orders rejected",
    )


def _gone(entry: LedgerEntry) -> Why:
    return Why(
        Cause.EXECUTION_GONE,
        (f"it is {entry.state} since {entry.updated_at}, and Lambda no longer has {entry.execution_arn}",),
        "orders check",
    )


def _behind(known: Evidence, execution: Execution) -> Why:
    recorded = known.entry.state if known.entry else "no item"
    return Why(
        Cause.RECONCILER_BEHIND,
        (
            f"the execution ended {execution.status} at {_at(execution.ended_at)}, and the ledger has {recorded}",
            f"the reconciler's event source mapping is {known.reconciler}, with {known.status_changes} messages",
        ),
        f"orders recover --since {timestamp(execution.started_at)}",
    )


def _running(known: Evidence, execution: Execution) -> Why:
    state = known.entry.state if known.entry else None
    if execution.status in ("PAUSING", "PAUSED"):
        return Why(
            Cause.PAUSED,
            (f"it is {execution.status} since {_at(execution.paused_at)}: {execution.pause_reason or 'no reason'}",),
            f"orders resume {known.order_id}",
        )
    if (failure := execution.failure) is not None:
        return _failing(known, failure)
    if conflict := _conflict(known):
        return conflict
    due = execution.waits_until or execution.last_event
    if due is not None and known.now - due > LATE:
        return Why(
            Cause.THROTTLED, (f"the execution is due since {_at(due)}, and Lambda has not run it",), "orders doctor"
        )
    if execution.waits_until is not None and state in (State.WAITING, None):
        return Why(Cause.WAITING, (f"it waits until {_at(execution.waits_until)}",))
    return Why(Cause.NOTHING_WRONG, (f"the execution is RUNNING, and the order is {state or 'starting'}",))


def _failing(known: Evidence, failure: Failure) -> Why:
    cause = _unavailable(failure.error_type, failure.message) if failure.attempt > 1 else None
    evidence = (
        f"attempt {failure.attempt} of the step {failure.step} failed: {failure.error_type}: {failure.message}",
        f"the next try is at {_at(failure.next_try)}",
    )
    return Why(cause or Cause.RETRYING, evidence, "orders doctor" if cause else f"orders why {known.order_id}")
