"""The durable orchestrator Lambda: wires the workflow to its clients and settings."""

import os
from datetime import timedelta
from typing import Any

import boto3
from aws_durable_execution_sdk_python import DurableContext, durable_execution

from orchestrator.enricher import Enricher
from orchestrator.ownership import execution_of
from orchestrator.workflow import Pipeline, process_order
from shared.clients import client_config
from shared.ledger import Ledger
from shared.logs import logger
from shared.order import Order, order_from, parse_order

# Client < step < function: a call gives up before its step could outlive the function (60 s), and the enricher's own
# timeout (8 s) ends before its caller's.
LEDGER_TIMEOUT_S = 3
ENRICHER_TIMEOUT_S = 10

STACK_ID = os.environ["STACK_ID"]
PIPELINE = Pipeline(
    ledger=Ledger(boto3.client("dynamodb", config=client_config(LEDGER_TIMEOUT_S)), os.environ["LEDGER_TABLE"]),
    enricher=Enricher(boto3.client("lambda", config=client_config(ENRICHER_TIMEOUT_S)), os.environ["ENRICHER_ARN"]),
    wait=timedelta(seconds=int(os.environ["WAIT_SECONDS"])),
    execution_timeout=timedelta(seconds=int(os.environ["EXECUTION_TIMEOUT_SECONDS"])),
)
_logger = logger("orchestrator")


@durable_execution
def handler(event: Any, context: DurableContext) -> dict[str, Any]:
    """Process one order; answers in the seed's shape, or fails with the reason."""
    order = order_of(event, context)
    execution_arn = context.execution_context.durable_execution_arn
    me = execution_of(order, execution_arn, STACK_ID)
    _logger.append_keys(orderId=order.order_id, attempt=me.attempt)
    context.set_logger(_logger)
    return process_order(context, order, me, PIPELINE)


def order_of(event: Any, context: DurableContext) -> Order:
    """The order the execution was started with. Raises `InvalidOrder`.

    Read from the payload's text, where its numbers are exact and a key given twice shows: in `event` the SDK has made
    floats of the ones and lost the other.
    """
    payload = context.state.get_input_payload()
    return parse_order(payload) if payload else order_from(event)
