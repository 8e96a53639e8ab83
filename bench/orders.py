"""Real purchases of samples/ as the messages and payloads of benchmarks."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from shared.orders.order import order_from

SAMPLES = Path(__file__).parents[1] / "samples" / "cdnow_orders.jsonl"


@cache
def bodies(number: int) -> tuple[str, ...]:
    """The first orders of the samples, in canonical form, as ingest passes them on."""
    lines = SAMPLES.read_text("utf-8").splitlines()[:number]
    return tuple(order_from(json.loads(line)).canonical_bytes().decode() for line in lines)


def batch(number: int) -> dict[str, Any]:
    """An event of the orders queue with this many messages."""
    return {
        "Records": [
            {
                "messageId": f"message-{position}",
                "receiptHandle": "handle",
                "body": body,
                "attributes": {"SentTimestamp": "1764200000000", "ApproximateReceiveCount": "1"},
                "messageAttributes": {},
                "md5OfBody": "",
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:orders",
                "awsRegion": "us-east-1",
            }
            for position, body in enumerate(bodies(number))
        ]
    }
