"""A sweep finds what no event reported in one of two lists, and an error of a case or a list stops no other case."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from reconciler import sweep as sweep_module
from reconciler.marks import Mark
from reconciler.stalled import STALL_THRESHOLD, StalledOrder, stalled_orders
from reconciler.sweep import LOOKBACK, RESERVE_SECONDS, Sweep
from shared.aws.clock import timestamp
from shared.errors import ExecutionUnavailable, LedgerUnavailable
from shared.executions.client import EndedExecution
from shared.executions.names import OrderExecution
from shared.ledger.owner import Ledger
from shared.ledger.states import State
from shared.ledger.table import LedgerTable
from shared.orders.order import parse_order
from tests.integration.executions import response_of
from tests.unit.executions import name_of
from tests.unit.transport import refusal

WAIT = timedelta(hours=1)
EXECUTION_TIMEOUT = timedelta(hours=6)
MARGIN = timedelta(minutes=1)
"""More than the difference between the test's clock and the sweep's."""


class Bench:
    """A sweep over the ledger and Lambda, and a clock that dates what is written there."""

    def __init__(self, sweep, on_lambda, dynamodb, log):
        self.sweep, self._lambda, self._dynamodb, self._log = sweep, on_lambda, dynamodb, log

    def execution(self, order_id, status="RUNNING", started=timedelta(), ended=timedelta()):
        """An execution that began and ended this long ago. Returns its ARN."""
        arn = self._lambda.begin(parse_order(f'{{"orderId": "{order_id}"}}'), name_of(order_id))
        now = datetime.now(UTC)
        if status != "RUNNING":
            self._lambda.end(arn, status, at=now - ended)
        self._lambda.records[arn]["StartTimestamp"] = (now - started).timestamp()
        return arn

    def order(self, order_id, arn, state, age):
        """An order that has been in a state for this long."""
        ledger = LedgerTable(self._dynamodb, "LedgerTable", now=lambda: timestamp(datetime.now(UTC) - age))
        owner = OrderExecution(order_id, arn, 1, named=True)
        order = parse_order(f'{{"orderId": "{order_id}"}}')
        if state is State.RECEIVED:
            ledger.begin(order, owner, (state,), None, fields={"enrichStarts": 0})
            return
        Ledger(ledger).claim(order, owner)
        if state is State.ENRICHING:
            return
        Ledger(ledger).enriched(owner, {})
        if state is State.FINALIZING:
            Ledger(ledger).finalizing(owner)

    def run(self, remaining_s=lambda: 250.0):
        self.metrics = {}
        return self.sweep.run(remaining_s, self.metrics.update)

    def state(self, order_id):
        entry = self.sweep.examiner.ledger.get(order_id)
        return entry and entry.state

    def logged(self, message):
        lines = map(json.loads, self._log.getvalue().splitlines())
        return [line for line in lines if line["message"] == message]


@pytest.fixture
def bench(examiner, on_lambda, dynamodb, log):
    return Bench(Sweep(examiner, WAIT, EXECUTION_TIMEOUT, examiner.logger), on_lambda, dynamodb, log)


# ── the two lists ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", ["FAILED", "TIMED_OUT", "STOPPED"])
def test_an_execution_that_died_before_its_first_write_is_found_by_lambdas_list(bench, status):
    bench.execution("LOST", status)
    assert bench.run() == {"cases": 1, "failed": 0, "left": 0}
    assert bench.state("LOST") == status


def test_an_order_whose_execution_is_gone_is_found_by_the_ledgers_list(bench, on_lambda):
    arn = bench.execution("GONE")
    bench.order("GONE", arn, State.WAITING, age=STALL_THRESHOLD + WAIT + MARGIN)
    on_lambda.forget(arn)
    assert bench.run()["cases"] == 1
    assert bench.state("GONE") == "FAILED"


def test_an_order_in_both_lists_ends_once(bench):
    arn = bench.execution("BOTH", "STOPPED")
    bench.order("BOTH", arn, State.WAITING, age=STALL_THRESHOLD + WAIT + MARGIN)
    assert bench.run() == {"cases": 2, "failed": 0, "left": 0}
    entry = bench.sweep.examiner.ledger.get("BOTH")
    assert [step.state for step in entry.history].count("STOPPED") == 1


def test_a_second_sweep_reads_no_settled_execution(bench, on_lambda):
    for number in range(5):
        bench.execution(f"LOST-{number}", "FAILED")
    bench.run()
    reads = on_lambda.count("GetDurableExecution")
    assert bench.run() == {"cases": 5, "failed": 0, "left": 0}
    assert on_lambda.count("GetDurableExecution") == reads


def test_a_sweep_without_cases_is_logged(bench):
    assert bench.run() == {"cases": 0, "failed": 0, "left": 0}
    (line,) = bench.logged("swept")
    assert (line["level"], line["cases"], line["failed"], line["left"]) == ("INFO", 0, 0, 0)


# ── executions without an order ───────────────────────────────────────────────────────────────────


def bad_invokes(on_lambda, count):
    return [on_lambda.end(on_lambda.begin("not an order"), "FAILED") for _ in range(count)]


def test_an_input_that_is_no_order_is_read_and_rejected_by_one_sweep_alone(bench, on_lambda):
    bad_invokes(on_lambda, 13)
    for sweep in range(3):
        assert bench.run() == {"cases": 13 if sweep == 0 else 0, "failed": 0, "left": 0}
        assert on_lambda.count("GetDurableExecution") == 13
        assert len(bench.logged("order rejected")) == 13


@pytest.mark.slow
@pytest.mark.slow
def test_a_lost_order_among_two_thousand_marked_executions_is_found_by_one_sweep(bench, on_lambda, dynamodb, marks):
    """In the time of four reads: each examined case takes one."""
    for arn in bad_invokes(on_lambda, 2_000):
        marks.put(arn, Mark.FINAL)
    bench.execution("LOST", "FAILED")
    requests = []
    dynamodb.meta.events.register("before-call.dynamodb.*", lambda model, **_: requests.append(model.name))
    remaining = iter([250.0] * 4)
    assert bench.run(lambda: next(remaining)) == {"cases": 1, "failed": 0, "left": 0}
    assert bench.state("LOST") == "FAILED"
    assert on_lambda.count("GetDurableExecution") == 1
    # 2,001 keys at a hundred per request, and the read for the case itself.
    assert requests.count("BatchGetItem") == 21 + 1


def test_a_duplicate_without_a_trace_is_read_once(bench, on_lambda):
    bench.order("ONCE", bench.execution("ONCE"), State.WAITING, age=timedelta())
    on_lambda.records.clear()
    bench.execution("ONCE", "FAILED")
    for _ in range(3):
        assert bench.run() == {"cases": 1, "failed": 0, "left": 0}
        assert on_lambda.count("GetDurableExecution") == 1


@pytest.mark.parametrize("operation", ["BatchGetItem", "PutItem"])
def test_without_marks_nothing_is_lost_and_the_next_sweep_examines_again(bench, on_lambda, dynamodb, operation):
    bad_invokes(on_lambda, 2)
    bench.execution("LOST", "FAILED")
    away = [True]

    def refuse(**_):
        error = {"Error": {"Code": "ResourceNotFoundException"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
        return (type("Response", (), {"status_code": 400}), error) if away else None

    dynamodb.meta.events.register(f"before-call.dynamodb.{operation}", refuse)
    assert bench.run() == {"cases": 3, "failed": 0, "left": 0}
    assert bench.state("LOST") == "FAILED"
    said = bench.logged("marks not read" if operation == "BatchGetItem" else "execution not marked")
    assert said
    assert {line["level"] for line in said} == {"ERROR"}
    away.clear()
    bench.run()
    reads = on_lambda.count("GetDurableExecution")
    assert bench.run()["failed"] == 0
    assert on_lambda.count("GetDurableExecution") == reads


# ── times ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("state", [State.RECEIVED, State.ENRICHING, State.WAITING, State.FINALIZING])
def test_an_order_is_examined_after_its_stall_threshold(bench, on_lambda, state):
    patience = STALL_THRESHOLD + (WAIT if state is State.WAITING else timedelta())
    for order_id, age in (("EARLY", patience - MARGIN), ("LATE", patience + MARGIN)):
        arn = bench.execution(order_id)
        bench.order(order_id, arn, state, age)
        on_lambda.forget(arn)
    assert bench.run()["cases"] == 1
    assert (bench.state("EARLY"), bench.state("LATE")) == (state, "FAILED")


def test_an_order_in_an_older_longer_wait_is_examined_and_unchanged(bench):
    arn = bench.execution("OLD")
    bench.order("OLD", arn, State.WAITING, age=100 * WAIT)
    assert bench.run() == {"cases": 1, "failed": 0, "left": 0}
    assert bench.state("OLD") == "WAITING"


def test_a_paused_execution_is_not_lost(bench, on_lambda):
    arn = bench.execution("PAUSED")
    on_lambda.records[arn]["Status"] = "PAUSED"
    bench.order("PAUSED", arn, State.WAITING, age=100 * WAIT)
    bench.run()
    assert bench.state("PAUSED") == "WAITING"


def test_a_stalled_order_whose_execution_succeeded_is_completed(bench, on_lambda):
    arn = bench.execution("OLD", "SUCCEEDED")
    on_lambda.records[arn]["Result"] = json.dumps(response_of("OLD"))
    bench.order("OLD", arn, State.WAITING, age=STALL_THRESHOLD + WAIT + MARGIN)
    assert bench.run() == {"cases": 1, "failed": 0, "left": 0}
    assert bench.state("OLD") == "COMPLETED"


def test_an_end_is_found_for_a_day_however_long_the_execution_ran(bench):
    """The execution's timeout limits what is listed, its end what is examined."""
    bench.execution("LONG", "FAILED", started=EXECUTION_TIMEOUT + LOOKBACK - MARGIN, ended=LOOKBACK - MARGIN)
    bench.execution("OVER", "FAILED", started=EXECUTION_TIMEOUT, ended=LOOKBACK + MARGIN)
    bench.execution("BEFORE", "FAILED", started=EXECUTION_TIMEOUT + LOOKBACK + MARGIN, ended=LOOKBACK - MARGIN)
    assert bench.run()["cases"] == 1
    assert [bench.state(order_id) for order_id in ("LONG", "OVER", "BEFORE")] == ["FAILED", None, None]


def test_an_end_without_a_time_is_examined(bench, on_lambda):
    arn = bench.execution("UNDATED", "FAILED")
    del on_lambda.records[arn]["EndTimestamp"]
    bench.run()
    assert bench.state("UNDATED") == "FAILED"


def test_a_stalled_order_is_listed_with_its_state_and_the_time_of_its_last_transition(bench):
    bench.order("LATE", bench.execution("LATE"), State.FINALIZING, STALL_THRESHOLD + MARGIN)
    bench.order("EARLY", bench.execution("EARLY"), State.FINALIZING, STALL_THRESHOLD - MARGIN)
    ledger = bench.sweep.examiner.ledger
    since = ledger.get("LATE").updated_at
    assert list(stalled_orders(ledger, WAIT, datetime.now(UTC))) == [StalledOrder("LATE", State.FINALIZING, since)]


# ── metrics ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_sweep_counts_stuck_orders_and_those_that_it_ended(bench):
    bench.order("STUCK", bench.execution("STUCK"), State.WAITING, age=100 * WAIT)
    bench.execution("LOST", "FAILED")
    bench.run()
    counted = {"ExecutionsEndedBadly": [1], "StuckOrders": [1], "SweepEnded": [1], "SweepFailed": [0], "SweepLeft": [0]}
    assert bench.metrics == counted
    bench.run()
    assert bench.metrics == counted | {"SweepEnded": [0]}


def test_a_sweep_counts_failed_cases_and_those_left(bench, on_lambda):
    for number in range(3):
        bench.execution(f"LOST-{number}", "FAILED")
    on_lambda.fail("GetDurableExecution", refusal(429, "TooManyRequestsException"))
    remaining = iter([250.0, 250.0, 1.0])
    bench.run(lambda: next(remaining))
    counted = {"ExecutionsEndedBadly": [3], "StuckOrders": [0], "SweepEnded": [1], "SweepFailed": [1], "SweepLeft": [1]}
    assert bench.metrics == counted


def test_while_the_ledger_does_not_answer_no_number_of_stuck_orders_is_emitted(bench, monkeypatch):
    monkeypatch.setattr(bench.sweep.examiner.ledger, "_table", "NoSuchTable")
    with pytest.raises(LedgerUnavailable):
        bench.run()
    assert "StuckOrders" not in bench.metrics
    assert bench.metrics["ExecutionsEndedBadly"] == [0]


# ── errors ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_case_that_fails_is_logged_and_the_others_are_examined(bench, on_lambda):
    arns = [bench.execution(f"LOST-{number}", "FAILED") for number in range(6)]
    on_lambda.fail("GetDurableExecution", *[refusal(429, "TooManyRequestsException")] * 2)
    assert bench.run() == {"cases": 6, "failed": 2, "left": 0}
    lines = bench.logged("not reconciled")
    assert [line["level"] for line in lines] == ["ERROR"] * 2
    assert {line["executionArn"] for line in lines} <= set(arns)
    assert all(line["reason"].startswith("ExecutionUnavailable: ") for line in lines)
    assert bench.run()["failed"] == 0
    assert all(bench.state(f"LOST-{number}") == "FAILED" for number in range(6))


def test_when_an_item_cannot_be_read_the_others_are_examined(bench, on_lambda, dynamodb):
    arn = bench.execution("GONE")
    bench.order("GONE", arn, State.WAITING, age=STALL_THRESHOLD + WAIT + MARGIN)
    on_lambda.forget(arn)
    broken = {"orderId": {"S": "BROKEN"}, "stateShard": {"S": "WAITING#0"}, "updatedAt": {"S": "2026-01-01"}}
    dynamodb.put_item(TableName="LedgerTable", Item=broken)
    assert bench.run() == {"cases": 2, "failed": 1, "left": 0}
    (line,) = bench.logged("not reconciled")
    assert line["orderId"] == "BROKEN"
    assert line["reason"].startswith("EntryUnreadable: order BROKEN: its item has no 'state'; see docs/operations.md")
    assert bench.state("GONE") == "FAILED"


def test_when_lambdas_list_fails_the_ledgers_is_examined_and_the_error_raised(bench, on_lambda):
    gone = bench.execution("GONE")
    bench.order("GONE", gone, State.WAITING, age=STALL_THRESHOLD + WAIT + MARGIN)
    on_lambda.forget(gone)
    on_lambda.fail("ListDurableExecutionsByFunction", refusal(429, "TooManyRequestsException"))
    with pytest.raises(ExecutionUnavailable):
        bench.run()
    assert bench.state("GONE") == "FAILED"
    assert bench.logged("listing failed")[0]["level"] == "ERROR"


def test_when_the_ledgers_list_fails_lambdas_is_examined(bench, dynamodb):
    bench.execution("LOST", "FAILED")

    def refuse(**_):
        error = {"Error": {"Code": "ThrottlingException"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
        return type("Response", (), {"status_code": 400}), error

    dynamodb.meta.events.register("before-call.dynamodb.Query", refuse)
    with pytest.raises(LedgerUnavailable):
        bench.run()
    assert bench.state("LOST") == "FAILED"


def test_the_pages_before_a_listing_error_are_examined(bench):
    class BreaksOff:
        get = bench.sweep.examiner.executions.get
        stack_id = bench.sweep.examiner.executions.stack_id

        def ended(self, _since, _statuses):
            yield [EndedExecution(bench.execution("LOST", "FAILED"), "FAILED")]
            raise ExecutionUnavailable("Lambda: TooManyRequestsException")

    broken = replace(bench.sweep, examiner=replace(bench.sweep.examiner, executions=BreaksOff()))
    with pytest.raises(ExecutionUnavailable):
        broken.run(lambda: 250.0, lambda _: None)
    assert bench.state("LOST") == "FAILED"


# ── more cases than one sweep can examine ───────────────────────────────────────────────────────────


@pytest.mark.parametrize("done", [0, 2, 5])
def test_near_its_timeout_a_sweep_begins_no_case_and_logs_what_is_left(bench, done):
    for number in range(5):
        bench.execution(f"LOST-{number}", "FAILED")
    remaining = iter([250.0] * done + [RESERVE_SECONDS - 0.1])
    assert bench.run(lambda: next(remaining)) == {"cases": 5, "failed": 0, "left": 5 - done}
    assert [bench.state(f"LOST-{number}") for number in range(5)].count("FAILED") == done
    assert [line["left"] for line in bench.logged("sweep not finished")] == ([5 - done] if done < 5 else [])


def test_a_case_that_one_sweep_leaves_is_examined_by_another(bench):
    """In the list's order the first cases would use up each sweep's time, and the last would never be examined."""
    for number in range(4):
        bench.execution(f"LOST-{number}", "FAILED")
    for _ in range(200):
        remaining = iter([250.0, 0.0])
        bench.run(lambda times=remaining: next(times))
        if all(bench.state(f"LOST-{number}") for number in range(4)):
            return
    pytest.fail("four cases, one a sweep: in two hundred sweeps one was never looked at")


@pytest.mark.parametrize("pages", [2, 3])
def test_a_list_is_read_up_to_its_limit_and_the_cut_is_logged(bench, monkeypatch, pages):
    monkeypatch.setattr(sweep_module, "_MAX_PAGES", 2)

    class Many:
        get = bench.sweep.examiner.executions.get
        stack_id = bench.sweep.examiner.executions.stack_id
        asked = 0

        def ended(self, _since, _statuses):
            for number in range(pages):
                self.asked += 1
                yield [EndedExecution(bench.execution(f"LOST-{number}", "FAILED"), "FAILED")]

    many = Many()
    cut = replace(bench.sweep, examiner=replace(bench.sweep.examiner, executions=many))
    assert cut.run(lambda: 250.0, lambda _: None) == {"cases": 2, "failed": 0, "left": 0}
    assert many.asked == min(pages, 3)
    assert len(bench.logged("more executions ended badly than a sweep lists")) == (pages > 2)
