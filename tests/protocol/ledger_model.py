"""One order's ledger item as a model, and what each write makes of it.

What `shared.ledger.owner` does with conditions, images of refused writes and second tries stands here as plain
functions: the item before, who writes, the item after and the answer, in one atomic step. Executions are numbers in the
order of their starts; a number stands for the ARN. A body (`"A"`, `"B"`) stands for an order and its digest.
"""

import sys
from dataclasses import dataclass
from typing import NamedTuple

from shared.executions.names import MAX_ATTEMPT
from shared.ledger.owner import MAX_STARTS
from shared.ledger.states import RETRYABLE, TERMINAL, TRANSITIONS, State

EDGES = frozenset((before, after) for before, followers in TRANSITIONS.items() for after in followers)

# Who writes when no execution does.
RECONCILER = "reconciler"
OPERATOR = "operator"

# What a write answers: that it holds (written now, or found on record), or the error it raises.
CLAIMED = "claimed"
RECORDED_ENRICHMENT = "recorded enrichment"
RECORDED_RESULT = "recorded result"
WRITTEN = "written"
ON_RECORD = "on record"
HOLDS = frozenset({WRITTEN, ON_RECORD})
ORDER_CONFLICT = "OrderConflict"
ORDER_IN_PROGRESS = "OrderInProgress"
ORDER_ENDED = "OrderEnded"
ORDER_CANCELLED = "OrderCancelled"
TOO_MANY_ATTEMPTS = "TooManyAttempts"
REFUSALS = frozenset({ORDER_CONFLICT, ORDER_IN_PROGRESS, ORDER_ENDED, ORDER_CANCELLED, TOO_MANY_ATTEMPTS})
ILLEGAL_TRANSITION = "IllegalTransition"
ORDER_UNKNOWN = "OrderUnknown"
TOO_MANY_STARTS = "TooManyStarts"


@dataclass(frozen=True)
class Rules:
    """What the protocol rests on. Each rule can be taken out, to see what it is there for."""

    fence: bool = True
    """A later write must come from the execution whose ARN the item names. Out: its attempt's number is enough."""
    predecessor: bool = True
    """A write must come from a state that the table allows."""
    reconciler: bool = True
    """An execution's end is brought to the ledger, however the execution ended."""
    late_reject: bool = True
    """The order of an ended execution that is not the ledger's order is rejected, once ingest could not see it."""
    named_start: bool = True
    """Lambda joins a start to the execution that has its name."""
    cap: int = MAX_STARTS
    """How often enrich may begin in one attempt. Out: for ever."""
    last_attempt: int = MAX_ATTEMPT
    """The last attempt that an order may have. Out: any number."""
    next_attempt_unmarked: bool = True
    """A mark does not hide an execution that has the name of the order's next attempt."""

    def without(self, rule: str) -> "Rules":
        """These rules but one; `rule` as the command line writes it."""
        field = rule.replace("-", "_")
        return Rules(**{**vars(self), field: sys.maxsize if field in {"cap", "last_attempt"} else False})


class Entry(NamedTuple):
    """One transition. `writer` is an execution's number, RECONCILER or OPERATOR; the ledger itself does not keep it."""

    state: State
    attempt: int
    writer: int | str


class Item(NamedTuple):
    """The ledger item. `owner` is who owns the order now, `owners` who owned each attempt, the present one last."""

    state: State
    attempt: int
    owner: int
    body: str
    starts: int
    history: tuple[Entry, ...]
    owners: tuple[int, ...]
    conflicts: frozenset[int]

    @property
    def reached(self) -> frozenset[State]:
        """The states of the present attempt."""
        return frozenset(entry.state for entry in self.history if entry.attempt == self.attempt)


def claim(  # noqa: PLR0911 (the design's table, row by row)
    rules: Rules, item: Item | None, me: int, name: int | None, body: str
) -> tuple[Item | None, str]:
    """An execution's first write. `name` is the attempt that its name says, None where it has no name."""
    if is_beyond_the_last(rules, name):
        return item, TOO_MANY_ATTEMPTS
    if item is None:
        return _begun(None, me, name or 1, body, State.ENRICHING), CLAIMED
    if (item.owner == me) if rules.fence else (item.attempt == (name or 1)):
        if item.state in TERMINAL:
            return item, _refusal(item)
        if State.ENRICHED in item.reached:
            return item, RECORDED_ENRICHMENT
        if item.starts >= rules.cap:
            return item, TOO_MANY_STARTS
        return item._replace(starts=item.starts + 1), CLAIMED
    if is_next_attempt(item, name):
        return _begun(item, me, item.attempt + 1, body, State.ENRICHING), CLAIMED
    if item.body != body:
        return item, ORDER_CONFLICT
    if item.state is State.COMPLETED:
        return item, RECORDED_RESULT
    return item, _refusal(item)


def advance(rules: Rules, item: Item | None, me: int, targets: tuple[State, ...]) -> tuple[Item | None, str]:
    """A later write of an execution: its next state, or states that it reaches together."""
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
    """The reconciler's write for an execution that ended before its first write: RECEIVED and its end."""
    return _begun(item, execution, name or 1, body, status)


def cancel(item: Item) -> Item:
    """The operator's write; legal from the states that have CANCELLED after them."""
    return _moved(item, (State.CANCELLED,), OPERATOR)


def is_beyond_the_last(rules: Rules, name: int | None) -> bool:
    """Whether an execution is named for an attempt that no order may have."""
    return name is not None and name > rules.last_attempt


def is_next_attempt(item: Item, name: int | None) -> bool:
    """Whether an execution of this name may begin the order again."""
    return item.state in RETRYABLE and name == item.attempt + 1


def _begun(item: Item | None, owner: int, attempt: int, body: str, second: State) -> Item:
    """The first two transitions of an attempt: the owner's own, which begin to enrich, or the reconciler's."""
    history, owners, conflicts = (item.history, item.owners, item.conflicts) if item else ((), (), frozenset())
    writer, starts = (owner, 1) if second is State.ENRICHING else (RECONCILER, 0)
    entries = (Entry(State.RECEIVED, attempt, writer), Entry(second, attempt, writer))
    return Item(second, attempt, owner, body, starts, history + entries, (*owners, owner), conflicts)


def _moved(item: Item, targets: tuple[State, ...], writer: int | str) -> Item:
    entries = tuple(Entry(state, item.attempt, writer) for state in targets)
    return item._replace(state=targets[-1], history=item.history + entries)


def _refusal(item: Item) -> str:
    if item.state is State.CANCELLED:
        return ORDER_CANCELLED
    return ORDER_ENDED if item.state in TERMINAL else ORDER_IN_PROGRESS
