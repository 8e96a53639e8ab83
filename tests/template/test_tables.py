"""The tables match the code that reads and writes them, and they are retained when the stack is deleted."""

from datetime import UTC, datetime, timedelta

import boto3
import pytest

from shared.executions.names import OrderExecution
from shared.ledger.entry import ORDERS_INDEX, state_shard
from shared.ledger.owner import Ledger
from shared.ledger.states import State
from shared.ledger.table import LedgerWriter
from shared.orders.order import parse_order
from tools.operations.costs import INDEXES

NOW = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())


@pytest.fixture
def kept_order(dynamodb, ledger_table):
    """A function that returns the item of an order that has ended, in a ledger with this retention."""

    def item(days):
        me, retention = OrderExecution(f"ORDER-{days}", "arn:me"), timedelta(days=days)
        writer = LedgerWriter(dynamodb, ledger_table, now=lambda: "2026-01-01T00:00:00.000Z", retention=retention)
        Ledger(writer).claim(parse_order(f'{{"orderId": "ORDER-{days}"}}'), me)
        Ledger(writer).failed(me, "Broken", "it broke")
        return dynamodb.get_item(TableName=ledger_table, Key={"orderId": {"S": me.order_id}})["Item"]

    return item


@pytest.mark.parametrize("table", ["LedgerTable", "OperationsTable", "CustomersTable"])
def test_a_table_is_retained_and_can_be_restored(resources, properties, table):
    assert resources[table]["DeletionPolicy"] == "RetainExceptOnCreate"
    assert resources[table]["UpdateReplacePolicy"] == "Retain"
    assert properties(table)["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    # Without a key of the customer's there is no specification: then the key is one that AWS owns.
    key = {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": {"Ref": "KmsKeyArn"}}
    assert properties(table)["SSESpecification"] == {"Fn::If": ["HasKmsKey", key, {"Ref": "AWS::NoValue"}]}
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


def test_the_cost_model_counts_every_index_with_what_it_projects(properties):
    indexes = properties("LedgerTable")["GlobalSecondaryIndexes"]
    assert {index["IndexName"]: tuple(index["Projection"].get("NonKeyAttributes", ())) for index in indexes} == INDEXES
    keys = {tuple(key["AttributeName"] for key in index["KeySchema"]) for index in indexes}
    assert keys == {("stateShard", "updatedAt")}


def test_an_order_that_ended_expires_only_if_the_ledger_has_a_retention(properties, kept_order):
    ttl = properties("LedgerTable")["TimeToLiveSpecification"]
    assert ttl["Enabled"] == {"Fn::If": ["LedgerExpires", True, False]}
    assert ttl["AttributeName"] not in kept_order(days=0)
    assert kept_order(days=60)[ttl["AttributeName"]] == {"N": str(NOW + 60 * 86_400)}


def test_the_ledger_can_be_protected_from_deletion(properties):
    assert properties("LedgerTable")["DeletionProtectionEnabled"] == {"Fn::If": ["LedgerIsProtected", True, False]}


def test_the_index_has_the_ledgers_name_for_it_and_projects_what_lists_show(properties):
    """Each further attribute would be written again at every transition."""
    [index] = properties("LedgerTable")["GlobalSecondaryIndexes"]
    assert index["IndexName"] == ORDERS_INDEX
    assert index["Projection"] == {
        "ProjectionType": "INCLUDE",
        "NonKeyAttributes": ["attempt", "errorType", "customerId"],
    }


def test_the_indexs_keys_are_what_the_ledger_writes(properties, dynamodb, ledger_table):
    Ledger(LedgerWriter(dynamodb, ledger_table, now=lambda: "2026-01-01T00:00:00.000Z")).claim(
        parse_order('{"orderId": "ORDER-123"}'), OrderExecution("ORDER-123", "arn:me")
    )
    (item,) = dynamodb.scan(TableName=ledger_table)["Items"]
    [index] = properties("LedgerTable")["GlobalSecondaryIndexes"]
    keys = {key["KeyType"]: item[key["AttributeName"]] for key in index["KeySchema"]}
    assert keys == {
        "HASH": {"S": state_shard(State.ENRICHING, "ORDER-123")},
        "RANGE": {"S": "2026-01-01T00:00:00.000Z"},
    }


def test_the_customers_table_has_the_key_that_the_enricher_reads(properties, dynamodb, customers_table):
    from enricher.profiles import Customers

    boto3.client("dynamodb").put_item(TableName=customers_table, Item={"customerId": {"S": "CUST-1"}})
    order = parse_order('{"orderId": "A", "customerId": "CUST-1"}')
    assert Customers(dynamodb, customers_table).of(order).profile.kind == "CUSTOMER"
    assert properties("CustomersTable")["KeySchema"] == [{"AttributeName": "customerId", "KeyType": "HASH"}]
