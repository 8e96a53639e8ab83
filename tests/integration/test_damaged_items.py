"""An item that cannot be read is an error that names the order and the remedy, in every function that reads it."""

import pytest

from shared.errors import EntryUnreadable
from shared.executions.names import OrderExecution
from shared.ledger.owner import Ledger
from shared.ledger.settlement import settle
from shared.ledger.states import State
from tests.integration.orders import ORDER, OWNER
from tests.integration.test_settlement import COMPLETION, FAILED
from tools.operations.cancel import cancel
from tools.operations.check import check
from tools.operations.ledger_items import LedgerItems
from tools.operations.retry import retry

REMEDY = "see docs/operations.md, An item that cannot be read"
DAMAGES = {
    "an unknown state": ("SET #s = :v", {"#s": "state"}, {"S": "ARCHIVED"}, "an unknown state or type"),
    "a state of another type": ("SET #s = :v", {"#s": "state"}, {"N": "5"}, "an unknown state or type"),
    "an unknown state in the history": (
        "SET history[0].#s = :v",
        {"#s": "state"},
        {"S": "ARCHIVED"},
        "an unknown state or type",
    ),
    "the index key of another state": (
        "SET #k = :v",
        {"#k": "stateShard"},
        {"S": "COMPLETED#0"},
        "stateShard does not agree with the state WAITING",
    ),
    "no owner": ("REMOVE #a", {"#a": "executionArn"}, None, "its item has no 'executionArn'"),
}
OTHER = OrderExecution("ORDER-1", "arn:other", 1, named=True)


@pytest.fixture(params=DAMAGES)
def told(request, kept, dynamodb):
    """The item of a waiting order, damaged. Returns what each error must say."""
    kept.put_in(State.WAITING)
    expression, names, value, reason = DAMAGES[request.param]
    dynamodb.update_item(
        TableName="LedgerTable",
        Key={"orderId": {"S": "ORDER-1"}},
        UpdateExpression=expression,
        ExpressionAttributeNames=names,
        **({"ExpressionAttributeValues": {":v": value}} if value else {}),
    )
    return reason


def test_every_function_that_reads_a_damaged_item_names_the_order_and_the_remedy(
    told, ledger, kept, examiner, on_lambda
):
    before = kept.item()
    readers = {
        "get": lambda: ledger.get("ORDER-1"),
        "settle a failure": lambda: settle(ledger, ORDER, OWNER, FAILED),
        "settle a success": lambda: settle(ledger, ORDER, OWNER, COMPLETION),
        "a claim": lambda: Ledger(ledger).claim(ORDER, OTHER),
        "a write of another execution": lambda: Ledger(ledger).finalizing(OTHER),
        "cancel": lambda: cancel("ORDER-1", ledger, on_lambda.orders),
        "retry": lambda: retry("ORDER-1", ledger, on_lambda.orders),
        "the sweep": lambda: examiner.examine_order("ORDER-1"),
    }
    for name, read in readers.items():
        with pytest.raises(EntryUnreadable) as raised:
            read()
        assert str(raised.value).startswith("order ORDER-1: "), name
        assert told in str(raised.value), name
        assert str(raised.value).endswith(REMEDY), name
    assert kept.item() == before
    assert on_lambda.asked == []


def test_check_finds_each_damaged_item_and_no_other(told, ledger, dynamodb):
    for number in range(3):
        execution = OrderExecution(f"GOOD-{number}", "arn:good")
        ledger.begin(ORDER, execution, (State.RECEIVED,), None, fields={"enrichStarts": 0})
    (error,) = check(LedgerItems(dynamodb, "LedgerTable"))
    assert str(error).startswith("order ORDER-1: ")
    assert told in str(error)
