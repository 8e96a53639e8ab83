"""All that the local stack knows of the order pipeline: its sample customers, and the lines to paste.

Another template has other outputs, and then this module has nothing to say.
"""

from __future__ import annotations

import json
import shlex
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeSerializer

from tools.local_stack.settings import REPOSITORY

if TYPE_CHECKING:
    from tools.local_stack.lifecycle import LocalStack

SAMPLE_CUSTOMERS = REPOSITORY / "samples" / "customers.json"


def load_samples(stack: LocalStack) -> int:
    """Puts the sample customers into the table the enricher reads; how many."""
    table = stack.outputs.get("CustomersTableName")
    if table is None or not SAMPLE_CUSTOMERS.exists():
        return 0
    customers: list[dict[str, Any]] = json.loads(
        SAMPLE_CUSTOMERS.read_text(encoding="utf-8"), parse_float=Decimal
    )
    dynamodb = stack.client("dynamodb")
    serialize = TypeSerializer().serialize
    for customer in customers:
        dynamodb.put_item(TableName=table, Item={name: serialize(value) for name, value in customer.items()})
    return len(customers)


def commands(stack: LocalStack) -> list[tuple[str, str]]:
    """A few things to do with the stack, each with the AWS CLI line that does it."""
    queue = stack.outputs.get("OrdersQueueUrl")
    ledger = stack.outputs.get("LedgerTableName")
    orchestrator = stack.outputs.get("DurableOrderProcessorArn")
    lines: list[tuple[str, str]] = []
    if queue:
        body = json.dumps({"orderId": "ORDER-123"})
        lines.append(
            ("send an order", _line("aws sqs send-message", "--queue-url", queue, "--message-body", body))
        )
    if ledger:
        key = json.dumps({"orderId": {"S": "ORDER-123"}})
        lines.append(("see it", _line("aws dynamodb get-item", "--table-name", ledger, "--key", key)))
    if orchestrator:
        payload = json.dumps({"orderId": "ORDER-124"})
        lines.append(
            (
                "run one and wait for it",
                _line("aws lambda invoke", "--function-name", orchestrator)
                + _line(" --cli-binary-format raw-in-base64-out", "--payload", payload, "/dev/stdout"),
            )
        )
    return lines


def _line(command: str, *arguments: str) -> str:
    return " ".join([command, *(shlex.quote(argument) for argument in arguments)])
