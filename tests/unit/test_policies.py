"""How often a step is retried, after how long, and for which errors."""

import pytest

from orchestrator import policies
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

STEPS = {"enrich": policies.enrich, "finalize": policies.write_ledger, "record-failure": policies.record_failure}
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


def delays(policy, errors):
    """Return the seconds before each retry of a step that fails with `errors`, up to the attempt without a retry."""
    granted = []
    for attempts_made, error in enumerate(errors, start=1):
        decision = policy(error, attempts_made)
        if not decision.should_retry:
            return granted
        granted.append(decision.delay_seconds)
    raise AssertionError("the policy never ends the retries")


def test_an_enricher_that_fails_is_called_three_times_after_one_and_two_seconds():
    assert delays(policies.enrich, [EnricherUnavailable("busy", calls) for calls in range(1, 9)]) == [1, 2]


def test_failures_of_the_ledger_do_not_count_as_calls_of_the_enricher():
    outage = [LedgerUnavailable("throttled")] * 5
    calls = [EnricherUnavailable("busy", calls) for calls in range(1, 9)]
    assert delays(policies.enrich, outage + calls)[5:] == [1, 2]


def test_calls_that_killed_their_process_do_not_use_up_the_enrichers_attempts():
    """They are counted as starts in the ledger, but the step has no failed attempt for them."""
    assert delays(policies.enrich, [EnricherUnavailable("busy", calls) for calls in range(4, 9)]) == [1, 2]


@pytest.mark.parametrize("name", STEPS)
def test_a_ledger_outage_is_retried_for_minutes_and_a_failure_record_for_30_s(name):
    """Two steps and the record of their failure fit into the default execution timeout of 15 minutes."""
    least, most = (10, 30) if name == "record-failure" else (3 * 60, 7 * 60)
    for _ in range(100):  # the jitter is random
        waited = delays(STEPS[name], [LedgerUnavailable("throttled")] * 99)
        assert least <= sum(waited) <= most
        assert waited[0] <= 1
        assert max(waited) <= 60


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("error", PERMANENT, ids=lambda error: type(error).__name__)
def test_a_permanent_error_is_never_retried(name, error):
    assert delays(STEPS[name], [error]) == []


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("error", UNKNOWN, ids=lambda error: type(error).__name__)
def test_an_unknown_error_is_never_retried(name, error):
    assert delays(STEPS[name], [error]) == []


@pytest.mark.parametrize("name", ["finalize", "record-failure"])
def test_only_enrich_retries_errors_of_the_enricher(name):
    assert delays(STEPS[name], [EnricherUnavailable("busy")]) == []
