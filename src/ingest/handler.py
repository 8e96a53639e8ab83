"""The ingest Lambda function: starts an execution for each order in the orders queue. Builds the clients."""

import os
from typing import TYPE_CHECKING, Any

import boto3
from aws_lambda_powertools.utilities.batch import process_partial_response

from ingest.batch import MAX_THREADS, ParallelBatchProcessor
from ingest.intake import Intake
from shared.aws.clients import client_config
from shared.aws.logs import logger
from shared.aws.rejected_orders import RejectedOrders
from shared.executions.client import ExecutionsClient

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
    from aws_lambda_powertools.utilities.typing import LambdaContext

# A start that hangs is given up, with all its tries, before the function's timeout (30 s), so that the other records of
# the batch are not given back.
READ_TIMEOUT_SECONDS = 5
MAX_TRIES = 3
DEADLINE_RESERVE_SECONDS = 2

_config = client_config(READ_TIMEOUT_SECONDS, MAX_TRIES, MAX_THREADS)
_logger = logger("ingest")
_intake = Intake(
    ExecutionsClient(boto3.client("lambda", config=_config), os.environ["ORCHESTRATOR_ARN"], os.environ["STACK_ID"]),
    RejectedOrders(boto3.client("sqs", config=_config), os.environ["REJECTED_ORDERS_QUEUE_URL"]),
    _logger,
)


@_logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: "LambdaContext") -> "PartialItemFailureResponse":
    """Process a batch. Returns the ids of the messages to give back."""
    processor = ParallelBatchProcessor(_logger, DEADLINE_RESERVE_SECONDS)
    return process_partial_response(event, _intake.take, processor, context)
