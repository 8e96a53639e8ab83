"""The durable orchestrator Lambda: creates the clients and settings of the workflow."""

import gc
import os
from datetime import timedelta
from typing import Any

import boto3
from aws_durable_execution_sdk_python import DurableContext, durable_execution

from orchestrator.checkpoint_stop import wake_at_stop
from orchestrator.enricher import Enricher
from orchestrator.payload import refusal
from orchestrator.workflow import Pipeline, process_order
from shared.aws.clients import client_config
from shared.aws.logs import logger
from shared.executions.names import execution_of
from shared.ledger.owner import Ledger
from shared.ledger.table import LedgerWriter
from shared.orders.order import parse_order

# Client < step < function: all calls of a step time out before the function does (60 s). The enricher's own function
# timeout (8 s) is shorter than the timeout of the call.
LEDGER_TIMEOUT_SECONDS = 3
ENRICHER_TIMEOUT_SECONDS = 10
CHECKPOINT_TIMEOUT_SECONDS = 8
MAX_CHECKPOINT_ATTEMPTS = 3

STACK_ID = os.environ["STACK_ID"]
PIPELINE = Pipeline(
    ledger=Ledger(
        LedgerWriter(
            boto3.client("dynamodb", config=client_config(LEDGER_TIMEOUT_SECONDS)),
            os.environ["LEDGER_TABLE"],
            retention=timedelta(days=int(os.environ["LEDGER_RETENTION_DAYS"])),
        )
    ),
    enricher=Enricher(
        boto3.client("lambda", config=client_config(ENRICHER_TIMEOUT_SECONDS)), os.environ["ENRICHER_ARN"]
    ),
    wait=timedelta(seconds=int(os.environ["WAIT_SECONDS"])),
    execution_timeout=timedelta(seconds=int(os.environ["EXECUTION_TIMEOUT_SECONDS"])),
)
_logger = logger("orchestrator")


def _process(_event: Any, context: DurableContext) -> dict[str, Any]:
    # Read the payload's text, not `_event`: there the SDK has turned numbers into floats and dropped duplicate keys.
    order = parse_order(context.state.get_input_payload() or "")
    me = execution_of(order, context.execution_context.durable_execution_arn, STACK_ID)
    request_id = context.lambda_context.aws_request_id if context.lambda_context else None
    _logger.append_keys(orderId=order.order_id, attempt=me.attempt, function_request_id=request_id)
    context.set_logger(_logger)
    return process_order(context, order, me, PIPELINE)


wake_at_stop()
_durable = durable_execution(
    _process,
    boto3_client=boto3.client("lambda", config=client_config(CHECKPOINT_TIMEOUT_SECONDS, MAX_CHECKPOINT_ATTEMPTS)),
)

# What is loaded by now lives as long as the process, so the garbage collector need not look through it.
gc.freeze()


def handler(event: Any, context: Any) -> Any:
    """Process one order. Return the response that `result.py` describes, or fail with the reason."""
    return refusal(event) or _durable(event, context)
