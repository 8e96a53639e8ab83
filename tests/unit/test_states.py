"""The transitions between states are those of the design's diagram, which is copied here."""

import itertools

import pytest

from shared.ledger.states import RETRYABLE, TERMINAL, TRANSITIONS, State, predecessors

ARROWS = {
    # the path of an order
    ("RECEIVED", "ENRICHING"),
    ("ENRICHING", "ENRICHED"),
    ("ENRICHED", "WAITING"),
    ("WAITING", "FINALIZING"),
    ("FINALIZING", "COMPLETED"),
    # it may fail, time out or be stopped in any state of the path
    ("RECEIVED", "FAILED"),
    ("RECEIVED", "TIMED_OUT"),
    ("RECEIVED", "STOPPED"),
    ("ENRICHING", "FAILED"),
    ("ENRICHING", "TIMED_OUT"),
    ("ENRICHING", "STOPPED"),
    ("ENRICHED", "FAILED"),
    ("ENRICHED", "TIMED_OUT"),
    ("ENRICHED", "STOPPED"),
    ("WAITING", "FAILED"),
    ("WAITING", "TIMED_OUT"),
    ("WAITING", "STOPPED"),
    ("FINALIZING", "FAILED"),
    ("FINALIZING", "TIMED_OUT"),
    ("FINALIZING", "STOPPED"),
    # it may be cancelled until it is being finalized
    ("RECEIVED", "CANCELLED"),
    ("ENRICHING", "CANCELLED"),
    ("ENRICHED", "CANCELLED"),
    ("WAITING", "CANCELLED"),
    # a retry
    ("FAILED", "RECEIVED"),
    ("TIMED_OUT", "RECEIVED"),
    ("STOPPED", "RECEIVED"),
}
STATES = [
    "RECEIVED",
    "ENRICHING",
    "ENRICHED",
    "WAITING",
    "FINALIZING",
    "COMPLETED",
    "FAILED",
    "TIMED_OUT",
    "STOPPED",
    "CANCELLED",
]


def test_the_states_are_those_of_the_design():
    assert [state.value for state in State] == STATES
    assert set(TRANSITIONS) == set(State)


@pytest.mark.parametrize(("before", "after"), list(itertools.product(STATES, STATES)))
def test_the_transitions_are_those_of_the_design(before, after):
    assert (State(after) in TRANSITIONS[State(before)]) == ((before, after) in ARROWS)


@pytest.mark.parametrize("end", [State.COMPLETED, State.CANCELLED])
def test_nothing_follows_an_order_that_is_completed_or_cancelled(end):
    assert TRANSITIONS[end] == frozenset()


def test_an_order_that_is_being_finalized_cannot_be_cancelled():
    assert State.CANCELLED not in TRANSITIONS[State.FINALIZING]


def test_only_a_retry_follows_an_end():
    assert {state for state in State if TRANSITIONS[state] <= {State.RECEIVED}} == TERMINAL
    assert {state for state in State if TRANSITIONS[state] == {State.RECEIVED}} == RETRYABLE


def test_completed_follows_only_finalizing():
    assert predecessors(State.COMPLETED) == (State.FINALIZING,)


@pytest.mark.parametrize(("before", "after"), list(itertools.product(State, State)))
def test_predecessors_are_the_transitions_read_backwards(before, after):
    assert (before in predecessors(after)) == (after in TRANSITIONS[before])


@pytest.mark.parametrize("state", list(State))
def test_predecessors_come_in_the_order_of_the_path_and_once_each(state):
    found = predecessors(state)
    assert list(found) == sorted(set(found), key=list(State).index)
