"""Cancelling an order: the ledger decides. An order that is FINALIZING or has ended is unchanged."""

import pytest
from botocore.exceptions import ReadTimeoutError

from shared.errors import (
    ExecutionUnavailable,
    IllegalTransition,
    LedgerUnavailable,
    OrderCancelled,
    OrderUnknown,
)
from shared.executions.names import OrderExecution
from shared.ledger.entry import MAX_TEXT_BYTES, state_shard
from shared.ledger.owner import Ledger
from shared.ledger.states import TRANSITIONS, State
from shared.ledger.table import unchanged
from tests.integration.executions import FINALIZATION
from tests.integration.orders import ORDER, PATH
from tests.unit.executions import ALIAS, name_of
from tests.unit.transport import refusal
from tools.operations.cancel import cancel

CANCELLABLE = [state for state in State if State.CANCELLED in TRANSITIONS[state]]


@pytest.fixture
def owner(on_lambda):
    """The order's running execution."""
    return OrderExecution("ORDER-1", on_lambda.begin(ORDER), 1, named=True)


@pytest.fixture
def cancelled(ledger, on_lambda):
    return lambda reason=None: cancel("ORDER-1", ledger, on_lambda.orders, reason)


@pytest.mark.parametrize("state", CANCELLABLE)
def test_an_order_before_finalizing_is_cancelled_and_its_execution_stopped(kept, owner, cancelled, on_lambda, state):
    kept.put_in(state, owner=owner)
    before = kept.item()
    entry = cancelled("the customer changed his mind")
    after = kept.item()
    step = {"state": "CANCELLED", "at": after["updatedAt"], "attempt": 1, "detail": "the customer changed his mind"}
    assert after == before | {
        "state": "CANCELLED",
        "stateShard": state_shard(State.CANCELLED, "ORDER-1"),
        "updatedAt": after["updatedAt"],
        "version": before["version"] + 1,
        "history": [*before["history"], step],
    }
    assert (entry.state, entry.version) == (State.CANCELLED, after["version"])
    execution = on_lambda.records[owner.arn]
    assert execution["Status"] == "STOPPED"
    assert execution["Error"] == {"ErrorType": "OrderCancelled", "ErrorMessage": "order ORDER-1 was cancelled"}


@pytest.mark.parametrize("state", [state for state in State if state not in {*CANCELLABLE, State.CANCELLED}])
def test_any_other_order_is_unchanged_and_its_execution_continues(kept, owner, cancelled, on_lambda, state):
    kept.put_in(state, owner=owner)
    before = kept.item()
    with pytest.raises(IllegalTransition, match=f"order ORDER-1 is {state} and can no longer be cancelled"):
        cancelled()
    assert kept.item() == before
    assert on_lambda.asked == []


def test_a_repeated_cancel_only_stops_the_execution_again(kept, owner, cancelled, on_lambda):
    kept.put_in(State.WAITING, owner=owner)
    first = cancelled()
    before = kept.item()
    assert cancelled("once more") == first
    assert kept.item() == before
    assert on_lambda.count("StopDurableExecution") == 2


def test_an_order_cancelled_without_a_reason_has_none_in_its_history(kept, owner, cancelled):
    kept.put_in(State.WAITING, owner=owner)
    assert cancelled("").history[-1].detail is None


def test_a_long_reason_is_cut_in_the_history(kept, owner, cancelled):
    kept.put_in(State.WAITING, owner=owner)
    assert cancelled("no " * 500_000).history[-1].detail == ("no " * 500_000)[:MAX_TEXT_BYTES]


def test_an_unknown_order_cannot_be_cancelled(kept, cancelled, on_lambda):
    with pytest.raises(OrderUnknown, match="ORDER-1"):
        cancelled()
    assert kept.item() is None
    assert on_lambda.asked == []


@pytest.mark.parametrize("finalized_so_far", [1, 2])
def test_a_cancel_after_finalize_is_refused_and_the_order_completes(ledger, kept, owner, cancelled, finalized_so_far):
    kept.put_in(State.WAITING, owner=owner)
    steps = [lambda: Ledger(ledger).finalizing(owner), lambda: Ledger(ledger).completed(owner, {})]
    kept.before_write(lambda: [step() for step in steps[:finalized_so_far]])
    with pytest.raises(IllegalTransition, match="can no longer be cancelled"):
        cancelled()
    for step in steps:
        step()
    assert [step["state"] for step in kept.item()["history"]] == list(PATH)


def test_a_cancel_before_finalize_holds_and_the_execution_is_refused(ledger, kept, owner, cancelled):
    kept.put_in(State.WAITING, owner=owner)
    kept.before_write(cancelled)
    with pytest.raises(OrderCancelled):
        Ledger(ledger).finalizing(owner)
    assert kept.item()["state"] == "CANCELLED"


def test_a_cancel_that_lost_a_race_is_retried(ledger, kept, owner, cancelled):
    kept.put_in(State.ENRICHING, owner=owner)
    waiting = kept.before_write(lambda: Ledger(ledger).enriched(owner, {}))
    assert cancelled().state is State.CANCELLED
    assert waiting == []
    assert [step["state"] for step in kept.item()["history"]] == [*PATH[:4], "CANCELLED"]


def test_an_order_that_fails_during_a_cancel_is_not_cancelled(ledger, kept, owner, cancelled):
    entry = kept.put_in(State.WAITING, owner=owner)
    kept.before_write(lambda: ledger.move("ORDER-1", 1, (State.FAILED,), unchanged(entry)))
    with pytest.raises(IllegalTransition, match="FAILED"):
        cancelled()


def test_two_cancels_both_succeed_and_one_is_in_the_history(kept, owner, cancelled):
    kept.put_in(State.WAITING, owner=owner)
    kept.before_write(cancelled)
    assert cancelled().state is State.CANCELLED
    assert [step["state"] for step in kept.item()["history"]].count("CANCELLED") == 1


@pytest.mark.parametrize(
    "failure", [refusal(429, "TooManyRequestsException"), ReadTimeoutError(endpoint_url=ALIAS)], ids=["429", "silence"]
)
def test_when_the_stop_fails_the_order_is_cancelled_and_the_error_is_raised(kept, owner, cancelled, on_lambda, failure):
    kept.put_in(State.WAITING, owner=owner)
    on_lambda.fail("StopDurableExecution", failure)
    with pytest.raises(ExecutionUnavailable):
        cancelled()
    assert kept.item()["state"] == "CANCELLED"
    assert on_lambda.records[owner.arn]["Status"] == "RUNNING"
    assert cancelled().state is State.CANCELLED
    assert on_lambda.records[owner.arn]["Status"] == "STOPPED"


def test_an_order_whose_execution_was_deleted_is_cancelled(kept, owner, cancelled, on_lambda):
    kept.put_in(State.WAITING, owner=owner)
    on_lambda.forget(owner.arn)
    assert cancelled().state is State.CANCELLED


def test_when_the_ledger_cannot_be_written_a_cancel_changes_nothing(dynamodb, kept, owner, cancelled, on_lambda):
    kept.put_in(State.WAITING, owner=owner)

    def throttled(**_):
        raise ReadTimeoutError(endpoint_url="dynamodb")

    dynamodb.meta.events.register("before-call.dynamodb.UpdateItem", throttled)
    with pytest.raises(LedgerUnavailable):
        cancelled()
    assert kept.item()["state"] == "WAITING"
    assert on_lambda.asked == ["GetDurableExecution"]


# ── an item that is older than the end of its execution ─────────────────────────────────────────────


@pytest.mark.parametrize("state", [*CANCELLABLE, State.CANCELLED])
def test_an_order_whose_execution_succeeded_is_completed_and_not_cancelled(kept, cancelled, on_lambda, state):
    owner = OrderExecution("ORDER-1", on_lambda.succeed(ORDER, name_of("ORDER-1", 1)), 1, named=True)
    kept.put_in(state, owner=owner)
    with pytest.raises(IllegalTransition, match="order ORDER-1 is COMPLETED and can no longer be cancelled"):
        cancelled()
    assert (kept.item()["state"], kept.item()["result"]) == ("COMPLETED", FINALIZATION)
    assert on_lambda.count("StopDurableExecution") == 0


@pytest.mark.parametrize("status", ["FAILED", "TIMED_OUT", "STOPPED"])
def test_an_order_whose_execution_ended_without_success_gets_that_end(kept, owner, cancelled, on_lambda, status):
    kept.put_in(State.WAITING, owner=owner)
    on_lambda.end(owner.arn, status)
    with pytest.raises(IllegalTransition, match=f"order ORDER-1 is {status}"):
        cancelled()
    assert kept.item()["state"] == status


def test_an_order_whose_item_is_lost_during_a_cancel_is_unknown_and_its_execution_stopped(
    kept, owner, cancelled, on_lambda
):
    kept.put_in(State.WAITING, owner=owner)
    on_lambda.client.meta.events.register("before-send.lambda.StopDurableExecution", lambda **_: kept.delete())
    with pytest.raises(OrderUnknown):
        cancelled()
    assert on_lambda.records[owner.arn]["Status"] == "STOPPED"
