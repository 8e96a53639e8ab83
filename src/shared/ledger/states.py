"""The states of an order and the steps between them, as data.

`TRANSITIONS` feeds the ledger's conditions, the check in code, a test over every pair of states
and the diagram in `docs/states.md`.
"""

from collections.abc import Mapping
from enum import StrEnum


class State(StrEnum):
    """Where an order is, in the words the ledger stores."""

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


RETRYABLE = frozenset({State.FAILED, State.TIMED_OUT, State.STOPPED})
"""Ends that a new attempt may follow."""

TERMINAL = RETRYABLE | {State.COMPLETED, State.CANCELLED}
"""States in which no execution works on the order."""

TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.RECEIVED: RETRYABLE | {State.ENRICHING, State.CANCELLED},
    State.ENRICHING: RETRYABLE | {State.ENRICHED, State.CANCELLED},
    State.ENRICHED: RETRYABLE | {State.WAITING, State.CANCELLED},
    State.WAITING: RETRYABLE | {State.FINALIZING, State.CANCELLED},
    # The point of no return: what finalize does cannot be taken back by a cancel.
    State.FINALIZING: RETRYABLE | {State.COMPLETED},
    State.COMPLETED: frozenset(),
    State.FAILED: frozenset({State.RECEIVED}),
    State.TIMED_OUT: frozenset({State.RECEIVED}),
    State.STOPPED: frozenset({State.RECEIVED}),
    State.CANCELLED: frozenset(),
}


def predecessors(state: State) -> tuple[State, ...]:
    """The states from which `state` may follow, in the order of the path."""
    return tuple(before for before, after in TRANSITIONS.items() if state in after)
