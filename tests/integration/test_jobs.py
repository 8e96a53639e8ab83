"""Bulk operations as jobs: what they select, and that a job that dies loses no order and retries none twice."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from reconciler.pace import Pace
from shared.errors import LedgerUnavailable
from shared.executions.names import OrderExecution
from shared.ledger.entry import End
from shared.ledger.settlement import settle
from shared.ledger.states import RETRYABLE, State
from shared.ledger.table import LedgerTable, Written, unchanged
from shared.orders.order import order_from
from tests.integration.executions import ENRICHMENT
from tests.unit.executions import name_of
from tools.operations.bulk import action_of
from tools.operations.filter import Filter, entries
from tools.operations.jobs import Jobs, JobStatus, Result
from tools.operations.ledger_items import LedgerItems
from tools.operations.retry import retry

PACE = Pace(1_000_000)


class Died(BaseException):
    """The process ended here."""


@pytest.fixture
def jobs(dynamodb, operations_table):
    return Jobs(dynamodb, operations_table)


@pytest.fixture
def failed(ledger):
    """Put an order into FAILED at its current or next attempt."""

    def put(order_id, error="EnricherUnavailable", attempt=1, table=ledger, **fields):
        before = table.get(order_id)
        owner = OrderExecution(order_id, f"arn:{order_id}/{attempt}", attempt, named=True)
        order = order_from({"orderId": order_id, **fields})
        assert table.begin(order, owner, (State.RECEIVED,), before, fields={"enrichStarts": 1}) == Written()
        settle(table, order, owner, End(State.FAILED, error, "it failed"))
        return table.get(order_id)

    return put


@pytest.fixture
def items(dynamodb, ledger_table):
    return LedgerItems(dynamodb, ledger_table)


def ids(entries):
    return sorted(entry.order_id for entry in entries)


def test_a_filter_selects_by_error_customer_and_state(items, failed, ledger):
    failed("A", customerId="C-1")
    failed("B", error="EnrichmentRejected", customerId="C-1")
    failed("C", customerId="C-2")
    assert ids(entries(items, Filter(error="EnricherUnavailable"), RETRYABLE)) == ["A", "C"]
    assert ids(entries(items, Filter(customer="C-1"), RETRYABLE)) == ["A", "B"]
    assert ids(entries(items, Filter(states=(State.FAILED,)), RETRYABLE)) == ["A", "B", "C"]
    assert ids(entries(items, Filter(states=(State.STOPPED,)), RETRYABLE)) == []
    assert ids(entries(items, Filter(states=(State.FAILED,)), {State.WAITING})) == []


def test_a_filter_selects_by_the_time_of_the_last_transition(items, failed, dynamodb, ledger_table):
    now = datetime.now(UTC)
    failed("OLD", table=LedgerTable(dynamodb, ledger_table, now=lambda: "2026-01-01T00:00:00.000Z"))
    failed("NEW", table=LedgerTable(dynamodb, ledger_table))
    assert ids(entries(items, Filter(since=now - timedelta(hours=2)), RETRYABLE)) == ["NEW"]
    assert ids(entries(items, Filter(since=datetime(2025, 1, 1, tzinfo=UTC)), RETRYABLE)) == ["NEW", "OLD"]


def test_an_item_that_cannot_be_read_is_not_selected(items, failed, dynamodb, ledger_table):
    failed("A")
    failed("B")
    dynamodb.update_item(
        TableName=ledger_table,
        Key={"orderId": {"S": "B"}},
        UpdateExpression="REMOVE executionArn",
    )
    assert ids(entries(items, Filter(states=(State.FAILED,)), RETRYABLE)) == ["A"]


def test_a_job_retries_each_order_once_and_ends(jobs, failed, ledger, on_lambda):
    orders = {failed(f"O-{number}").order_id: 1 for number in range(12)}
    job = jobs.create("retry", "arn:me", "--state FAILED", orders)
    done = list(jobs.run(job, action_of(job, ledger, on_lambda.orders, on_lambda.running), PACE))
    assert Counter(order.result for order in done) == {Result.DONE: 12}
    names = [record["DurableExecutionName"] for record in on_lambda.records.values()]
    assert sorted(names) == sorted(name_of(order_id, 2) for order_id in orders)
    assert jobs.get(job.handle).status is JobStatus.ENDED
    assert jobs.counts(job.handle) == {"DONE": 12}


def test_a_job_retries_from_finalize_the_orders_that_were_enriched(jobs, failed, ledger, on_lambda):
    enriched, other = failed("A"), failed("B")
    ledger.update("A", {"enrichment": ENRICHMENT | {"orderId": "A"}}, unchanged(enriched))
    job = jobs.create("retry --from finalize", "arn:me", "--state FAILED", {"A": 1, other.order_id: 1})
    done = {
        order.order_id: order
        for order in jobs.run(job, action_of(job, ledger, on_lambda.orders, on_lambda.running), PACE)
    }
    assert done["A"].result is Result.DONE
    assert ledger.get("A").resume_from == State.FINALIZING
    assert done["B"].detail.startswith("NotResumable: ")
    assert started(on_lambda) == [name_of("A", 2)]


def test_an_order_that_fails_again_is_not_retried_a_second_time_after_the_job_died(jobs, failed, ledger, on_lambda):
    """The process dies between the retry and its result; the attempt fails before the job is resumed."""
    orders = {failed(order_id).order_id: 1 for order_id in ("A", "B", "C")}
    job = jobs.create("retry", "arn:me", "", orders)
    act = action_of(job, ledger, on_lambda.orders, on_lambda.running)

    def dies_after_second(order):
        detail = act(order)
        if len(on_lambda.records) == 2:
            raise Died
        return detail

    with pytest.raises(Died):
        list(jobs.run(job, dies_after_second, PACE))
    assert jobs.counts(job.handle) == {"DONE": 1, "LEFT": 2}
    (unrecorded,) = [
        order.order_id
        for order in jobs.orders(job.handle, pending=True)
        if name_of(order.order_id, 2) in started(on_lambda)
    ]
    failed(unrecorded, attempt=2)

    list(jobs.run(jobs.get(job.handle), act, PACE))
    assert jobs.counts(job.handle) == {"DONE": 3}
    assert sorted(started(on_lambda)) == sorted(name_of(order_id, 2) for order_id in orders)


def started(on_lambda):
    return [record["DurableExecutionName"] for record in on_lambda.records.values()]


def test_an_order_that_cannot_be_retried_is_refused_with_the_reason(jobs, failed, ledger, on_lambda):
    failed("A")
    job = jobs.create("retry", "arn:me", "", {"A": 1, "GONE": 1})
    done = {
        order.order_id: order
        for order in jobs.run(job, action_of(job, ledger, on_lambda.orders, on_lambda.running), PACE)
    }
    assert done["A"].result is Result.DONE
    assert done["GONE"].detail.startswith("OrderUnknown: ")
    assert jobs.counts(job.handle) == {"DONE": 1, "REFUSED": 1}
    assert jobs.get(job.handle).status is JobStatus.ENDED


def test_an_aborted_job_begins_no_further_action_until_it_is_reopened(jobs):
    job = jobs.create("cancel", "arn:me", "", dict.fromkeys(["A", "B", "C"], 1))

    def aborts(_order):
        jobs.abort(job.handle)
        return ""

    assert len(list(jobs.run(job, aborts, PACE))) == 1
    assert jobs.get(job.handle).status is JobStatus.ABORTED
    assert list(jobs.run(job, lambda _: "", PACE)) == []
    assert jobs.reopen(job.handle)
    assert len(list(jobs.run(job, lambda _: "", PACE))) == 2
    assert not jobs.abort(job.handle)
    assert jobs.get(job.handle).status is JobStatus.ENDED


def test_an_order_whose_action_fails_transiently_is_left_for_a_resume(jobs):
    job = jobs.create("cancel", "arn:me", "", dict.fromkeys(["A", "B", "C"], 1))

    def fails_for_b(order):
        if order.order_id == "B":
            raise LedgerUnavailable("throttled")
        return ""

    assert [order.order_id for order in jobs.run(job, fails_for_b, PACE)] == ["A", "C"]
    assert jobs.get(job.handle).status is JobStatus.RUNNING
    assert [order.order_id for order in jobs.run(job, lambda _: "", PACE)] == ["B"]
    assert jobs.get(job.handle).status is JobStatus.ENDED


def test_a_job_stops_when_five_actions_in_a_row_fail_transiently(jobs):
    job = jobs.create("cancel", "arn:me", "", dict.fromkeys("ABCDEFGH", 1))
    asked = []

    def fails(order):
        asked.append(order.order_id)
        raise LedgerUnavailable("away")

    with pytest.raises(LedgerUnavailable):
        list(jobs.run(job, fails, PACE))
    assert len(asked) == 5


def test_a_job_whose_orders_are_not_all_written_takes_no_action(jobs, dynamodb, monkeypatch):
    written = []

    def dies_at_second_batch(params, **_):
        written.append(params)
        if len(written) == 2:
            raise Died

    dynamodb.meta.events.register("before-parameter-build.dynamodb.BatchWriteItem", dies_at_second_batch)
    with pytest.raises(Died):
        jobs.create("retry", "arn:me", "", {f"O-{number}": 1 for number in range(30)})
    (job,) = jobs.newest(10)
    assert job.status is JobStatus.SELECTING
    assert list(jobs.run(job, lambda _: pytest.fail("an action"), PACE)) == []
    assert jobs.abort(job.handle)
    assert not jobs.reopen(job.handle)


def test_a_retry_of_an_earlier_attempt_returns_the_attempt_that_followed(failed, ledger, on_lambda):
    failed("A")
    failed("A", attempt=2)
    failed("A", attempt=3)
    assert retry("A", ledger, on_lambda.orders, of_attempt=1).execution_arn == "arn:A/2"
    assert on_lambda.asked == []
    assert retry("A", ledger, on_lambda.orders, of_attempt=3).attempt == 4


def test_a_job_is_listed_with_its_caller_filter_and_orders(jobs):
    first = jobs.create("retry", "arn:me", "--state FAILED", {f"O-{number}": 1 for number in range(60)})
    assert jobs.newest(10) == [first]
    assert (first.by, first.chosen, first.action, first.orders) == ("arn:me", "--state FAILED", "retry", 60)
    assert jobs.counts(first.handle) == {"LEFT": 60}
