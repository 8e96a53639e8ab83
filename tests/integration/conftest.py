"""The ledger on moto with the template's table; Lambda's executions and the rejected-orders queue."""

from datetime import timedelta

import pytest

from reconciler.examiner import Examiner
from reconciler.marks import Marks
from reconciler.pace import Pace
from shared.aws.rejected_orders import RejectedOrders
from shared.ledger.table import LedgerTable
from tests.integration.executions import ExecutionsOnLambda
from tests.integration.orders import OrderInLedger, Ticks
from tests.unit.transport import session


@pytest.fixture
def ledger(dynamodb, ledger_table):
    return LedgerTable(dynamodb, ledger_table, now=Ticks())


@pytest.fixture
def marks(dynamodb, operations_table):
    return Marks(dynamodb, operations_table, keep=timedelta(days=2), sleep=lambda _: None)


@pytest.fixture
def examiner(ledger, on_lambda, rejected, marks, logger):
    return Examiner(ledger, on_lambda.orders, rejected, marks, Pace(1_000_000), logger)


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
