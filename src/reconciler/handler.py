"""The reconciler's two Lambda functions: `handler` for reported status changes, `sweep` on a schedule for the others.

Wires both to their clients.
"""

import json
import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import boto3
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from reconciler.marks import Marks
from reconciler.pace import Pace
from reconciler.reconciler import Reconciler
from reconciler.sweep import LATE, Sweep
from shared.aws.clients import client_config
from shared.aws.logs import logger
from shared.aws.rejected_orders import RejectedOrders
from shared.executions.client import OrderExecutions
from shared.ledger.table import LedgerTable

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.typing import LambdaContext

READ_TIMEOUT_S = 3
TRIES = 3
READS_PER_S = 8
"""Two batches of status changes and one sweep together stay below the account's 30 a second."""

MARKS_TIMEOUT_S = 1
"""One try: an execution that could not be marked is marked by the next sweep."""

STACK_ID = os.environ["STACK_ID"]

_config = client_config(READ_TIMEOUT_S, TRIES)
_execution_timeout = timedelta(seconds=int(os.environ["EXECUTION_TIMEOUT_SECONDS"]))
_logger = logger("reconciler")
_reconciler = Reconciler(
    LedgerTable(boto3.client("dynamodb", config=_config), os.environ["LEDGER_TABLE"]),
    OrderExecutions(boto3.client("lambda", config=_config), os.environ["ORCHESTRATOR_ARN"], STACK_ID),
    RejectedOrders(boto3.client("sqs", config=_config), os.environ["REJECTED_ORDERS_QUEUE_URL"]),
    Marks(
        boto3.client("dynamodb", config=client_config(MARKS_TIMEOUT_S)),
        os.environ["OPERATIONS_TABLE"],
        keep=LATE + _execution_timeout,
    ),
    STACK_ID,
    Pace(READS_PER_S),
    _logger,
)
_sweep = Sweep(
    _reconciler,
    wait=timedelta(seconds=int(os.environ["WAIT_SECONDS"])),
    execution_timeout=_execution_timeout,
    logger=_logger,
)


def _take(record: SQSRecord) -> None:
    """One status change, in EventBridge's envelope."""
    subject = {"messageId": record.message_id}
    try:
        detail = json.loads(record.body)["detail"]
        subject["executionArn"] = detail["durableExecutionArn"]
        _reconciler.ended(detail["durableExecutionArn"], detail["status"])
    except Exception as error:
        _logger.warning("event given back", extra={**subject, "reason": f"{type(error).__name__}: {error}"})
        raise


@_logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: "LambdaContext") -> "PartialItemFailureResponse":
    """Reconcile a batch of status changes; answer the ids to give back."""
    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    return process_partial_response(event, _take, processor, context)


@_logger.inject_lambda_context(clear_state=True)
def sweep(_event: dict[str, Any], context: "LambdaContext") -> dict[str, int]:
    """Look for what no event told of; answer how many cases there were, failed and were left for the next sweep."""
    return _sweep.run(lambda: context.get_remaining_time_in_millis() / 1000)
