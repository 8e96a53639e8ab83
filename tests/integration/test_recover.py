"""Recovering the ledger: from Lambda's executions, and from a restored table."""

from datetime import UTC, datetime, timedelta

import pytest

from reconciler.marks import Mark
from shared.executions.names import OrderExecution, execution_of
from shared.ledger.owner import Ledger
from shared.ledger.states import PATH, State
from shared.orders.order import parse_order
from tests.integration.executions import ENRICHMENT, FINALIZATION, response_of
from tests.unit.executions import STACK_ID, name_of
from tests.unit.transport import refusal
from tools.operations.copy_back import CopiedBack, copy_back
from tools.operations.ledger_items import LedgerItems
from tools.operations.recover import Recovery, recover

LONG_AGO = datetime.now(UTC) - timedelta(days=1)


class Bench:
    """Executions of several orders on Lambda, the ledger, and a recovery of it."""

    def __init__(self, examiner, on_lambda, dynamodb):
        self.examiner, self.on_lambda, self.ledger = examiner, on_lambda, examiner.ledger
        self.items = LedgerItems(dynamodb, "LedgerTable", sleep=lambda _: None)

    def execution(self, order_id, attempt=1, status="SUCCEEDED", body="", error_type=None):
        """An execution that has ended, without a trace in the ledger. Returns what the ledger calls it."""
        order = order_of(order_id, body)
        name = None if attempt is None else name_of(order_id, attempt)
        if status == "SUCCEEDED":
            return execution_of(order, self.on_lambda.succeed(order, name), STACK_ID)
        return execution_of(
            order, self.on_lambda.end(self.on_lambda.begin(order, name), status, error_type, "it broke"), STACK_ID
        )

    def run(self, me, body="", *, failed=False):
        """What an execution writes on its way to its end."""
        owner = Ledger(self.ledger)
        owner.claim(order_of(me.order_id, body), me)
        if failed:
            owner.failed(me, "Broken", "it broke")
            return
        owner.enriched(me, ENRICHMENT | {"orderId": me.order_id})
        owner.finalizing(me)
        owner.completed(me, FINALIZATION)

    def delete(self, *order_ids):
        for order_id in order_ids:
            self.items.client.delete_item(TableName="LedgerTable", Key={"orderId": {"S": order_id}})

    def recover(self, **options):
        return recover(LONG_AGO, self.examiner, self.items, **options)

    def states(self, order_id):
        return [(step.state, step.attempt) for step in self.ledger.get(order_id).history]


def order_of(order_id, body=""):
    note = f', "attributes": {{"note": "{body}"}}' if body else ""
    return parse_order(f'{{"orderId": "{order_id}"{note}}}')


@pytest.fixture
def bench(examiner, on_lambda, dynamodb):
    return Bench(examiner, on_lambda, dynamodb)


# ── from Lambda ─────────────────────────────────────────────────────────────────────────────────────


def test_what_the_ledger_has_is_not_read_from_lambda(bench, on_lambda):
    for number in range(5):
        bench.run(bench.execution(f"DONE-{number}"))
        bench.run(bench.execution(f"BROKEN-{number}", status="FAILED"), failed=True)
    assert bench.recover() == Recovery(listed=10)
    assert on_lambda.count("GetDurableExecution") == 0


def test_a_deleted_item_is_recovered_attempt_by_attempt(bench, on_lambda):
    """Lambda lists the newest first. In that order the first attempt would look like a conflict."""
    second = bench.execution("LOST", 2, body="corrected")
    first = bench.execution("LOST", 1, "FAILED", error_type="Broken")
    bench.run(first, failed=True)
    bench.run(second, "corrected")
    expected = bench.states("LOST")
    bench.delete("LOST")
    assert bench.recover() == Recovery(listed=2, differ=2, examined=2)
    entry = bench.ledger.get("LOST")
    assert bench.states("LOST") == [(State.RECEIVED, 1), (State.FAILED, 1), *expected[-6:]]
    assert (entry.execution_arn, entry.order, entry.result) == (
        second.arn,
        order_of("LOST", "corrected").canonical(),
        FINALIZATION,
    )
    assert bench.recover() == Recovery(listed=2)
    assert on_lambda.count("GetDurableExecution") == 2


@pytest.mark.parametrize("status", ["FAILED", "SUCCEEDED"])
def test_an_item_set_back_to_its_first_attempt_gets_the_attempts_that_it_lacks(bench, status):
    first, second, third = (
        bench.execution("OLD", attempt, "FAILED" if attempt < 3 else status, error_type="Broken")
        for attempt in (1, 2, 3)
    )
    owner = Ledger(bench.ledger)
    owner.claim(order_of("OLD"), first)
    owner.enriched(first, ENRICHMENT)
    bench.recover()
    entry = bench.ledger.get("OLD")
    assert entry.owners == {first.arn, second.arn, third.arn}
    assert (entry.state, entry.attempt) == ("COMPLETED" if status == "SUCCEEDED" else "FAILED", 3)


def test_an_item_of_an_attempt_whose_execution_is_gone_gets_the_later_success(bench, on_lambda):
    gone, later = bench.execution("OLD", 1, "FAILED"), bench.execution("OLD", 2)
    Ledger(bench.ledger).claim(order_of("OLD"), gone)
    on_lambda.forget(gone.arn)
    bench.recover()
    assert bench.states("OLD") == [
        (State.RECEIVED, 1),
        (State.ENRICHING, 1),
        (State.FAILED, 1),
        *((state, 2) for state in PATH),
    ]
    assert bench.ledger.get("OLD").execution_arn == later.arn


def test_a_direct_invoke_without_a_name_is_recovered_although_it_is_marked(bench, marks):
    direct = bench.execution("DIRECT", attempt=None)
    failed = bench.execution("BROKEN", attempt=None, status="FAILED", error_type="Broken")
    marks.put(failed.arn, Mark.FINAL)
    assert bench.recover() == Recovery(listed=2, differ=2, examined=2)
    assert (bench.ledger.get("DIRECT").state, bench.ledger.get("DIRECT").execution_arn) == ("COMPLETED", direct.arn)
    assert bench.ledger.get("BROKEN").state == "FAILED"


def test_a_refused_duplicate_does_not_make_the_item_of_the_order_that_succeeded(bench):
    bench.execution("LOST", None, "FAILED", error_type="OrderInProgress")
    owner = bench.execution("LOST")
    bench.recover()
    assert bench.states("LOST") == [(state, 1) for state in PATH]
    assert bench.ledger.get("LOST").execution_arn == owner.arn


def test_an_execution_that_cannot_be_recovered_is_named_and_the_others_are_recovered(bench, on_lambda):
    for number in range(3):
        bench.execution(f"LOST-{number}")
    on_lambda.fail("GetDurableExecution", refusal(429, "TooManyRequestsException"))
    done = bench.recover()
    (failure,) = done.failed
    assert "ExecutionUnavailable" in failure
    assert (done.differ, done.examined) == (3, 3)
    assert bench.recover().failed == ()
    assert all(bench.ledger.get(f"LOST-{number}").state == "COMPLETED" for number in range(3))


def test_a_recovery_that_is_stopped_goes_on_where_it_was(bench, on_lambda):
    for number in range(4):
        bench.execution(f"LOST-{number}")

    def stop(done):
        if done.examined == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.recover(on_progress=stop)
    assert bench.recover() == Recovery(listed=4, differ=2, examined=2)
    assert on_lambda.count("GetDurableExecution") == 4


def test_an_item_that_cannot_be_read_is_named_and_stays(bench, dynamodb):
    bench.run(bench.execution("DAMAGED"))
    (item,) = dynamodb.scan(TableName="LedgerTable")["Items"]
    damaged = item | {"state": {"S": "ARCHIVED"}}
    dynamodb.put_item(TableName="LedgerTable", Item=damaged)
    done = bench.recover()
    assert done.differ == 0
    assert done.failed[0].startswith("order DAMAGED: ")
    assert dynamodb.scan(TableName="LedgerTable")["Items"] == [damaged]


def test_items_are_read_in_batches_of_a_hundred_and_the_keys_left_out_again(bench, dynamodb):
    for number in range(150):
        bench.ledger.begin(
            order_of(f"O-{number}"),
            OrderExecution(f"O-{number}", f"arn:{number}"),
            (State.RECEIVED,),
            None,
            fields={"enrichStarts": 0},
        )
    sizes = []

    def leave_half_out(params, **_):
        keys = params["RequestItems"]["LedgerTable"]["Keys"]
        sizes.append(len(keys))
        if len(sizes) == 1:
            params["RequestItems"]["LedgerTable"]["Keys"] = keys[:50]
            left_out.append(keys[50:])

    def say_so(parsed, **_):
        if left_out:
            parsed["UnprocessedKeys"] = {"LedgerTable": {"Keys": left_out.pop()}}

    left_out = []
    dynamodb.meta.events.register("provide-client-params.dynamodb.BatchGetItem", leave_half_out)
    dynamodb.meta.events.register("after-call.dynamodb.BatchGetItem", say_so)
    found = bench.items.of([f"O-{number}" for number in range(150)] + ["UNKNOWN", "O-1"])
    assert found.keys() == {f"O-{number}" for number in range(150)}
    assert sizes == [100, 50, 51]


def test_an_execution_that_ended_before_the_ledgers_retention_is_left_out(bench, on_lambda, monkeypatch):
    """Its item was not lost: it has expired. Without a retention nothing expires."""
    old, new = bench.execution("OLD"), bench.execution("NEW")
    ended = datetime.now(UTC) - timedelta(hours=7)
    on_lambda.end(old.arn, "SUCCEEDED", at=ended, result=on_lambda.records[old.arn]["Result"])
    monkeypatch.setattr(bench.ledger, "retention", timedelta(hours=6))
    assert bench.recover() == Recovery(listed=2, differ=1, examined=1)
    assert (bench.ledger.get("OLD"), bench.ledger.get("NEW").execution_arn) == (None, new.arn)
    monkeypatch.setattr(bench.ledger, "retention", None)
    assert bench.recover() == Recovery(listed=2, differ=1, examined=1)
    assert bench.ledger.get("OLD").execution_arn == old.arn


# ── from a restored table ───────────────────────────────────────────────────────────────────────────


@pytest.fixture
def restored(bench, dynamodb):
    """A table restored from the ledger as it was: three orders, of which the ledger has lost one and moved one on."""
    described = dynamodb.describe_table(TableName="LedgerTable")["Table"]
    for order_id in ("LOST", "SAME", "AHEAD"):
        Ledger(bench.ledger).claim(order_of(order_id), OrderExecution(order_id, f"arn:{order_id}"))
    dynamodb.create_table(
        TableName="restored",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=described["KeySchema"],
        AttributeDefinitions=[{"AttributeName": "orderId", "AttributeType": "S"}],
    )
    for item in dynamodb.scan(TableName="LedgerTable")["Items"]:
        dynamodb.put_item(TableName="restored", Item=item)
    bench.delete("LOST")
    Ledger(bench.ledger).enriched(OrderExecution("AHEAD", "arn:AHEAD"), ENRICHMENT)
    return LedgerItems(dynamodb, "restored")


def test_only_what_the_ledger_lacks_is_copied_back(bench, restored):
    ahead = bench.ledger.get("AHEAD")
    assert copy_back(restored, bench.items) == CopiedBack(copied=1, kept=2)
    assert (bench.ledger.get("LOST").state, bench.ledger.get("AHEAD")) == (State.ENRICHING, ahead)
    assert copy_back(restored, bench.items) == CopiedBack(copied=0, kept=3)


def test_an_item_that_has_expired_is_not_copied_back(bench, restored, dynamodb):
    bench.delete("SAME")
    for order_id, at in (("LOST", timedelta(-1)), ("SAME", timedelta(1))):
        dynamodb.update_item(
            TableName="restored",
            Key={"orderId": {"S": order_id}},
            UpdateExpression="SET expiresAt = :at",
            ExpressionAttributeValues={":at": {"N": str(int((datetime.now(UTC) + at).timestamp()))}},
        )
    assert copy_back(restored, bench.items) == CopiedBack(copied=1, kept=2)
    assert (bench.ledger.get("LOST"), bench.ledger.get("SAME").state) == (None, State.ENRICHING)


def test_an_item_with_a_lower_version_is_replaced_whole(bench, restored, dynamodb):
    Ledger(bench.ledger).finalizing(OrderExecution("AHEAD", "arn:AHEAD"))
    newer = dynamodb.get_item(TableName="LedgerTable", Key={"orderId": {"S": "AHEAD"}})["Item"]
    dynamodb.put_item(TableName="restored", Item=newer)
    bench.delete("AHEAD")
    Ledger(bench.ledger).claim(order_of("AHEAD"), OrderExecution("AHEAD", "arn:another"))
    assert copy_back(restored, bench.items).copied == 2
    assert dynamodb.get_item(TableName="LedgerTable", Key={"orderId": {"S": "AHEAD"}})["Item"] == newer


def test_an_order_that_moves_on_during_the_copy_keeps_its_newer_item(bench, restored, dynamodb):
    bench.delete("SAME")

    def meanwhile(**_):
        dynamodb.meta.events.unregister("before-call.dynamodb.PutItem", meanwhile)
        for order_id in ("LOST", "SAME"):
            me = OrderExecution(order_id, "arn:another")
            Ledger(bench.ledger).claim(order_of(order_id), me)
            Ledger(bench.ledger).enriched(me, ENRICHMENT)

    dynamodb.meta.events.register("before-call.dynamodb.PutItem", meanwhile)
    assert copy_back(restored, bench.items) == CopiedBack(copied=0, kept=3)
    assert {bench.ledger.get(order_id).execution_arn for order_id in ("LOST", "SAME")} == {"arn:another"}


def test_a_restored_item_that_cannot_be_read_is_named_and_not_copied(bench, restored, dynamodb):
    dynamodb.put_item(TableName="restored", Item={"orderId": {"S": "DAMAGED"}})
    done = copy_back(restored, bench.items)
    assert done.copied == 1
    assert done.unreadable[0].startswith("order DAMAGED: ")
    assert bench.ledger.get("DAMAGED") is None


def test_the_result_of_a_recovered_order_is_its_executions_own(bench):
    bench.execution("LOST")
    bench.recover()
    entry = bench.ledger.get("LOST")
    response = response_of("LOST")
    assert (entry.enrichment, entry.result) == (response["enrichmentResult"], FINALIZATION)
