"""The tables are those that the code reads and writes, and they outlive the stack."""

from datetime import UTC, datetime, timedelta

import boto3
import pytest

from shared.executions.names import OrderExecution
from shared.ledger.entry import STATE_INDEX, state_shard
from shared.ledger.owner import Ledger
from shared.ledger.states import State
from shared.ledger.table import LedgerWriter
from shared.orders.order import parse_order


@pytest.mark.parametrize("table", ["LedgerTable", "OperationsTable", "CustomersTable"])
def test_a_table_survives_the_stack_and_can_be_restored(resources, properties, table):
    assert resources[table]["DeletionPolicy"] == "RetainExceptOnCreate"
    assert resources[table]["UpdateReplacePolicy"] == "Retain"
    assert properties(table)["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert properties(table)["SSESpecification"] == {"SSEEnabled": True}
    assert properties(table)["BillingMode"] == "PAY_PER_REQUEST"


def test_a_mark_has_the_operations_tables_keys_and_expires(properties, dynamodb, operations_table):
    from reconciler.marks import Mark, Marks

    now = datetime(2026, 1, 1, tzinfo=UTC)
    Marks(dynamodb, operations_table, keep=timedelta(hours=1), now=lambda: now).put("arn:execution", Mark.FINAL)
    (item,) = dynamodb.scan(TableName=operations_table)["Items"]
    assert {key["AttributeName"] for key in properties("OperationsTable")["KeySchema"]} == {"pk", "sk"} <= item.keys()
    ttl = properties("OperationsTable")["TimeToLiveSpecification"]
    assert ttl["Enabled"] is True
    assert item[ttl["AttributeName"]] == {"N": str(int(now.timestamp()) + 3600)}


def test_the_index_has_the_name_that_the_ledger_asks_by_and_projects_its_keys_alone(properties):
    """Each attribute more would be written again with every transition."""
    (index,) = properties("LedgerTable")["GlobalSecondaryIndexes"]
    assert index["IndexName"] == STATE_INDEX
    assert index["Projection"] == {"ProjectionType": "KEYS_ONLY"}


def test_the_indexs_keys_are_what_the_ledger_writes(properties, dynamodb, ledger_table):
    Ledger(LedgerWriter(dynamodb, ledger_table, now=lambda: "2026-01-01T00:00:00.000Z")).claim(
        parse_order('{"orderId": "ORDER-123"}'), OrderExecution("ORDER-123", "arn:me")
    )
    (item,) = dynamodb.scan(TableName=ledger_table)["Items"]
    (index,) = properties("LedgerTable")["GlobalSecondaryIndexes"]
    keys = {key["KeyType"]: item[key["AttributeName"]] for key in index["KeySchema"]}
    assert keys == {
        "HASH": {"S": state_shard(State.ENRICHING, "ORDER-123")},
        "RANGE": {"S": "2026-01-01T00:00:00.000Z"},
    }


def test_customers_are_found_by_the_key_that_the_enricher_asks_by(properties, dynamodb, customers_table):
    from enricher.profiles import Customers

    boto3.client("dynamodb").put_item(TableName=customers_table, Item={"customerId": {"S": "CUST-1"}})
    order = parse_order('{"orderId": "A", "customerId": "CUST-1"}')
    assert Customers(dynamodb, customers_table).of(order).profile.kind == "CUSTOMER"
    assert properties("CustomersTable")["KeySchema"] == [{"AttributeName": "customerId", "KeyType": "HASH"}]
