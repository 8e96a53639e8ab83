"""The publisher Lambda function: an event and metrics for each transition in the ledger's stream. Builds the client."""

import os
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import boto3

from publisher.publisher import Published, Publisher
from shared.aws.clients import client_config
from shared.aws.logs import logger
from shared.aws.metrics import FunctionMetrics
from shared.ledger.states import TERMINAL

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

READ_TIMEOUT_SECONDS = 3
MAX_TRIES = 3

_logger = logger("publisher")
_metrics = FunctionMetrics("publisher")
_publisher = Publisher(
    boto3.client("events", config=client_config(READ_TIMEOUT_SECONDS, MAX_TRIES)), os.environ["EVENT_BUS"], _logger
)


@_logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: "LambdaContext") -> dict[str, Any]:
    """Publish a batch of the ledger's stream. Returns the record from which Lambda delivers the batch again, if any."""
    published = _publisher.publish(event["Records"])
    _emit(published, context.function_name)
    _logger.debug("events published", events=len(published.transitions))
    failures = [] if published.failed is None else [{"itemIdentifier": published.failed}]
    return {"batchItemFailures": failures}


def _emit(published: Published, function_name: str) -> None:
    """`Transitions` by the state that was reached, and `OrderMilliseconds` from the start to the end of an attempt."""
    durations = defaultdict(list)
    for transition in published.transitions:
        durations[transition.state].append(transition.duration_ms)
    for state, elapsed in durations.items():
        ended = elapsed if state in TERMINAL else []
        _metrics.emit(function_name, {"Transitions": [len(elapsed)], "OrderMilliseconds": ended}, State=state.value)
    _metrics.emit(function_name, {"EventsUnreadable": [published.unreadable]})
