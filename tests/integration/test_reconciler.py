"""The examination of executions that did not succeed: by event or sweep, repeated, late and in any order."""

import itertools
import json
from dataclasses import replace

import pytest
from botocore.exceptions import ReadTimeoutError

from reconciler import input_body
from reconciler.input_body import EMPTY, MAX_BODY_BYTES, body_of
from reconciler.marks import Mark
from reconciler.pace import Pace
from shared.errors import ExecutionUnavailable, FieldError, InvalidOrder, LedgerUnavailable, RejectUnavailable
from shared.executions.client import UNSUCCESSFUL
from shared.executions.names import OrderExecution, stack_hash
from shared.ledger import settlement
from shared.ledger.owner import Ledger
from shared.ledger.settlement import note_conflict
from shared.ledger.states import RETRYABLE, TERMINAL, State
from shared.ledger.table import unchanged
from shared.orders.order import parse_order
from tests.integration.executions import FINALIZATION, response_of
from tests.unit.executions import ALIAS, OTHER_STACK_ID, STACK_ID, name_of
from tests.unit.transport import refusal

MARK = "zqMARKqz"
ORDER = parse_order(json.dumps({"orderId": "ORDER-1", "attributes": {"note": MARK}}))
OTHER_BODY = parse_order(json.dumps({"orderId": "ORDER-1", "attributes": {"note": f"{MARK} \ufffe\uffffü\x01"}}))
NOT_ENDED = ["RUNNING", "PAUSING", "PAUSED"]


class Counted(Pace):
    def __init__(self):
        self.waits = 0

    def wait(self):
        self.waits += 1


class Bench:
    """The examiner with a ledger, executions and a queue, and access to what it did."""

    def __init__(self, examiner, on_lambda, log):
        self.examiner, self.ledger, self._lambda = examiner, examiner.ledger, on_lambda
        self.examine_execution, self.examine_order = examiner.examine_execution, examiner.examine_order
        self._log = log

    def execution(self, *, attempt=None, status="FAILED", order=ORDER, stack_id=STACK_ID, **reason):
        """Begin an execution, named if an attempt is given, with a status. Returns it as an OrderExecution."""
        name = None if attempt is None else name_of("ORDER-1", attempt, stack_id)
        arn = self._lambda.begin(order, name)
        if status not in NOT_ENDED:
            self._lambda.end(arn, status, **reason)
        else:
            self._lambda.records[arn]["Status"] = status
        return OrderExecution("ORDER-1", arn, attempt or 1, named=attempt is not None)

    def success(self, attempt):
        """An execution that succeeded."""
        arn = self._lambda.succeed(ORDER, None if attempt is None else name_of("ORDER-1", attempt))
        return OrderExecution("ORDER-1", arn, attempt or 1, named=attempt is not None)

    def rejects(self):
        """(body, attributes) of every message in the rejected-orders queue, which is emptied."""
        sqs, queue = self.examiner.rejected._client, self.examiner.rejected._queue_url
        found = sqs.receive_message(QueueUrl=queue, MessageAttributeNames=["All"], MaxNumberOfMessages=10)
        found = found.get("Messages", [])
        for message in found:
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return [
            (message["Body"], {name: value["StringValue"] for name, value in message["MessageAttributes"].items()})
            for message in found
        ]

    def logged(self):
        """The log lines so far. None contains a value of an order."""
        assert MARK not in self._log.getvalue()
        return [json.loads(line) for line in self._log.getvalue().splitlines()]

    def line(self):
        (line,) = self.logged()
        return line


@pytest.fixture
def bench(examiner, on_lambda, log):
    return Bench(replace(examiner, pace=Counted()), on_lambda, log)


# ── the end of an owner ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", UNSUCCESSFUL)
@pytest.mark.parametrize("attempt", [1, None], ids=["named", "a direct invoke"])
def test_an_order_whose_owner_ended_gets_that_end_with_its_reason(bench, kept, status, attempt):
    owner = bench.execution(attempt=attempt, status=status, error_type="Broken", message="it broke")
    kept.put_in(State.WAITING, owner=owner, order=ORDER)
    bench.examine_execution(owner.arn, status)
    item = kept.item()
    assert (item["state"], item["error"]) == (status, {"type": "Broken", "message": "it broke"})
    line = bench.line()
    assert (line["level"], line["message"]) == ("WARNING", "order ended by the reconciler")
    assert (line["orderId"], line["executionArn"]) == ("ORDER-1", owner.arn)
    assert (line["state"], line["error"]) == (status, "Broken")


@pytest.mark.parametrize(
    ("status", "error_type"),
    [("FAILED", "ExecutionFailed"), ("TIMED_OUT", "ExecutionTimedOut"), ("STOPPED", "ExecutionStopped")],
)
def test_an_end_without_a_reason_has_one_in_the_ledger(bench, kept, status, error_type):
    owner = bench.execution(attempt=1, status=status)
    bench.examine_execution(owner.arn, status)
    item = kept.item()
    assert (item["state"], item["error"]["type"]) == (status, error_type)
    assert item["error"]["message"]


@pytest.mark.parametrize("attempt", [1, 4, None], ids=["named 1", "named 4", "a direct invoke"])
def test_an_order_that_never_reached_the_ledger_is_made_from_its_executions_input(bench, kept, attempt):
    owner = bench.execution(attempt=attempt)
    bench.examine_execution(owner.arn, "FAILED")
    item = kept.item()
    assert [step["state"] for step in item["history"]] == ["RECEIVED", "FAILED"]
    assert (item["order"], item["attempt"]) == (ORDER.canonical(), attempt or 1)


def test_a_name_of_another_stack_is_a_hint_and_not_a_retry(bench, kept, on_lambda):
    arn = bench.execution(attempt=7, stack_id=OTHER_STACK_ID).arn
    bench.examine_execution(arn, "FAILED")
    assert kept.item()["attempt"] == 1
    reads = len(on_lambda.asked)
    bench.examine_execution(arn, "FAILED")
    assert len(on_lambda.asked) == reads


def test_events_repeated_late_and_in_any_order_give_the_same_item(bench, kept, dynamodb):
    """Attempt 1 failed, attempt 2 died before its first write, and a direct invoke had another body."""
    first = bench.execution(attempt=1)
    second = bench.execution(attempt=2, status="STOPPED")
    conflict = bench.execution(order=OTHER_BODY)
    history = ["RECEIVED", "ENRICHING", "ENRICHED", "WAITING", "FAILED", "RECEIVED", "STOPPED"]
    outcomes = []
    for order_of_events in itertools.permutations([(first, "FAILED"), (second, "STOPPED"), (conflict, "FAILED")]):
        kept.put_in(State.FAILED, owner=first, order=ORDER)
        for execution, status in [*order_of_events, *order_of_events, *reversed(order_of_events)]:
            bench.examine_execution(execution.arn, status)
        outcomes.append(kept.item())
        kept.delete()
        for mark in dynamodb.scan(TableName="OperationsTable")["Items"]:
            dynamodb.delete_item(TableName="OperationsTable", Key={key: mark[key] for key in ("pk", "sk")})
    for item in outcomes:
        assert (item["state"], item["attempt"], item["version"], item["executionArn"]) == ("STOPPED", 2, 7, second.arn)
        assert [step["state"] for step in item["history"]] == history
        assert [noted["executionArn"] for noted in item["conflicts"]] == [conflict.arn]


# ── reads of Lambda ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_the_end_of_an_ended_order_needs_no_read_of_lambda(bench, kept, on_lambda, state):
    owner = bench.execution(attempt=1, status="STOPPED")
    kept.put_in(state, owner=owner, order=ORDER)
    bench.examine_execution(owner.arn, "STOPPED")
    assert kept.item().get("executionStatus") == (None if state is State.STOPPED else "STOPPED")
    assert on_lambda.asked == []
    assert bench.logged() == []


def test_an_earlier_owner_and_a_noted_conflict_need_no_read_of_lambda(bench, kept, on_lambda):
    earlier, conflict = bench.execution(attempt=1), bench.execution(attempt=1, order=OTHER_BODY)
    failed = kept.put_in(State.FAILED, owner=earlier, order=ORDER)
    kept.put_in(State.WAITING, owner=bench.execution(attempt=2, status="RUNNING"), order=ORDER, after=failed)
    note_conflict(bench.ledger, "ORDER-1", conflict.arn)
    before = kept.item()
    bench.examine_execution(earlier.arn, "FAILED")
    bench.examine_execution(conflict.arn, "FAILED")
    assert kept.item() == before
    assert on_lambda.asked == []


def test_only_reads_of_lambda_wait_for_the_pace(bench, kept):
    owner = bench.execution(attempt=1)
    bench.examine_execution(owner.arn, "FAILED")
    assert bench.examiner.pace.waits == 1
    bench.examine_execution(owner.arn, "FAILED")
    assert bench.examiner.pace.waits == 1


@pytest.mark.parametrize("failure", [refusal(429, "TooManyRequestsException"), ReadTimeoutError(endpoint_url=ALIAS)])
def test_an_execution_that_cannot_be_read_now_is_an_error_and_nothing_is_written(bench, kept, on_lambda, failure):
    owner = bench.execution(attempt=1)
    kept.put_in(State.WAITING, owner=owner, order=ORDER)
    before = kept.item()
    for look in (lambda: bench.examine_execution(owner.arn, "FAILED"), lambda: bench.examine_order("ORDER-1")):
        on_lambda.fail("GetDurableExecution", failure)
        with pytest.raises(ExecutionUnavailable):
            look()
    assert kept.item() == before


# ── executions without an order ─────────────────────────────────────────────────────────────────────


NO_ORDERS = {
    "not json": ("NOT_JSON", [""]),
    "[]": ("INVALID_ORDER", [""]),
    "null": ("INVALID_ORDER", [""]),
    f'"{MARK}"': ("INVALID_ORDER", [""]),
    '{"orderId": 5}': ("INVALID_ORDER", ["orderId"]),
    f'{{"orderId": "ORDER-1", "coupon": "{MARK}"}}': ("INVALID_ORDER", ["coupon"]),
    '{"orderId": "ORDER-1", "orderId": "ORDER-1"}': ("INVALID_ORDER", ["orderId"]),
    "[" * 100_000: ("TOO_LARGE", [""]),
    "9" * 100_000: ("INVALID_ORDER", [""]),
    '{"orderId": "ORDER-1", "attributes": {"a": "\\ud800"}}': ("INVALID_ORDER", ["attributes.a"]),
}


@pytest.mark.parametrize("attempt", [1, None], ids=["named", "a direct invoke"])
@pytest.mark.parametrize("text", NO_ORDERS, ids=lambda text: text[:24])
def test_an_input_that_is_no_order_is_rejected_once_with_its_reason(bench, kept, on_lambda, text, attempt):
    """Its caller may not have seen the error: an asynchronous invoke (`Event`) answers 202."""
    arn = bench.execution(attempt=attempt, order=text, error_type="shared.errors.InvalidOrder").arn
    kept.put_in(State.WAITING, order=ORDER)
    before = kept.item()
    for _ in range(3):
        bench.examine_execution(arn, "FAILED")
    assert on_lambda.asked == ["GetDurableExecution"]
    assert kept.item() == before
    ((body, attributes),) = bench.rejects()
    code, fields = NO_ORDERS[text]
    assert (body, attributes["reasonCode"], attributes["sourceMessageId"]) == (text, code, arn)
    assert [error["field"] for error in json.loads(attributes["fieldErrors"])] == fields
    assert MARK not in attributes["fieldErrors"]
    line = bench.line()
    assert (line["level"], line["message"], line["executionArn"]) == ("WARNING", "order rejected", arn)
    assert line["reasonCode"] == code
    assert line["fields"] == [FieldError(field, "").logged_field for field in fields]


@pytest.mark.parametrize(
    ("text", "body", "is_whole"),
    [
        ("", EMPTY, True),
        ('"\x01\ufffe\udc00é"', '"\\u0001\\ufffe\\udc00é"', True),
        ("x" * (MAX_BODY_BYTES + 1), "x" * MAX_BODY_BYTES, False),
        ("é" * (MAX_BODY_BYTES // 2 + 1), "é" * (MAX_BODY_BYTES // 2), False),
    ],
    ids=["empty", "characters that SQS refuses", "one byte too long", "longer in UTF-8"],
)
def test_the_body_of_a_rejected_input_is_one_that_sqs_accepts(text, body, is_whole):
    assert body_of(text) == (body, is_whole)


def test_a_rejected_input_that_is_cut_says_so(bench, monkeypatch):
    monkeypatch.setattr(input_body, "MAX_BODY_BYTES", 8)
    bench.examine_execution(bench.execution(order='"not an order"').arn, "FAILED")
    ((body, attributes),) = bench.rejects()
    cut, error = json.loads(attributes["fieldErrors"])
    assert (body, cut["field"], error["field"]) == ('"not an ', "", "")
    assert cut["reason"].startswith("the body is cut")


def test_an_input_that_could_not_be_rejected_is_an_error_and_not_marked(bench, sqs):
    arn = bench.execution(order="no order").arn
    sqs.delete_queue(QueueUrl=bench.examiner.rejected._queue_url)
    with pytest.raises(RejectUnavailable):
        bench.examine_execution(arn, "FAILED")
    sqs.create_queue(QueueName="rejected")
    bench.examine_execution(arn, "FAILED")
    assert len(bench.rejects()) == 1


@pytest.mark.parametrize("error_type", [None, "LedgerUnavailable"])
@pytest.mark.parametrize("status", UNSUCCESSFUL)
def test_an_order_that_only_another_version_reads_is_left_for_that_version(bench, kept, marks, status, error_type):
    """Ingest accepted it and the orchestrator did not refuse it: while versions differ, nothing is given up."""
    text = '{"orderId": "ORDER-1", "fieldOfAnotherVersion": 1}'
    arn = bench.execution(attempt=1, order=text, status=status, error_type=error_type).arn
    for _ in range(2):
        with pytest.raises(InvalidOrder, match="unknown field"):
            bench.examine_execution(arn, status)
    assert (bench.rejects(), kept.item(), marks.of([arn])) == ([], None, {})


def test_an_execution_named_for_one_order_with_another_as_input_changes_neither(bench, kept, on_lambda):
    arn = on_lambda.end(on_lambda.begin(ORDER, name_of("ORDER-2")), "FAILED", "shared.errors.InvalidOrder")
    bench.examine_execution(arn, "FAILED")
    assert (kept.item(), bench.ledger.get("ORDER-2")) == (None, None)
    ((body, attributes),) = bench.rejects()
    assert (parse_order(body), attributes["reasonCode"]) == (ORDER, "INVALID_ORDER")
    assert json.loads(attributes["fieldErrors"])[0]["field"] == "orderId"


def test_an_order_that_this_version_no_longer_reads_ends_with_its_owner(bench, kept):
    """Another version accepted the order. The order must end although this version does not accept it."""
    text = '{"orderId": "ORDER-1", "fieldOfAnotherVersion": 1}'
    for attempt, look in ((1, bench.examine_execution), (None, lambda *_: bench.examine_order("ORDER-1"))):
        owner = bench.execution(attempt=attempt, order=text, status="TIMED_OUT")
        kept.put_in(State.WAITING, owner=owner, order=ORDER)
        look(owner.arn, "TIMED_OUT")
        assert kept.item()["state"] == "TIMED_OUT"
        kept.delete()


@pytest.mark.parametrize("status", ["RUNNING", "PAUSED", "", "bad"])
def test_a_status_that_is_no_end_is_logged_and_changes_nothing(bench, kept, on_lambda, status):
    owner = bench.execution(attempt=1)
    kept.put_in(State.COMPLETED, owner=owner, order=ORDER)
    before = kept.item()
    bench.examine_execution(owner.arn, status)
    assert kept.item() == before
    assert on_lambda.asked == []
    assert (bench.line()["level"], bench.line()["status"]) == ("INFO", status)


@pytest.mark.parametrize("status", NOT_ENDED)
def test_an_end_that_lambda_does_not_confirm_is_not_recorded(bench, kept, status):
    """A stale replica, or an event made by hand. A later sweep sees the end when Lambda has it."""
    owner = bench.execution(attempt=1, status=status)
    kept.put_in(State.WAITING, owner=owner, order=ORDER)
    before = kept.item()
    bench.examine_execution(owner.arn, "STOPPED")
    assert kept.item() == before
    assert bench.line()["status"] == status


# ── deleted and expired executions ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", UNSUCCESSFUL)
def test_the_end_of_an_owner_that_is_gone_is_the_one_reported(bench, kept, on_lambda, status):
    owner = bench.execution(attempt=1)
    kept.put_in(State.WAITING, owner=owner, order=ORDER)
    on_lambda.forget(owner.arn)
    bench.examine_execution(owner.arn, status)
    assert (kept.item()["state"], kept.item()["error"]["type"]) == (status, "ExecutionLost")
    assert bench.line()["orderId"] == "ORDER-1"


def test_a_deleted_owner_ends_its_order_despite_a_write_of_its_late_process(bench, kept, on_lambda):
    owner = bench.execution(attempt=1)
    kept.put_in(State.ENRICHING, owner=owner, order=ORDER)
    on_lambda.forget(owner.arn)
    kept.before_write(lambda: Ledger(bench.ledger).enriched(owner, {}))
    bench.examine_execution(owner.arn, "STOPPED")
    assert [step["state"] for step in kept.item()["history"]][-3:] == ["ENRICHED", "WAITING", "STOPPED"]


@pytest.mark.parametrize("attempt", [1, None], ids=["named", "a direct invoke"])
@pytest.mark.parametrize("known", [True, False], ids=["of another's order", "of no order"])
def test_a_deleted_execution_that_owns_nothing_is_logged_as_an_error(bench, kept, on_lambda, attempt, known):
    """Its input, and so its order, is lost."""
    if known:
        kept.put_in(State.WAITING, order=ORDER)
    before = kept.item()
    arn = bench.execution(attempt=attempt).arn
    on_lambda.forget(arn)
    bench.examine_execution(arn, "FAILED")
    assert kept.item() == before
    line = bench.line()
    assert (line["level"], line["executionArn"], line["status"]) == ("ERROR", arn, "FAILED")


@pytest.mark.parametrize("status", UNSUCCESSFUL)
@pytest.mark.parametrize("known", [True, False], ids=["of an order", "of an order not in the ledger"])
def test_an_order_gets_the_reported_end_of_an_execution_that_is_being_deleted(bench, kept, status, known):
    """It is the last chance to read its order."""
    owner = bench.execution(attempt=1, status="DELETING")
    if known:
        kept.put_in(State.WAITING, owner=owner, order=ORDER)
    bench.examine_execution(owner.arn, status)
    assert kept.item()["state"] == status


# ── marks ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_deleted_execution_is_examined_and_logged_once(bench, on_lambda):
    arn = bench.execution().arn
    on_lambda.forget(arn)
    for _ in range(3):
        bench.examine_execution(arn, "FAILED")
    assert on_lambda.asked == ["GetDurableExecution"]
    assert bench.line()["level"] == "ERROR"


def test_one_conflict_too_many_is_read_and_logged_once(bench, kept, on_lambda, monkeypatch):
    monkeypatch.setattr(settlement, "MAX_CONFLICTS", 0)
    kept.put_in(State.WAITING, order=ORDER)
    arn = bench.execution(attempt=1, order=OTHER_BODY).arn
    for _ in range(3):
        bench.examine_execution(arn, "FAILED")
    assert on_lambda.asked == ["GetDurableExecution"]
    assert bench.line()["message"] == "too many conflicts, not rejected"


@pytest.mark.parametrize("order", [ORDER, OTHER_BODY], ids=["its own order", "a conflict"])
def test_a_direct_invoke_that_is_recorded_is_read_once(bench, kept, on_lambda, order):
    """Without a name, only its input has the order id."""
    if order is OTHER_BODY:
        kept.put_in(State.WAITING, order=ORDER)
    arn = bench.execution(order=order).arn
    for _ in range(3):
        bench.examine_execution(arn, "FAILED")
    assert on_lambda.asked == ["GetDurableExecution"]


def test_an_execution_named_for_an_attempt_after_the_last_is_read_and_logged_once(bench, kept, on_lambda):
    arn = on_lambda.end(on_lambda.begin(ORDER, f"{stack_hash(STACK_ID)}-ORDER-1-999999"), "FAILED")
    for _ in range(3):
        bench.examine_execution(arn, "FAILED")
    assert kept.item() is None
    assert on_lambda.asked == ["GetDurableExecution"]
    assert bench.line()["message"] == "attempt after the last"


def test_a_marked_execution_with_the_next_attempts_name_is_examined_again(bench, kept, on_lambda):
    """Otherwise nobody could retry the order until Lambda forgets the name."""
    owner = bench.execution(attempt=1, status="RUNNING")
    kept.put_in(State.WAITING, owner=owner, order=ORDER)
    early = bench.execution(attempt=2)
    for _ in range(2):
        bench.examine_execution(early.arn, "FAILED")
    assert on_lambda.asked == ["GetDurableExecution"]
    entry = bench.ledger.get("ORDER-1")
    bench.ledger.move("ORDER-1", 1, (State.FAILED,), unchanged(entry))
    bench.examine_execution(early.arn, "FAILED")
    assert (kept.item()["attempt"], kept.item()["executionArn"]) == (2, early.arn)


def test_a_marked_execution_that_owns_its_order_now_is_settled(bench, kept, marks):
    """A process that Lambda has given up on made its first write late."""
    owner = bench.execution(attempt=1)
    marks.put(owner.arn, Mark.UNTIL_NEXT_ATTEMPT)
    kept.put_in(State.ENRICHING, owner=owner, order=ORDER)
    bench.examine_execution(owner.arn, "FAILED")
    assert kept.item()["state"] == "FAILED"


@pytest.mark.parametrize("status", NOT_ENDED)
def test_an_execution_that_has_not_ended_is_not_marked(bench, marks, status):
    arn = bench.execution(status=status).arn
    bench.examine_execution(arn, "FAILED")
    assert marks.of([arn]) == {}


# ── conflicts ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("attempt", [1, None], ids=["a forgotten name", "a direct invoke"])
def test_another_body_is_rejected_once_and_noted(bench, kept, attempt):
    kept.put_in(State.WAITING, order=ORDER)
    before = kept.item()
    arn = bench.execution(attempt=attempt, order=OTHER_BODY).arn
    for _ in range(3):
        bench.examine_execution(arn, "FAILED")
    ((body, attributes),) = bench.rejects()
    assert parse_order(body) == OTHER_BODY
    assert (attributes["reasonCode"], attributes["sourceMessageId"]) == ("ORDER_CONFLICT", arn)
    told = json.loads(attributes["fieldErrors"])
    assert told[0] == {
        "field": "orderId",
        "reason": (
            "order ORDER-1 is known with another body, first received at"
            f" {before['history'][0]['at']} by the execution arn:first"
        ),
    }
    assert [error["field"] for error in told[1:]] == ["attributes.note"]
    after = kept.item()
    assert [conflict["executionArn"] for conflict in after.pop("conflicts")] == [arn]
    assert after == before
    line = bench.line()
    assert (line["message"], line["reasonCode"]) == ("order rejected", "ORDER_CONFLICT")
    assert (line["orderId"], line["executionArn"]) == ("ORDER-1", arn)


def test_a_reject_contains_no_character_that_sqs_refuses(bench, kept):
    """https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html"""
    kept.put_in(State.WAITING, order=ORDER)
    bench.examine_execution(bench.execution(order=OTHER_BODY).arn, "FAILED")
    ((body, _),) = bench.rejects()
    assert body.isascii()
    assert body.isprintable()


def test_a_reject_is_sent_again_when_it_could_not_be_noted(bench, kept, dynamodb):
    kept.put_in(State.WAITING, order=ORDER)
    arn = bench.execution(order=OTHER_BODY).arn
    down = [True]

    def unreachable(**_):
        if down:
            down.pop()
            raise ReadTimeoutError(endpoint_url="dynamodb")

    dynamodb.meta.events.register("before-call.dynamodb.UpdateItem", unreachable)
    with pytest.raises(LedgerUnavailable):
        bench.examine_execution(arn, "FAILED")
    assert "conflicts" not in kept.item()
    bench.examine_execution(arn, "FAILED")
    first, second = bench.rejects()
    assert first == second
    assert first[1]["sourceMessageId"] == arn
    assert len(kept.item()["conflicts"]) == 1


def test_a_reject_that_could_not_be_sent_is_an_error_and_not_noted(bench, kept, sqs):
    kept.put_in(State.WAITING, order=ORDER)
    before = kept.item()
    arn = bench.execution(order=OTHER_BODY).arn
    sqs.delete_queue(QueueUrl=bench.examiner.rejected._queue_url)
    with pytest.raises(RejectUnavailable):
        bench.examine_execution(arn, "FAILED")
    assert kept.item() == before
    assert bench.logged() == []
    sqs.create_queue(QueueName="rejected")
    bench.examine_execution(arn, "FAILED")
    assert len(bench.rejects()) == len(kept.item()["conflicts"]) == 1


def test_more_conflicts_than_an_order_can_note_are_an_error_in_the_log(bench, kept, monkeypatch):
    monkeypatch.setattr(settlement, "MAX_CONFLICTS", 2)
    kept.put_in(State.WAITING, order=ORDER)
    for number in range(2):
        note_conflict(bench.ledger, "ORDER-1", f"arn:{number}")
    arn = bench.execution(order=OTHER_BODY).arn
    bench.examine_execution(arn, "FAILED")
    assert bench.rejects() == []
    line = bench.line()
    assert (line["level"], line["orderId"], line["executionArn"]) == ("ERROR", "ORDER-1", arn)


def test_a_duplicate_with_the_same_body_is_not_rejected(bench, kept):
    kept.put_in(State.WAITING, order=ORDER)
    before = kept.item()
    bench.examine_execution(bench.execution(error_type="OrderInProgress", message="another runs it").arn, "FAILED")
    assert kept.item() == before
    assert (bench.rejects(), bench.logged()) == ([], [])


# ── stalled orders ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", UNSUCCESSFUL)
def test_a_stalled_order_whose_owner_ended_gets_that_end(bench, kept, status):
    owner = bench.execution(attempt=1, status=status)
    kept.put_in(State.WAITING, owner=owner, order=ORDER)
    bench.examine_order("ORDER-1")
    assert kept.item()["state"] == status


@pytest.mark.parametrize("status", [*NOT_ENDED, "DELETING"])
def test_a_stalled_order_whose_owner_has_not_ended_is_unchanged(bench, kept, status):
    """A paused execution is running. One that is being deleted is gone at the next examination."""
    owner = bench.execution(attempt=1, status=status)
    kept.put_in(State.WAITING, owner=owner, order=ORDER)
    before = kept.item()
    bench.examine_order("ORDER-1")
    assert kept.item() == before
    assert bench.logged() == []


def test_a_stalled_order_whose_owner_was_deleted_has_failed(bench, kept, on_lambda):
    owner = bench.execution(attempt=1, status="RUNNING")
    kept.put_in(State.WAITING, owner=owner, order=ORDER)
    on_lambda.forget(owner.arn)
    bench.examine_order("ORDER-1")
    assert (kept.item()["state"], kept.item()["error"]["type"]) == ("FAILED", "ExecutionLost")
    assert bench.line()["error"] == "ExecutionLost"


@pytest.mark.parametrize("attempt", [1, None], ids=["named", "a direct invoke"])
def test_an_open_order_whose_owner_succeeded_is_completed_and_never_marked(bench, kept, marks, attempt):
    owner = bench.success(attempt)
    for look in (lambda: bench.examine_order("ORDER-1"), lambda: bench.examine_execution(owner.arn, "SUCCEEDED")):
        kept.put_in(State.WAITING, owner=owner, order=ORDER)
        look()
        assert (kept.item()["state"], kept.item()["result"]) == ("COMPLETED", FINALIZATION)
        line = bench.logged()[-1]
        assert (line["level"], line["orderId"], line["state"]) == ("WARNING", "ORDER-1", "COMPLETED")
        kept.delete()
    assert marks.of([owner.arn]) == {}


def test_a_success_that_the_ledger_has_needs_no_read_of_lambda(bench, kept, on_lambda):
    owner = bench.success(1)
    kept.put_in(State.COMPLETED, owner=owner, order=ORDER)
    bench.examine_execution(owner.arn, "SUCCEEDED")
    assert on_lambda.asked == []


@pytest.mark.parametrize(("order", "result"), [(ORDER, "{}"), ("not an order", json.dumps(response_of("ORDER-1")))])
def test_a_success_that_cannot_be_read_is_an_error_in_the_log_and_its_order_stays(
    bench, kept, on_lambda, order, result
):
    owner = bench.execution(attempt=1, order=order, status="SUCCEEDED")
    on_lambda.records[owner.arn]["Result"] = result
    kept.put_in(State.FINALIZING, owner=owner, order=ORDER)
    before = kept.item()
    bench.examine_order("ORDER-1")
    assert kept.item() == before
    line = bench.line()
    assert (line["level"], line["executionArn"]) == ("ERROR", owner.arn)


def test_a_success_that_was_deleted_is_an_error_in_the_log_and_its_order_stays(bench, kept, on_lambda):
    owner = bench.success(1)
    kept.put_in(State.WAITING, owner=owner, order=ORDER)
    on_lambda.forget(owner.arn)
    bench.examine_execution(owner.arn, "SUCCEEDED")
    assert kept.item()["state"] == "WAITING"
    assert bench.line()["message"] == "execution gone before it was reconciled"


def test_an_execution_that_another_owner_refused_shows_that_an_item_is_lost(bench, kept):
    arn = bench.execution(error_type="OrderInProgress", message="order ORDER-1 is another's").arn
    bench.examine_execution(arn, "FAILED")
    assert kept.item() is None
    line = bench.line()
    assert (line["level"], line["message"], line["orderId"]) == ("ERROR", "order not in the ledger", "ORDER-1")


def test_a_direct_invoke_of_an_order_that_was_corrected_later_is_no_conflict(bench, kept):
    duplicate = bench.execution(error_type="OrderInProgress", message="another runs it")
    failed = kept.put_in(State.FAILED, order=ORDER)
    corrected = OrderExecution("ORDER-1", "arn:corrected", 2, named=True)
    kept.put_in(State.COMPLETED, order=OTHER_BODY, owner=corrected, after=failed)
    before = kept.item()
    bench.examine_execution(duplicate.arn, "FAILED")
    assert kept.item() == before
    assert (bench.rejects(), bench.logged()) == ([], [])


@pytest.mark.parametrize("state", [None, *sorted(TERMINAL)])
def test_an_ended_or_unknown_order_needs_no_read_of_lambda(bench, kept, on_lambda, state):
    if state:
        kept.put_in(state, order=ORDER)
    bench.examine_order("ORDER-1")
    assert on_lambda.asked == []


def test_an_order_that_is_retried_during_its_examination_is_unchanged(bench, kept, on_lambda):
    owner = bench.execution(attempt=1)
    entry = kept.put_in(State.WAITING, owner=owner, order=ORDER)
    retry = bench.execution(attempt=2, status="RUNNING")
    on_lambda.forget(owner.arn)

    def fail_and_retry():
        bench.ledger.move("ORDER-1", 1, (State.FAILED,), unchanged(entry))
        Ledger(bench.ledger).claim(ORDER, retry)

    kept.before_write(fail_and_retry)
    bench.examine_order("ORDER-1")
    assert (kept.item()["state"], kept.item()["executionArn"]) == ("ENRICHING", retry.arn)


def test_every_retryable_state_is_a_status_of_executions():
    assert set(UNSUCCESSFUL) == set(RETRYABLE)
