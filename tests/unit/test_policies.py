"""How often a step is tried again, after how long, and for which errors."""

import pytest

from orchestrator.policies import ENRICH, FINALIZE, RECORD_FAILURE
from shared.errors import (
    EnricherUnavailable,
    EnrichmentRejected,
    IllegalTransition,
    InvalidOrder,
    LedgerRejected,
    LedgerUnavailable,
    OrderCancelled,
    OrderConflict,
    OrderEnded,
    OrderInProgress,
    StartUnavailable,
    TooManyStarts,
)

STEPS = {"enrich": ENRICH, "finalize": FINALIZE, "record-failure": RECORD_FAILURE}
PERMANENT = [
    OrderConflict("x"),
    OrderInProgress("x"),
    OrderEnded("x"),
    OrderCancelled("x"),
    IllegalTransition("x"),
    LedgerRejected("x"),
    EnrichmentRejected("x"),
    TooManyStarts("x"),
    InvalidOrder([]),
]
UNKNOWN = [ValueError("x"), KeyError("x"), TypeError("x"), TimeoutError("x"), StartUnavailable("x"), Exception("x")]


def delays(config, errors):
    """The seconds before each further attempt, while the policy grants one to a step that fails with `errors`."""
    granted = []
    for attempts_made, error in enumerate(errors, start=1):
        decision = config.retry_strategy(error, attempts_made)
        if not decision.should_retry:
            return granted
        granted.append(decision.delay_seconds)
    raise AssertionError("the step is still tried")


def test_an_enricher_that_fails_is_called_three_times_after_one_and_two_seconds():
    assert delays(ENRICH, [EnricherUnavailable("busy", calls) for calls in range(1, 9)]) == [1, 2]


def test_failures_of_the_ledger_before_it_do_not_use_up_the_enrichers_attempts():
    outage = [LedgerUnavailable("throttled")] * 5
    calls = [EnricherUnavailable("busy", calls) for calls in range(1, 9)]
    assert delays(ENRICH, outage + calls)[5:] == [1, 2]


def test_processes_that_died_calling_the_enricher_do_not_use_up_its_attempts():
    """They left no failed attempt behind, only their starts in the ledger."""
    assert delays(ENRICH, [EnricherUnavailable("busy", calls) for calls in range(4, 9)]) == [1, 2]


@pytest.mark.parametrize("name", STEPS)
def test_an_outage_of_the_ledger_is_sat_out_for_minutes_and_the_last_word_tried_for_half_a_one(name):
    """Two steps and the record of their failure fit into the default execution timeout of 15 minutes."""
    least, most = (10, 30) if name == "record-failure" else (3 * 60, 7 * 60)
    for _ in range(100):  # each draws its own jitter
        waited = delays(STEPS[name], [LedgerUnavailable("throttled")] * 99)
        assert least <= sum(waited) <= most
        assert waited[0] <= 1
        assert max(waited) <= 60


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("error", PERMANENT, ids=lambda error: type(error).__name__)
def test_a_permanent_error_is_never_tried_again(name, error):
    assert delays(STEPS[name], [error]) == []


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("error", UNKNOWN, ids=lambda error: type(error).__name__)
def test_an_error_that_no_policy_knows_is_never_tried_again(name, error):
    assert delays(STEPS[name], [error]) == []


@pytest.mark.parametrize("name", ["finalize", "record-failure"])
def test_a_step_that_only_writes_does_not_know_the_enrichers_errors(name):
    assert delays(STEPS[name], [EnricherUnavailable("busy")]) == []


def test_every_step_of_the_workflow_names_its_policy():
    for config in STEPS.values():
        assert config.retry_strategy is not None
