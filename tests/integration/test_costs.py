"""The cost model rebuilds the sizes of an order's item that the ledger's code wrote, on moto."""

from shared.executions.names import OrderExecution
from shared.ledger.owner import Ledger
from shared.ledger.states import State
from shared.orders.order import parse_order
from tests.integration.item_sizes import size_of
from tests.integration.orders import ORDER, OWNER, RETRY
from tools.operations.costs import item_sizes

ENRICHMENT = {"statusCode": 200, "orderId": "ORDER-1", "enrichedData": {"customerId": "CUST-1", "totals": {"lines": 0}}}
RESULT = {"finalizedAt": "2026-01-01T00:00:00.000Z", "processedAt": "2026-01-01T00:00:00.000Z"}


def stored(dynamodb):
    return dynamodb.get_item(TableName="LedgerTable", Key={"orderId": {"S": "ORDER-1"}})["Item"]


def test_an_order_that_completes_has_the_sizes_of_its_stored_items(ledger, dynamodb):
    owner, sizes = Ledger(ledger), []
    for write in (
        lambda: owner.claim(ORDER, OWNER),
        lambda: owner.enriched(OWNER, ENRICHMENT),
        lambda: owner.finalizing(OWNER),
        lambda: owner.completed(OWNER, RESULT),
    ):
        write()
        sizes.append(size_of(stored(dynamodb)))
    assert item_sizes(ledger.get("ORDER-1")) == sizes


def test_a_retried_order_that_fails_again_has_the_sizes_of_its_stored_items(ledger, dynamodb):
    owner, sizes = Ledger(ledger), []
    for write in (
        lambda: owner.claim(ORDER, OWNER),
        lambda: owner.failed(OWNER, "EnricherUnavailable", "no answer"),
        lambda: owner.claim(ORDER, RETRY),
        lambda: owner.enriched(RETRY, ENRICHMENT),
        lambda: owner.failed(RETRY, "EnricherUnavailable", "no answer"),
    ):
        write()
        sizes.append(size_of(stored(dynamodb)))
    # The ARNs of these attempts differ by one byte; the item keeps the length of the last only.
    assert item_sizes(ledger.get("ORDER-1")) == [sizes[0] + 1, sizes[1] + 1, *sizes[2:]]


def test_an_order_without_a_customer_has_the_size_of_its_stored_item(ledger, dynamodb):
    me = OrderExecution("ORDER-1", "arn:first", 1, named=True)
    Ledger(ledger).claim(parse_order('{"orderId": "ORDER-1"}'), me)
    entry = ledger.get("ORDER-1")
    assert entry.state is State.ENRICHING
    assert item_sizes(entry) == [size_of(stored(dynamodb))]
