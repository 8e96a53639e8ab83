"""The ledger over moto and the template's own table; Lambda's executions and the rejected orders beside it."""

import itertools

import pytest

from shared.ledger import Ledger
from shared.rejects import RejectedOrders
from tests.integration.executions import ExecutionsOnLambda
from tests.integration.orders import OrderInLedger
from tests.unit.transport import session


@pytest.fixture
def ledger(dynamodb, ledger_table):
    ticks = itertools.count()
    return Ledger(dynamodb, ledger_table, now=lambda: f"2026-01-01T00:00:{next(ticks):06.3f}Z")


@pytest.fixture
def kept(ledger):
    return OrderInLedger(ledger)


@pytest.fixture
def on_lambda():
    return ExecutionsOnLambda()


@pytest.fixture
def sqs(aws):
    return session().client("sqs")


@pytest.fixture
def rejected(sqs):
    return RejectedOrders(sqs, sqs.create_queue(QueueName="rejected")["QueueUrl"])
