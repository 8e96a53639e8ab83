"""An item with every field at its limit fits into DynamoDB's 400 KB, and can still be updated and ended."""

import json

import pytest
from moto.dynamodb.models.dynamo_type import LimitedSizeDict

from orchestrator.enricher import MAX_ANSWER_BYTES, Enricher
from shared.errors import LedgerRejected, TooManyAttempts
from shared.executions.names import MAX_ATTEMPT, OrderExecution
from shared.ledger.entry import marshalled, unmarshalled
from shared.ledger.owner import MAX_RESULT_BYTES, Ledger
from shared.ledger.settlement import MAX_CONFLICTS, note_conflict, note_status
from shared.ledger.states import State
from shared.ledger.table import unchanged
from shared.orders.fields import MAX_CANONICAL_BYTES
from shared.orders.order import parse_order
from tests.integration.item_sizes import size_of
from tests.unit.transport import Endpoint, client

ORDER_ID = "A" * 48
LONGEST_ARN = 1024
"""botocore's model of Lambda: `DurableExecutionArn`."""
MAX_ITEM_BYTES = 400 * 1024
WIDE = "\U0001f600" * 1_000
"""4,000 bytes of text in 1,000 characters."""


def arn(number):
    return f"arn:{number:04}".ljust(LONGEST_ARN, "x")


def execution(attempt):
    return OrderExecution(ORDER_ID, arn(attempt), attempt, named=True)


@pytest.fixture(scope="module")
def orders():
    """Two orders with the largest canonical form that differ in every field, in turn."""

    def largest(letter, placed_at):
        data = {
            "orderId": ORDER_ID,
            "customerId": letter * 64,
            "currency": "USD" if letter == "a" else "EUR",
            "placedAt": placed_at,
            "attributes": {f"{number:02}".ljust(64, letter): "\U0001f600" * 256 for number in range(50)},
            "items": [],
        }
        while len(parse_order(json.dumps(data)).canonical_bytes()) < MAX_CANONICAL_BYTES - 150:
            data["items"].append({"sku": letter * 64, "quantity": 1_000_000, "unitPrice": "999999999999.999999"})
        return parse_order(json.dumps(data))

    return [largest("a", "1997-01-01T12:00:00Z"), largest("b", "1998-01-01T12:00:00.000001Z")]


@pytest.fixture(scope="module")
def enrichment(orders):
    """The enrichment that has the most bytes in an item, of all that the orchestrator accepts."""
    answer = {
        "statusCode": 200,
        "orderId": ORDER_ID,
        "enrichedData": {
            "customerId": "C",
            "timestamp": "T",
            "profile": {"kind": "GUEST"},
            "totals": {"lines": 0, "units": 0, "amount": "0"},
        },
    }
    bare = json.dumps({**answer, "more": "@"}, separators=(",", ":"))
    texts = [
        _filled(bare, lambda count: "[" + ",".join(["1"] * count) + "]", "utf-8"),
        _filled(bare, lambda count: "[" + ",".join(["[]"] * count) + "]", "utf-8"),
        # JSON may be in UTF-16, in which a character of three bytes in UTF-8 has two.
        _filled(bare, lambda count: '"' + "中" * count + '"', "utf-16-le"),
    ]
    accepted = []
    for text in texts:
        lambda_ = client("lambda")
        Endpoint(lambda_, "Invoke", (200, {}, text))
        found = Enricher(lambda_, "enricher").enrich(orders[0], calls=1)
        accepted.append(found.model_dump(mode="json", by_alias=True, exclude_none=True))
    return max(accepted, key=lambda found: size_of(marshalled({"enrichment": found})))


def _filled(bare, filling, encoding):
    """The enrichment, filled to the largest size that is accepted."""
    few, many = 0, MAX_ANSWER_BYTES
    while few < many - 1:
        count = (few + many) // 2
        fits = len(bare.replace('"@"', filling(count)).encode(encoding)) <= MAX_ANSWER_BYTES
        few, many = (count, many) if fits else (few, count)
    return bare.replace('"@"', filling(few)).encode(encoding)


def run_to_finalizing(ledger, order, attempt, enrichment):
    Ledger(ledger).claim(order, execution(attempt))
    Ledger(ledger).enriched(execution(attempt), enrichment)
    Ledger(ledger).finalizing(execution(attempt))


def grown(item):
    """The item with the first number of conflicts and the second number of attempts, without the last attempt."""
    steps = item["history"]["L"]
    longest = [step["M"] for step in steps if step["M"]["attempt"] == {"N": "2"}]
    for attempt in range(3, MAX_ATTEMPT):
        for step in longest:
            own = {"executionArn": {"S": arn(attempt)}} if "executionArn" in step else {}
            steps.append({"M": {**step, "attempt": {"N": str(attempt)}, **own}})
    (conflict,) = item["conflicts"]["L"]
    for number in range(1, MAX_CONFLICTS):
        item["conflicts"]["L"].append({"M": {**conflict["M"], "executionArn": {"S": arn(9_000 + number)}}})
    return {**item, "attempt": {"N": str(MAX_ATTEMPT - 1)}, "version": {"N": str(len(steps))}}


@pytest.fixture
def moto_takes_any_size(monkeypatch):
    """moto counts a replaced list and its replacement, and would refuse an update that DynamoDB accepts."""
    monkeypatch.setattr(LimitedSizeDict, "__setitem__", dict.__setitem__)


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.usefixtures("moto_takes_any_size")
def test_an_item_at_every_limit_can_still_be_updated_and_ended(ledger, dynamodb, orders, enrichment):
    def item():
        return dynamodb.get_item(TableName="LedgerTable", Key={"orderId": {"S": ORDER_ID}}, ConsistentRead=True)["Item"]

    run_to_finalizing(ledger, orders[0], 1, enrichment)
    Ledger(ledger).failed(execution(1), WIDE, WIDE)
    # A field that an older version recorded and this one does not know: what the retry says of it is cut.
    entry = ledger.get(ORDER_ID)
    ledger.update(ORDER_ID, {"order": {**entry.order, WIDE: "1"}}, unchanged(entry))
    before = size_of({"history": item()["history"]})
    run_to_finalizing(ledger, orders[1], 2, enrichment)
    Ledger(ledger).failed(execution(2), WIDE, WIDE)
    an_attempt = size_of({"history": item()["history"]}) - before
    note_conflict(ledger, ORDER_ID, arn(9_000))
    dynamodb.put_item(TableName="LedgerTable", Item=grown(item()))

    note_conflict(ledger, ORDER_ID, arn(9_999))
    Ledger(ledger).claim(orders[0], execution(MAX_ATTEMPT))
    Ledger(ledger).enriched(execution(MAX_ATTEMPT), enrichment)
    waiting = item()
    for end in (State.COMPLETED, State.FAILED, State.CANCELLED):
        dynamodb.put_item(TableName="LedgerTable", Item=waiting)
        if end is State.CANCELLED:
            entry = ledger.get(ORDER_ID)
            ledger.move(ORDER_ID, MAX_ATTEMPT, (end,), unchanged(entry), detail=WIDE)
        else:
            Ledger(ledger).finalizing(execution(MAX_ATTEMPT))
        if end is State.COMPLETED:
            Ledger(ledger).completed(execution(MAX_ATTEMPT), {"finalizedAt": "x" * (MAX_RESULT_BYTES - 20)})
        if end is State.FAILED:
            Ledger(ledger).failed(execution(MAX_ATTEMPT), WIDE, WIDE)
        note_status(ledger, ledger.get(ORDER_ID), "TIMED_OUT")

        full = item()
        assert (full["state"]["S"], full["executionStatus"]["S"]) == (end, "TIMED_OUT")
        assert len(full["conflicts"]["L"]) == MAX_CONFLICTS
        assert sum("executionArn" in step["M"] for step in full["history"]["L"]) == MAX_ATTEMPT
        size = size_of(full)
        room = MAX_ITEM_BYTES - size
        assert room > an_attempt, f"{size} bytes, {an_attempt} an attempt: {MAX_ATTEMPT + room // an_attempt} would fit"


def test_an_attempt_after_the_last_is_refused_and_writes_nothing(ledger, dynamodb, orders):
    for before in (None, MAX_ATTEMPT):
        if before:
            Ledger(ledger).claim(orders[0], execution(before))
            Ledger(ledger).failed(execution(before), WIDE, WIDE)
        kept = dynamodb.scan(TableName="LedgerTable")["Items"]
        with pytest.raises(TooManyAttempts, match=f"an order has at most {MAX_ATTEMPT} attempts"):
            Ledger(ledger).claim(orders[0], execution(MAX_ATTEMPT + 1))
        assert dynamodb.scan(TableName="LedgerTable")["Items"] == kept


def test_a_result_that_the_item_has_no_room_for_is_refused(ledger, dynamodb, orders, enrichment):
    run_to_finalizing(ledger, orders[0], 1, enrichment)
    with pytest.raises(LedgerRejected, match=f"more than the {MAX_RESULT_BYTES} allowed"):
        Ledger(ledger).completed(execution(1), {"finalizedAt": "x" * MAX_RESULT_BYTES})
    assert unmarshalled(dynamodb.scan(TableName="LedgerTable")["Items"][0])["state"] == "FINALIZING"
