"""Inside ingest's process: `json.loads` and the validation of the model for each message, and nothing else."""

import json
from typing import Any

from shared.orders.order import Order


def handler(event: Any, _context: Any) -> None:
    """Read every order of the batch."""
    for record in event["Records"]:
        Order.model_validate(json.loads(record["body"]))
