"""Retrying an order: a new attempt whose name is the lock. A retry writes nothing, but for the mark of FINALIZING."""

import pytest
from botocore.exceptions import ReadTimeoutError

from shared.errors import (
    ExecutionUnavailable,
    IllegalTransition,
    InvalidOrder,
    NotResumable,
    OrderConflict,
    OrderEnded,
    OrderUnknown,
    StartUnavailable,
    TooManyAttempts,
)
from shared.executions.names import MAX_ATTEMPT, OrderExecution, execution_of
from shared.ledger.entry import End
from shared.ledger.owner import Claimed, Ledger
from shared.ledger.settlement import settle
from shared.ledger.states import RETRYABLE, State
from shared.ledger.table import unchanged
from shared.orders.order import parse_order
from tests.integration.executions import FINALIZATION
from tests.integration.orders import ORDER, OTHER_BODY, OWNER
from tests.unit.executions import ALIAS, STACK_ID, name_of
from tests.unit.transport import refusal
from tools.operations.retry import retry, what_will_run_again

ENDED = sorted(RETRYABLE)


@pytest.fixture
def retried(ledger, on_lambda):
    return lambda corrected=None: retry("ORDER-1", ledger, on_lambda.orders, corrected)


@pytest.mark.parametrize("state", ENDED)
def test_an_ended_order_is_started_as_its_next_attempt_with_the_recorded_body(kept, retried, on_lambda, state):
    kept.put_in(state)
    before = kept.item()
    started = retried()
    assert started.attempt == 2
    assert kept.item() == before
    record = on_lambda.records[started.execution_arn]
    assert record["DurableExecutionName"] == name_of("ORDER-1", 2)
    assert record["InputPayload"].encode() == ORDER.canonical_bytes()


@pytest.mark.parametrize("state", ENDED)
def test_the_started_execution_claims_the_order(ledger, kept, retried, state):
    kept.put_in(state)
    arn = retried().execution_arn
    Ledger(ledger).claim(ORDER, execution_of(ORDER, arn, STACK_ID))
    entry = ledger.get("ORDER-1")
    assert (entry.attempt, entry.execution_arn, entry.state) == (2, arn, State.ENRICHING)
    assert [step.detail for step in entry.history if step.attempt == 2] == ["retried", None]


@pytest.mark.parametrize("state", [state for state in State if state not in RETRYABLE])
def test_an_order_that_has_not_failed_is_not_retried(kept, retried, on_lambda, state):
    kept.put_in(state)
    before = kept.item()
    with pytest.raises(IllegalTransition, match=f"order ORDER-1 is {state}: only a FAILED, STOPPED, TIMED_OUT order"):
        retried()
    assert kept.item() == before
    assert on_lambda.asked == []


def test_an_unknown_order_is_not_retried(retried, on_lambda):
    with pytest.raises(OrderUnknown, match="ORDER-1"):
        retried()
    assert on_lambda.asked == []


def test_a_corrected_order_is_started_with_its_own_body(kept, retried, on_lambda):
    kept.put_in(State.FAILED)
    record = on_lambda.records[retried(OTHER_BODY).execution_arn]
    assert record["InputPayload"].encode() == OTHER_BODY.canonical_bytes()


def test_a_correction_of_another_order_is_refused_before_anything_starts(kept, retried, on_lambda):
    kept.put_in(State.FAILED)
    with pytest.raises(InvalidOrder, match="orderId: the correction is of order ORDER-2"):
        retried(parse_order('{"orderId": "ORDER-2"}'))
    assert on_lambda.asked == []


def test_two_retries_are_one_execution(kept, retried, on_lambda):
    kept.put_in(State.FAILED)
    assert retried() == retried()
    assert len(on_lambda.records) == 1


def test_a_second_retry_with_another_body_is_refused(kept, retried, on_lambda):
    kept.put_in(State.FAILED)
    retried()
    with pytest.raises(OrderConflict):
        retried(OTHER_BODY)
    assert len(on_lambda.records) == 1


@pytest.mark.parametrize("status", ENDED)
def test_a_retry_that_joins_an_unrecorded_ended_execution_records_that_and_raises(kept, retried, on_lambda, status):
    """Returning the ARN of the dead execution would promise an attempt that does not run."""
    kept.put_in(State.FAILED)
    on_lambda.end(retried().execution_arn, status)
    with pytest.raises(OrderEnded, match=f"attempt 2 of order ORDER-1 was started before and ended {status}"):
        retried()
    assert (kept.item()["state"], kept.item()["attempt"]) == (status, 2)
    third = retried()
    assert third.attempt == 3
    assert on_lambda.records[third.execution_arn]["Status"] == "RUNNING"


def test_a_retry_of_an_item_that_was_set_back_joins_the_success_and_records_it(kept, retried, on_lambda):
    kept.put_in(State.FAILED)
    succeeded = on_lambda.succeed(ORDER, name_of("ORDER-1", 2))
    assert retried().execution_arn == succeeded
    item = kept.item()
    assert (item["state"], item["attempt"], item["result"]) == ("COMPLETED", 2, FINALIZATION)
    assert len(on_lambda.records) == 1


def test_a_joined_retry_that_failed_meanwhile_is_returned_as_that_attempt(ledger, kept, retried, on_lambda):
    """It joined another retry, whose execution has been recorded in the meantime: nothing is lost."""
    kept.put_in(State.FAILED)
    arn = retried().execution_arn
    second = OrderExecution("ORDER-1", arn, 2, named=True)

    class EndsWhileLooking:
        start = on_lambda.orders.start
        stack_id = STACK_ID

        def get(self, execution_arn):
            Ledger(ledger).claim(ORDER, second)
            Ledger(ledger).failed(second, "Broken", "again")
            on_lambda.end(arn, "FAILED")
            return on_lambda.orders.get(execution_arn)

    assert retry("ORDER-1", ledger, EndsWhileLooking()).execution_arn == arn


def test_a_retry_whose_execution_is_not_found_is_returned_as_started(kept, retried, on_lambda):
    kept.put_in(State.FAILED)
    on_lambda.fail("GetDurableExecution", refusal(404, "ResourceNotFoundException"))
    assert retried().attempt == 2


def test_a_start_that_lambda_refuses_starts_nothing_and_can_be_repeated(kept, retried, on_lambda):
    kept.put_in(State.FAILED)
    on_lambda.fail("Invoke", refusal(429, "TooManyRequestsException"))
    with pytest.raises(StartUnavailable):
        retried()
    assert on_lambda.records == {}
    assert retried().attempt == 2


def test_a_retry_that_could_not_be_read_has_started_and_can_be_repeated(kept, retried, on_lambda):
    kept.put_in(State.FAILED)
    on_lambda.fail("GetDurableExecution", ReadTimeoutError(endpoint_url=ALIAS))
    with pytest.raises(ExecutionUnavailable):
        retried()
    (arn,) = on_lambda.records
    assert retried().execution_arn == arn


def test_a_recorded_order_that_is_no_longer_valid_is_refused_with_its_fields(ledger, kept, retried, on_lambda):
    """The order was recorded by a version with one more field."""
    entry = kept.put_in(State.FAILED)
    ledger.update("ORDER-1", {"order": {**entry.order, "coupon": "SPRING"}}, unchanged(entry))
    with pytest.raises(InvalidOrder) as refused:
        retried()
    assert [error.field for error in refused.value.errors] == ["coupon"]
    assert on_lambda.asked == []


def test_an_order_cannot_be_retried_after_its_last_attempt(kept, retried, on_lambda):
    """An execution that was started by hand can have this attempt in its name."""
    kept.put_in(State.FAILED, owner=OrderExecution("ORDER-1", "arn:last", MAX_ATTEMPT, named=True))
    with pytest.raises(TooManyAttempts, match=f"an order has at most {MAX_ATTEMPT} attempts"):
        retried()
    assert on_lambda.asked == []


def test_a_late_process_of_the_attempt_before_is_refused_by_the_retry(ledger, kept, retried):
    kept.put_in(State.FAILED)
    Ledger(ledger).claim(ORDER, execution_of(ORDER, retried().execution_arn, STACK_ID))
    before = kept.item()
    assert settle(ledger, ORDER, OWNER, End(State.STOPPED, "ExecutionStopped", "late")).name == "AGREED"
    assert kept.item() == before


# ── from FINALIZING ──────────────────────────────────────────────────────────────────────────────────


ENRICHED_BEFORE = {"statusCode": 200}


@pytest.fixture
def resumed(ledger, on_lambda):
    return lambda corrected=None: retry("ORDER-1", ledger, on_lambda.orders, corrected, from_finalize=True)


@pytest.fixture
def claimed(ledger):
    return lambda started, order=ORDER: Ledger(ledger).claim(
        order, execution_of(order, started.execution_arn, STACK_ID)
    )


@pytest.mark.parametrize("state", ENDED)
def test_a_retry_from_finalizing_keeps_the_enrichment_and_reaches_waiting_in_one_update(
    ledger, kept, resumed, claimed, on_lambda, state
):
    before = kept.put_in(state)
    started = resumed()
    assert (started.attempt, started.from_finalize) == (2, True)
    assert on_lambda.records[started.execution_arn]["InputPayload"].encode() == ORDER.canonical_bytes()
    assert kept.item()["version"] == before.version
    assert claimed(started) == Claimed(0, ENRICHED_BEFORE, resumed=True)
    entry = ledger.get("ORDER-1")
    steps = [step for step in entry.history if step.attempt == 2]
    assert [step.state for step in steps] == [State.RECEIVED, State.ENRICHING, State.ENRICHED, State.WAITING]
    assert len({step.at for step in steps}) == 1
    assert [step.detail for step in steps] == ["retried from FINALIZING", None, None, None]
    assert (entry.enrichment, entry.resume_from, entry.error) == (ENRICHED_BEFORE, None, None)


def test_a_resumed_claim_that_is_repeated_is_resumed_again_and_writes_nothing(kept, resumed, claimed):
    kept.put_in(State.FAILED)
    started = resumed()
    claimed(started)
    before = kept.item()
    assert claimed(started) == Claimed(0, ENRICHED_BEFORE, resumed=True)
    assert kept.item() == before


def test_a_plain_retry_removes_a_mark_whose_attempt_was_never_started(kept, retried, resumed, claimed, on_lambda):
    kept.put_in(State.FAILED)
    on_lambda.fail("Invoke", refusal(429, "TooManyRequestsException"))
    with pytest.raises(StartUnavailable):
        resumed()
    assert kept.item()["resumeFrom"] == "FINALIZING"
    started = retried()
    assert started.from_finalize is False
    assert "resumeFrom" not in kept.item()
    assert claimed(started) == Claimed(1)


def test_each_of_two_retries_says_which_of_them_the_ledger_has(ledger, kept, retried, resumed, on_lambda):
    kept.put_in(State.FAILED)

    class OverruledWhileStarting:
        stack_id = STACK_ID
        get = on_lambda.orders.get

        def start(self, order, attempt):
            retried()
            return on_lambda.orders.start(order, attempt)

    overruled = retry("ORDER-1", ledger, OverruledWhileStarting(), from_finalize=True)
    assert overruled.from_finalize is False
    assert resumed().from_finalize is True
    assert len(on_lambda.records) == 1


def test_a_retry_that_lost_the_race_for_the_mark_decides_again(ledger, kept, resumed, on_lambda):
    kept.put_in(State.FAILED)
    marked = kept.before_write(resumed)
    assert resumed().from_finalize is True
    assert marked == []
    assert len(on_lambda.records) == 1


def test_a_mark_set_between_the_read_and_the_write_of_a_claim_counts(kept, retried, resumed, claimed):
    kept.put_in(State.FAILED)
    started = retried()
    kept.before_write(lambda: None, resumed)
    assert claimed(started).resumed


def test_another_body_does_not_get_the_recorded_enrichment(ledger, kept, retried, resumed, claimed):
    kept.put_in(State.FAILED)
    started = retried(OTHER_BODY)
    with pytest.raises(OrderConflict):
        resumed()
    assert claimed(started, OTHER_BODY) == Claimed(1)
    entry = ledger.get("ORDER-1")
    assert (entry.state, entry.enrichment, entry.resume_from) == (State.ENRICHING, None, None)


def test_a_correction_is_not_retried_from_finalizing(kept, resumed, on_lambda):
    kept.put_in(State.FAILED)
    with pytest.raises(NotResumable, match="order ORDER-1: a corrected order cannot be retried from FINALIZING"):
        resumed(OTHER_BODY)
    assert "resumeFrom" not in kept.item()
    assert on_lambda.asked == []


def test_an_order_without_an_enrichment_is_not_retried_from_finalizing(ledger, kept, resumed, on_lambda):
    end = End(State.FAILED, "EnricherUnavailable", "away")
    Ledger(ledger).claim(ORDER, OWNER)
    Ledger(ledger).failed(OWNER, end.error_type, end.message)
    with pytest.raises(NotResumable, match="order ORDER-1: attempt 1 has no recorded enrichment"):
        resumed()
    assert "resumeFrom" not in kept.item()
    assert on_lambda.asked == []


@pytest.mark.parametrize("state", [State.CANCELLED, State.COMPLETED, State.WAITING])
def test_an_order_that_cannot_be_retried_is_not_retried_from_finalizing(kept, resumed, on_lambda, state):
    kept.put_in(state)
    with pytest.raises(IllegalTransition, match=f"order ORDER-1 is {state}"):
        resumed()
    assert on_lambda.asked == []


def test_a_resumed_attempt_that_died_before_its_claim_needs_a_plain_retry(kept, resumed, retried, on_lambda):
    kept.put_in(State.FAILED)
    on_lambda.end(resumed().execution_arn, "FAILED")
    with pytest.raises(OrderEnded):
        resumed()
    assert {"resumeFrom", "enrichment"} & set(kept.item()) == set()
    with pytest.raises(NotResumable):
        resumed()
    assert retried().attempt == 3


def test_what_will_run_again_is_known_before_a_retry(kept):
    entry = kept.put_in(State.FAILED)
    assert what_will_run_again(entry, from_finalize=False) == ("enrich", "wait", "finalize")
    assert what_will_run_again(entry, from_finalize=True) == ("finalize",)
    with pytest.raises(NotResumable):
        what_will_run_again(entry, OTHER_BODY, from_finalize=True)
