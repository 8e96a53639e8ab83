"""The current orchestrator, for the replay of recorded executions."""

import functools
import importlib
import json
import sys

import boto3
import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from tests.replay.replay import Lambda, Replay


class LedgerItems:
    """The ledger table, with items as JSON data."""

    def __init__(self, dynamodb, table):
        self._dynamodb, self._table = dynamodb, table

    def put(self, order_id, item):
        """Store the item of an order, or delete it if `item` is None."""
        if item is None:
            self._dynamodb.delete_item(TableName=self._table, Key={"orderId": {"S": order_id}})
        else:
            self._dynamodb.put_item(TableName=self._table, Item=TypeSerializer().serialize(item)["M"])

    def get(self, order_id):
        item = self._dynamodb.get_item(TableName=self._table, Key={"orderId": {"S": order_id}})["Item"]
        return json.loads(json.dumps(TypeDeserializer().deserialize({"M": item}), default=int))


@pytest.fixture
def replay(dynamodb, ledger_table, customers_table, monkeypatch):
    monkeypatch.setenv("LEDGER_TABLE", ledger_table)
    monkeypatch.setenv("LEDGER_RETENTION_DAYS", "0")
    monkeypatch.setenv("CUSTOMERS_TABLE", customers_table)
    monkeypatch.setenv("ENRICHER_ARN", "arn:aws:lambda:us-east-1:123456789012:function:orders-OrderEnricher")
    # As in the recording: the enricher cannot read this customer.
    dynamodb.put_item(TableName=customers_table, Item={"customerId": {"S": "BROKEN"}, "tier": {"N": "1"}})
    service = Lambda(imported("enricher.handler", monkeypatch).handler.__wrapped__)
    requests = []
    make_client = boto3.client

    def client(name, **settings):
        if name == "lambda":
            return service
        made = make_client(name, **settings)
        made.meta.events.register("before-call", lambda model, **_: requests.append(model.name))
        return made

    monkeypatch.setattr(boto3, "client", client)

    # The time for which the SDK waits for further checkpoints at the end of an invocation.
    monkeypatch.setattr("aws_durable_execution_sdk_python.state._STOP_SIGNAL_POLL_SECONDS", 0.001, raising=False)

    @functools.cache
    def handler_of(settings):
        for name, value in settings:
            monkeypatch.setenv(name, value)
        return imported("orchestrator.handler", monkeypatch).handler

    items = LedgerItems(dynamodb, ledger_table)
    return Replay(lambda settings: handler_of(tuple(settings.items())), service, items, requests)


def imported(name, monkeypatch):
    """Import the module again: it reads its settings and creates its clients at import."""
    monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module(name)
