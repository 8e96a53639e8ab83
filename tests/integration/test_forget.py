"""Forgetting an order: its personal fields and its executions are gone, and nothing brings them back."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ReadTimeoutError

from shared.errors import (
    ExecutionUnavailable,
    IllegalTransition,
    OrderConflict,
    OrderForgotten,
    OrderUnknown,
)
from shared.executions.names import OrderExecution, execution_of
from shared.ledger.entry import Completion, End, marshalled
from shared.ledger.owner import Ledger
from shared.ledger.settlement import Settlement, note_conflict, settle
from shared.ledger.states import RETRYABLE, TERMINAL, State
from tests.integration.executions import ENRICHMENT, FINALIZATION
from tests.integration.orders import ORDER, OTHER_BODY
from tests.unit.executions import ALIAS, STACK_ID, name_of
from tools.operations.check import check
from tools.operations.copy_back import CopiedBack, copy_back
from tools.operations.forget import NOT_REACHED, forget
from tools.operations.ledger_items import LedgerItems
from tools.operations.recover import recover
from tools.operations.retry import retry, what_will_run_again

PERSONAL = ("CUST-1", "web", "statusCode", "it broke", "by hand", "14.37", "processedAt")


@pytest.fixture
def owner(on_lambda):
    """The ended execution of attempt 1."""
    return OrderExecution(
        "ORDER-1", on_lambda.end(on_lambda.begin(ORDER, name_of("ORDER-1", 1)), "FAILED"), 1, named=True
    )


@pytest.fixture
def forgets(ledger, on_lambda):
    return lambda: forget("ORDER-1", ledger, on_lambda.orders)


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_an_ended_order_keeps_only_its_states_times_and_digests(ledger, kept, forgets, on_lambda, owner, state):
    kept.put_in(state, owner=owner)
    note_conflict(ledger, "ORDER-1", on_lambda.end(on_lambda.begin(OTHER_BODY), "FAILED"))
    ledger.update("ORDER-1", {"executionStatus": "STOPPED", "customerId": "CUST-1"}, unchanged_details(kept))
    before = kept.item()
    done = forgets()
    item = kept.item()
    assert set(before) - set(item) <= {"customerId", "enrichment", "result", "error", "errorType", "executionStatus"}
    assert "errorType" not in item
    assert item["order"] == {"orderId": "ORDER-1"}
    same = ("state", "attempt", "version", "orderDigest", "executionArn", "updatedAt", "stateShard", "conflicts")
    assert {name: item[name] for name in same} == {name: before[name] for name in same}
    stays = ("state", "at", "attempt", "executionArn")
    assert item["history"] == [{name: step[name] for name in stays if name in step} for step in before["history"]]
    assert [text for text in PERSONAL if text in json.dumps(item)] == []
    assert on_lambda.records == {}
    assert (done.forgotten_at, done.not_reached) == (item["forgottenAt"], NOT_REACHED)
    assert ledger.get("ORDER-1").forgotten_at == item["forgottenAt"]


def unchanged_details(kept):
    """A condition that holds; and a text of a person in each entry of the history."""
    from shared.ledger.table import Condition

    history = [{**step, "detail": "by hand"} for step in kept.item()["history"]]
    kept._ledger.update("ORDER-1", {"history": history}, Condition("attribute_exists(orderId)"))
    return Condition("attribute_exists(orderId)")


@pytest.mark.parametrize("state", [state for state in State if state not in TERMINAL])
def test_an_order_that_has_not_ended_is_not_forgotten(kept, forgets, on_lambda, state):
    kept.put_in(state)
    before = kept.item()
    with pytest.raises(IllegalTransition, match=f"order ORDER-1 is {state}: only an order that has ended"):
        forgets()
    assert kept.item() == before
    assert on_lambda.asked == []


def test_an_unknown_order_is_not_forgotten(forgets):
    with pytest.raises(OrderUnknown, match="ORDER-1"):
        forgets()


def test_a_forget_that_ended_half_way_deletes_the_rest_when_it_is_run_again(kept, forgets, on_lambda, owner):
    kept.put_in(State.FAILED, owner=owner)
    on_lambda.fail("DeleteDurableExecution", ReadTimeoutError(endpoint_url=ALIAS))
    with pytest.raises(ExecutionUnavailable):
        forgets()
    first = kept.item()
    assert first["order"] == {"orderId": "ORDER-1"}
    assert forgets().deleted == (owner.arn,)
    assert on_lambda.records == {}
    assert kept.item() == first
    assert forgets().forgotten_at == first["forgottenAt"]


def test_an_execution_that_still_runs_is_stopped_and_deleted(kept, forgets, on_lambda):
    arn = on_lambda.begin(ORDER, name_of("ORDER-1", 1))
    kept.put_in(State.COMPLETED, owner=OrderExecution("ORDER-1", arn, 1, named=True))
    forgets()
    assert on_lambda.records == {}
    assert on_lambda.count("StopDurableExecution") == 1


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_a_redelivered_message_neither_runs_nor_is_rejected(
    ledger, kept, forgets, on_lambda, owner, examiner, sqs, rejected, state
):
    """Lambda may give the name of a deleted execution to another."""
    kept.put_in(state, owner=owner)
    forgets()
    before = kept.item()
    arn = on_lambda.orders.start(ORDER)
    with pytest.raises(OrderForgotten, match=f"order ORDER-1 is {state} .* and was forgotten"):
        Ledger(ledger).claim(ORDER, execution_of(ORDER, arn, STACK_ID))
    on_lambda.end(arn, "FAILED", "OrderForgotten", "order ORDER-1 is forgotten")
    examiner.examine_execution(arn, "FAILED")
    reads = on_lambda.count("GetDurableExecution")
    examiner.examine_execution(arn, "FAILED")
    assert on_lambda.count("GetDurableExecution") == reads
    assert kept.item() == before
    assert "Messages" not in sqs.receive_message(QueueUrl=rejected._queue_url)


def test_another_body_of_a_forgotten_order_is_still_a_conflict(ledger, kept, forgets, owner):
    kept.put_in(State.FAILED, owner=owner)
    forgets()
    other = OrderExecution("ORDER-1", "arn:other", 1, named=True)
    with pytest.raises(OrderConflict, match="it was forgotten"):
        Ledger(ledger).claim(OTHER_BODY, other)
    end = End(State.FAILED, "OrderConflict", "known with another body")
    assert settle(ledger, OTHER_BODY, other, end) is Settlement.CONFLICT


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_a_forgotten_order_is_not_retried(ledger, kept, forgets, on_lambda, owner, state):
    kept.put_in(state, owner=owner)
    forgets()
    for from_finalize in (False, True):
        with pytest.raises(OrderForgotten, match="order ORDER-1 was forgotten at"):
            retry("ORDER-1", ledger, on_lambda.orders, from_finalize=from_finalize)
        with pytest.raises(OrderForgotten):
            what_will_run_again(ledger.get("ORDER-1"), from_finalize=from_finalize)
    assert on_lambda.count("Invoke") == 0


@pytest.mark.parametrize("state", sorted(RETRYABLE))
def test_an_attempt_that_was_started_before_the_forget_is_refused(ledger, kept, forgets, on_lambda, owner, state):
    kept.put_in(state, owner=owner)
    started = retry("ORDER-1", ledger, on_lambda.orders)
    second = execution_of(ORDER, started.execution_arn, STACK_ID)
    kept.before_write(lambda: None, forgets)  # between the read and the write of the claim
    with pytest.raises(OrderForgotten):
        Ledger(ledger).claim(ORDER, second)
    before = kept.item()
    for end in (End(State.FAILED, "OrderForgotten", "refused"), Completion(ENRICHMENT, FINALIZATION)):
        assert settle(ledger, ORDER, second, end) is Settlement.AGREED
    assert kept.item() == before


def test_a_refused_execution_does_not_make_a_forgotten_item_that_was_lost(ledger, kept):
    end = End(State.FAILED, "OrderForgotten", "refused")
    assert settle(ledger, ORDER, OrderExecution("ORDER-1", "arn:late", 1, named=True), end) is Settlement.ITEM_LOST
    assert kept.item() is None


def test_recover_check_and_copy_back_leave_a_forgotten_item_as_it_is(
    ledger, kept, forgets, on_lambda, owner, examiner, dynamodb
):
    kept.put_in(State.FAILED, owner=owner)
    items = LedgerItems(dynamodb, "LedgerTable")
    [[unforgotten]] = items.pages()
    forgets()
    before = kept.item()
    on_lambda.end(on_lambda.begin(ORDER, name_of("ORDER-1", 1)), "FAILED", "OrderForgotten", "refused")
    recover(datetime.now(UTC) - timedelta(days=1), examiner, items)
    assert list(check(items)) == []

    class Restored:
        """A restored table, in which a later attempt had ended."""

        def pages(self):
            yield [unforgotten | marshalled({"version": 1_000})]

    assert copy_back(Restored(), items) == CopiedBack(kept=1)
    assert kept.item() == before
