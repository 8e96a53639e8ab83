"""The reconciler's two Lambda functions: `handler` for events of status changes, and `sweep` on a schedule.

Builds the clients of both.
"""

import json
import os
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import boto3
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from reconciler.examiner import Examiner
from reconciler.marks import Marks
from reconciler.pace import Pace
from reconciler.publisher_source import is_off
from reconciler.sweep import LOOKBACK, Sweep
from shared.aws.clients import client_config
from shared.aws.logs import logger
from shared.aws.metrics import FunctionMetrics
from shared.aws.rejected_orders import RejectedOrders
from shared.executions.client import ExecutionsClient
from shared.ledger.table import LedgerTable

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.typing import LambdaContext

READ_TIMEOUT_SECONDS = 3
MAX_TRIES = 3
READS_PER_SECOND = 8
"""Two concurrent batches of status changes and one sweep together stay below the account's 30 reads per second."""

MARKS_TIMEOUT_SECONDS = 1
"""With one try: if a mark cannot be written, the next sweep writes it."""

_config = client_config(READ_TIMEOUT_SECONDS, MAX_TRIES)
_execution_timeout = timedelta(seconds=int(os.environ["EXECUTION_TIMEOUT_SECONDS"]))
_logger = logger("reconciler")
_metrics = FunctionMetrics("reconciler")
_lambda = boto3.client("lambda", config=_config)
_examiner = Examiner(
    LedgerTable(
        boto3.client("dynamodb", config=_config),
        os.environ["LEDGER_TABLE"],
        retention=timedelta(days=int(os.environ["LEDGER_RETENTION_DAYS"])),
    ),
    ExecutionsClient(_lambda, os.environ["ORCHESTRATOR_ARN"], os.environ["STACK_ID"]),
    RejectedOrders(boto3.client("sqs", config=_config), os.environ["REJECTED_ORDERS_QUEUE_URL"]),
    Marks(
        boto3.client("dynamodb", config=client_config(MARKS_TIMEOUT_SECONDS)),
        os.environ["OPERATIONS_TABLE"],
        keep=LOOKBACK + _execution_timeout,
    ),
    Pace(READS_PER_SECOND),
    _logger,
)
_publisher_source = os.environ["PUBLISHER_SOURCE"]
_sweep = Sweep(
    _examiner,
    wait=timedelta(seconds=int(os.environ["WAIT_SECONDS"])),
    execution_timeout=_execution_timeout,
    logger=_logger,
)


def _process(record: SQSRecord) -> None:
    """Process one status change, in EventBridge's envelope."""
    subject = {"messageId": record.message_id}
    try:
        detail = json.loads(record.body)["detail"]
        subject["executionArn"] = detail["durableExecutionArn"]
        _examiner.examine_execution(detail["durableExecutionArn"], detail["status"])
    except Exception as error:
        _logger.warning("event given back", extra={**subject, "reason": f"{type(error).__name__}: {error}"})
        raise


@_logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: "LambdaContext") -> "PartialItemFailureResponse":
    """Process a batch of status changes. Returns the ids of the messages to give back."""
    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    return process_partial_response(event, _process, processor, context)


@_logger.inject_lambda_context(clear_state=True)
def sweep(_event: dict[str, Any], context: "LambdaContext") -> dict[str, int]:
    """Examine what no event reported, and emit the sweep's metrics.

    Returns how many cases there were, `failed`, and were `left` for later sweeps.
    """
    if (off := is_off(_lambda, _publisher_source, _logger)) is not None:
        _metrics.emit(context.function_name, {"PublisherOff": [int(off)]})
    return _sweep.run(
        lambda: context.get_remaining_time_in_millis() / 1000, partial(_metrics.emit, context.function_name)
    )
