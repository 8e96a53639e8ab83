"""The states of an order and the transitions between them, as data.

`TRANSITIONS` is the source of the ledger's conditions, of a test over every pair of states and of the diagram in
`docs/states.md`.
"""

from collections.abc import Mapping
from enum import StrEnum


class State(StrEnum):
    """The state of an order, as the ledger stores it."""

    RECEIVED = "RECEIVED"
    ENRICHING = "ENRICHING"
    ENRICHED = "ENRICHED"
    WAITING = "WAITING"
    FINALIZING = "FINALIZING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"
    STOPPED = "STOPPED"
    CANCELLED = "CANCELLED"


MEANINGS: Mapping[State, str] = {
    State.RECEIVED: "An execution has claimed the order.",
    State.ENRICHING: "The execution calls the enricher.",
    State.ENRICHED: "The enricher's answer is in the ledger.",
    State.WAITING: "The execution is suspended and uses no compute.",
    State.FINALIZING: "The point of no return: the order can no longer be cancelled.",
    State.COMPLETED: "The order is finalized and its result is in the ledger.",
    State.FAILED: "The attempt failed; `error` in the ledger says why.",
    State.TIMED_OUT: "The execution ran longer than its timeout.",
    State.STOPPED: "The execution was stopped.",
    State.CANCELLED: "The order was cancelled.",
}
"""What each state says about the order, for the documentation."""

PATH = (State.RECEIVED, State.ENRICHING, State.ENRICHED, State.WAITING, State.FINALIZING, State.COMPLETED)
"""The states of an attempt that completes, in order."""

RETRYABLE = frozenset({State.FAILED, State.TIMED_OUT, State.STOPPED})
"""Terminal states that a new attempt may follow."""

TERMINAL = RETRYABLE | {State.COMPLETED, State.CANCELLED}
"""States in which no execution works on the order."""

TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.RECEIVED: RETRYABLE | {State.ENRICHING, State.CANCELLED},
    State.ENRICHING: RETRYABLE | {State.ENRICHED, State.CANCELLED},
    State.ENRICHED: RETRYABLE | {State.WAITING, State.CANCELLED},
    State.WAITING: RETRYABLE | {State.FINALIZING, State.CANCELLED},
    # The point of no return: a cancel cannot undo what finalize does.
    State.FINALIZING: RETRYABLE | {State.COMPLETED},
    State.COMPLETED: frozenset(),
    State.FAILED: frozenset({State.RECEIVED}),
    State.TIMED_OUT: frozenset({State.RECEIVED}),
    State.STOPPED: frozenset({State.RECEIVED}),
    State.CANCELLED: frozenset(),
}


def predecessors(state: State) -> tuple[State, ...]:
    """The states that `state` may follow, in the order of `State`."""
    return tuple(before for before, after in TRANSITIONS.items() if state in after)
