"""Inside ingest's process: one start of an execution, without the batch around it."""

from typing import Any

from ingest.handler import _intake
from shared.orders.order import parse_order


def handler(event: Any, _context: Any) -> str:
    """Start the event's first order."""
    return _intake.executions.start(parse_order(event["Records"][0]["body"]))
