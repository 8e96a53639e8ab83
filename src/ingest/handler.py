"""The ingest Lambda function: starts an execution for each order in the orders queue. Builds the clients."""

import os
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import boto3
from aws_lambda_powertools.utilities.batch import process_partial_response

from ingest.batch import MAX_THREADS, ParallelBatchProcessor
from ingest.intake import ACCEPTED, Intake
from shared.aws.clients import client_config
from shared.aws.logs import logger
from shared.aws.metrics import FunctionMetrics
from shared.aws.rejected_orders import RejectedOrders
from shared.executions.client import ExecutionsClient
from shared.ledger.table import LedgerReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.typing import LambdaContext

# A start that hangs is given up, with all its tries, before the function's timeout (30 s), so that the other records of
# the batch are not given back.
READ_TIMEOUT_SECONDS = 5
MAX_TRIES = 3
DEADLINE_RESERVE_SECONDS = 2

_config = client_config(READ_TIMEOUT_SECONDS, MAX_TRIES, MAX_THREADS)
_logger = logger("ingest")
_metrics = FunctionMetrics("ingest")
_intake = Intake(
    ExecutionsClient(boto3.client("lambda", config=_config), os.environ["ORCHESTRATOR_ARN"], os.environ["STACK_ID"]),
    RejectedOrders(boto3.client("sqs", config=_config), os.environ["REJECTED_ORDERS_QUEUE_URL"]),
    LedgerReader(boto3.client("dynamodb", config=_config), os.environ["LEDGER_TABLE"]),
    _logger,
    os.environ["ORDER_ID_PREFIX"],
)


@_logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: "LambdaContext") -> "PartialItemFailureResponse":
    """Process a batch. Returns the ids of the messages to give back, and emits the batch's metrics."""
    processor = ParallelBatchProcessor(_logger, DEADLINE_RESERVE_SECONDS)
    response = process_partial_response(event, _intake.take, processor, context)
    _emit(processor.outcomes, len(response["batchItemFailures"]), _queue_times(event), context.function_name)
    return response


def _emit(outcomes: Counter[str], given_back: int, queue_times: list[float], function_name: str) -> None:
    """The counts of the batch, its times in the queue, and how many messages were rejected by each reason."""
    rejected = {outcome: count for outcome, count in outcomes.items() if outcome != ACCEPTED}
    values: dict[str, Sequence[float]] = {
        "OrdersAccepted": [outcomes[ACCEPTED]],
        "MessagesRejected": [sum(rejected.values())],
        "MessagesGivenBack": [given_back],
        "QueueMilliseconds": queue_times,
    }
    _metrics.emit(function_name, values)
    for reason, count in rejected.items():
        _metrics.emit(function_name, {"MessagesRejected": [count]}, ReasonCode=reason)


def _queue_times(event: dict[str, Any]) -> list[float]:
    """Milliseconds from each message's send to now; a message that was given back before has waited longer."""
    now_ms = time.time() * 1000
    sent = (record["attributes"].get("SentTimestamp") for record in event["Records"])
    return [max(0.0, now_ms - int(at)) for at in sent if at is not None]
