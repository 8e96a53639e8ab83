"""A model of one order's ledger item, and of each write to it.

`shared.ledger.owner` uses conditional writes, reads the item that refused one, and tries again. Here each write is a
plain function, one atomic step: from the item and the writer to the new item and the answer. An execution is a number,
in the order of the starts; it stands for the ARN. A body (`"A"`, `"B"`) stands for an order and its digest.
"""

import sys
from dataclasses import dataclass
from typing import NamedTuple

from shared.executions.names import MAX_ATTEMPT
from shared.ledger.owner import MAX_STARTS
from shared.ledger.states import RETRYABLE, TERMINAL, TRANSITIONS, State

EDGES = frozenset((before, after) for before, followers in TRANSITIONS.items() for after in followers)
PATH = (State.RECEIVED, State.ENRICHING, State.ENRICHED, State.WAITING, State.FINALIZING, State.COMPLETED)
"""The states of an attempt that succeeds."""

# The writers that are not executions.
RECONCILER = "reconciler"
OPERATOR = "operator"

# The answer of a write: what it wrote or found already written, or the error that it raises.
CLAIMED = "claimed"
RECORDED_ENRICHMENT = "recorded enrichment"
RECORDED_RESULT = "recorded result"
RESUMED = "resumed"
WRITTEN = "written"
ON_RECORD = "on record"
HOLDS = frozenset({WRITTEN, ON_RECORD})
ORDER_CONFLICT = "OrderConflict"
ORDER_IN_PROGRESS = "OrderInProgress"
ORDER_ENDED = "OrderEnded"
ORDER_CANCELLED = "OrderCancelled"
ORDER_FORGOTTEN = "OrderForgotten"
TOO_MANY_ATTEMPTS = "TooManyAttempts"
REFUSALS = frozenset(
    {ORDER_CONFLICT, ORDER_IN_PROGRESS, ORDER_ENDED, ORDER_CANCELLED, ORDER_FORGOTTEN, TOO_MANY_ATTEMPTS}
)
ILLEGAL_TRANSITION = "IllegalTransition"
ORDER_UNKNOWN = "OrderUnknown"
TOO_MANY_STARTS = "TooManyStarts"

# What an operator noted in an ended item.
RESUME = "resume"
"""The next attempt begins with finalize."""
OVERRULED = "overruled"
"""As RESUME, although a later plain retry asked for a whole attempt. Only without the rule `plain_retry`."""
FORGOTTEN = "forgotten"
"""The personal fields are gone, and no attempt follows."""


@dataclass(frozen=True)
class Rules:
    """The rules of the protocol. Each can be left out, to see which promise needs it."""

    fence: bool = True
    """A later write must come from the execution whose ARN is in the item. Without it: any of the same attempt."""
    predecessor: bool = True
    """The state table must allow a write from the item's present state."""
    reconciler: bool = True
    """The reconciler writes the end of an execution to the ledger, however the execution ended."""
    late_reject: bool = True
    """The reconciler rejects an ended execution's order that differs from the ledger's: ingest could not see it."""
    named_start: bool = True
    """Lambda joins a start to the execution that has its name."""
    cap: int = MAX_STARTS
    """How often enrich may start in one attempt. Without it: any number of times."""
    last_attempt: int = MAX_ATTEMPT
    """The number of the last attempt that an order may have. Without it: any number."""
    next_attempt_unmarked: bool = True
    """A mark does not hide an execution that has the name of the order's next attempt."""
    success: bool = True
    """The reconciler also settles an execution that SUCCEEDED, from its input and its result."""
    former_bodies: bool = True
    """The body of an earlier attempt of the order is not a conflict."""
    plain_retry: bool = True
    """A plain retry removes the mark of a retry from finalize."""
    same_body: bool = True
    """Only the recorded body resumes, because the enrichment belongs to it."""
    forgotten: bool = True
    """A forgotten order gets no new attempt."""
    kept_longer: bool = True
    """An item is kept until Lambda has forgotten its executions and no queue has a message of the order."""

    def without(self, rule: str) -> "Rules":
        """These rules without one. `rule` is spelled as on the command line."""
        field = rule.replace("-", "_")
        return Rules(**{**vars(self), field: sys.maxsize if field in {"cap", "last_attempt"} else False})


class Entry(NamedTuple):
    """One transition. `writer` is an execution's number, RECONCILER or OPERATOR; the ledger itself does not keep it."""

    state: State
    attempt: int
    writer: int | str


class Item(NamedTuple):
    """The ledger item. `owner` is the execution that owns the order now, `owners` the owner of each attempt in turn.

    An attempt with ENRICHED and no start of enrich was resumed, if an execution wrote it.
    """

    state: State
    attempt: int
    owner: int
    body: str
    starts: int
    history: tuple[Entry, ...]
    owners: tuple[int, ...]
    conflicts: frozenset[int]
    mark: str | None = None

    @property
    def reached(self) -> frozenset[State]:
        """The states that the present attempt has had."""
        return frozenset(entry.state for entry in self.history if entry.attempt == self.attempt)


def claim(  # noqa: C901, PLR0911 (the design's table, row by row)
    rules: Rules, item: Item | None, me: int, name: int | None, body: str
) -> tuple[Item | None, str]:
    """An execution's first write. `name` is the attempt in its name, or None if it has no name."""
    if is_beyond_the_last(rules, name):
        return item, TOO_MANY_ATTEMPTS
    if item is None:
        return _begun(None, me, name or 1, body, State.ENRICHING), CLAIMED
    if (item.owner == me) if rules.fence else (item.attempt == (name or 1)):
        if item.state in TERMINAL:
            return item, _refusal(item)
        if State.ENRICHED in item.reached:
            return item, RECORDED_ENRICHMENT if item.starts else RESUMED
        if item.starts >= rules.cap:
            return item, TOO_MANY_STARTS
        return item._replace(starts=item.starts + 1), CLAIMED
    if is_next_attempt(rules, item, name):
        if item.mark in {RESUME, OVERRULED} and (item.body == body or not rules.same_body):
            return _resumed(item, me, body), RESUMED
        return _begun(item, me, item.attempt + 1, body, State.ENRICHING), CLAIMED
    if item.body != body:
        return item, ORDER_CONFLICT
    if item.state is State.COMPLETED and item.mark != FORGOTTEN:
        return item, RECORDED_RESULT
    return item, _refusal(item)


def advance(rules: Rules, item: Item | None, me: int, targets: tuple[State, ...]) -> tuple[Item | None, str]:
    """A later write of an execution: its next state, or several states in one write."""
    if item is None:
        return item, ORDER_UNKNOWN
    if rules.fence and item.owner != me:
        return item, _refusal(item)
    if not rules.predecessor or (item.state, targets[0]) in EDGES:
        return _moved(item, targets, me), WRITTEN
    undone = item.state in RETRYABLE | {State.CANCELLED} and item.state is not targets[-1]
    if targets[-1] in item.reached and not undone:
        return item, ON_RECORD
    return item, _refusal(item) if item.state in TERMINAL else ILLEGAL_TRANSITION


def end(item: Item, status: State) -> Item:
    """The reconciler's write for an execution that owns the order and has ended."""
    return item if item.state in TERMINAL else _moved(item, (status,), RECONCILER)


def make(item: Item | None, execution: int, name: int | None, body: str, status: State) -> Item:
    """The reconciler's write for an execution that ended before its own first write: RECEIVED, then the end."""
    return _begun(item, execution, name or 1, body, status)


def complete(item: Item | None, execution: int, name: int | None, body: str) -> Item:
    """The reconciler's write for an execution that SUCCEEDED.

    Something is missing only after the item was lost or set back.
    Its own attempt goes on to COMPLETED. A missing item is written whole. An order that ended in another way gets the
    whole attempt added. An order that another execution owns and has not ended stays as it is.
    """
    if item is not None and item.state not in TERMINAL:
        return _moved(item, PATH[PATH.index(item.state) + 1 :], RECONCILER) if item.owner == execution else item
    if item is not None and item.state is State.COMPLETED:
        return item
    attempt = max(name or 1, item.attempt if item else 1)
    begun = _begun(item, execution, attempt, body, State.ENRICHING, RECONCILER)
    return _moved(begun, PATH[2:], RECONCILER)


def set_back(item: Item, version: int, bodies: tuple[str, ...]) -> Item:
    """The item as it was after its first `version` transitions. `bodies` has the body of each execution.

    The history does not say how many starts and conflicts there were then. The model takes the least that is possible.
    """
    history = item.history[:version]
    last = history[-1]
    owners = item.owners[: sum(entry.state is State.RECEIVED for entry in history)]
    own = {entry.writer for entry in history if entry.attempt == last.attempt} - {RECONCILER, OPERATOR}
    return Item(
        last.state,
        last.attempt,
        owners[-1],
        bodies[owners[-1]],
        1 if own else 0,
        history,
        owners,
        frozenset(),
    )


def versions(item: Item) -> list[int]:
    """The number of transitions after each earlier write. Some writes add two transitions, or six."""
    return [
        count
        for count, entry in enumerate(item.history[:-1], start=1)
        if entry.state not in {State.RECEIVED, State.ENRICHED}
        and (entry.state in TERMINAL or entry.writer != RECONCILER)
    ]


def cancel(item: Item) -> Item:
    """The operator's write. The caller has checked that the present state allows CANCELLED."""
    return _moved(item, (State.CANCELLED,), OPERATOR)


def unmarked(rules: Rules, item: Item) -> Item:
    """The item after the first write of a plain retry."""
    return item._replace(mark=None if rules.plain_retry or not item.mark else OVERRULED)


def is_beyond_the_last(rules: Rules, name: int | None) -> bool:
    """Whether an execution's name has a number after the last attempt."""
    return name is not None and name > rules.last_attempt


def forgotten(item: Item) -> Item:
    """The item without its personal fields."""
    return item._replace(mark=FORGOTTEN)


def is_next_attempt(rules: Rules, item: Item, name: int | None) -> bool:
    """Whether an execution with this name may start the order's next attempt."""
    if item.mark == FORGOTTEN and rules.forgotten:
        return False
    return item.state in RETRYABLE and name == item.attempt + 1


def _begun(
    item: Item | None, owner: int, attempt: int, body: str, second: State, writer: int | str | None = None
) -> Item:
    """The first two transitions of an attempt, written by its owner or by the reconciler."""
    history, owners, conflicts = (item.history, item.owners, item.conflicts) if item else ((), (), frozenset())
    if writer is None:
        writer = owner if second is State.ENRICHING else RECONCILER
    starts = 0 if writer == RECONCILER else 1
    entries = (Entry(State.RECEIVED, attempt, writer), Entry(second, attempt, writer))
    # Happens only without the rule `forgotten`. The mark stays so that it shows.
    kept = FORGOTTEN if item and item.mark == FORGOTTEN else None
    return Item(second, attempt, owner, body, starts, history + entries, (*owners, owner), conflicts, kept)


def _resumed(item: Item, owner: int, body: str) -> Item:
    """An attempt with the enrichment of the one before it, up to WAITING. An OVERRULED mark stays so that it shows."""
    begun = _begun(item, owner, item.attempt + 1, body, State.ENRICHING)
    kept = OVERRULED if item.mark == OVERRULED else None
    return _moved(begun, (State.ENRICHED, State.WAITING), owner)._replace(starts=0, mark=kept)


def _moved(item: Item, targets: tuple[State, ...], writer: int | str) -> Item:
    entries = tuple(Entry(state, item.attempt, writer) for state in targets)
    return item._replace(state=targets[-1], history=item.history + entries)


def _refusal(item: Item) -> str:
    if item.mark == FORGOTTEN:
        return ORDER_FORGOTTEN
    if item.state is State.CANCELLED:
        return ORDER_CANCELLED
    return ORDER_ENDED if item.state in TERMINAL else ORDER_IN_PROGRESS
