"""Retrying an order: a new attempt whose name is the lock. The retry itself writes nothing."""

import pytest
from botocore.exceptions import ReadTimeoutError

from shared.errors import (
    ExecutionUnavailable,
    IllegalTransition,
    InvalidOrder,
    OrderConflict,
    OrderEnded,
    OrderUnknown,
    StartUnavailable,
    TooManyAttempts,
)
from shared.executions.names import MAX_ATTEMPT, OrderExecution, execution_of
from shared.ledger.entry import End
from shared.ledger.owner import Ledger
from shared.ledger.settlement import settle
from shared.ledger.states import RETRYABLE, State
from shared.ledger.table import unchanged
from shared.orders.order import parse_order
from tests.integration.orders import ORDER, OTHER_BODY, OWNER
from tests.unit.test_executions import ALIAS, STACK_ID, name_of
from tests.unit.transport import refusal
from tools.operations.retry import retry

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
def test_a_retry_that_joins_an_unrecorded_ended_execution_raises(kept, retried, on_lambda, status):
    """Returning the ARN of the dead execution would promise an attempt that does not run."""
    kept.put_in(State.FAILED)
    on_lambda.end(retried().execution_arn, status)
    with pytest.raises(OrderEnded, match=f"attempt 2 of order ORDER-1 was started before and ended {status}"):
        retried()


def test_after_a_dead_retry_is_recorded_the_next_attempt_is_started(ledger, kept, retried, on_lambda):
    kept.put_in(State.FAILED)
    dead = on_lambda.end(retried().execution_arn, "STOPPED")
    settle(ledger, ORDER, execution_of(ORDER, dead, STACK_ID), End(State.STOPPED, "ExecutionStopped", "stopped"))
    third = retried()
    assert third.attempt == 3
    assert on_lambda.records[third.execution_arn]["Status"] == "RUNNING"


def test_a_joined_retry_that_failed_meanwhile_is_returned_as_that_attempt(ledger, kept, retried, on_lambda):
    """It joined another retry, whose execution has been recorded in the meantime: nothing is lost."""
    kept.put_in(State.FAILED)
    arn = retried().execution_arn
    second = OrderExecution("ORDER-1", arn, 2, named=True)

    class EndsWhileLooking:
        start = on_lambda.orders.start

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
    with pytest.raises(InvalidOrder, match="coupon"):
        retried()
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
