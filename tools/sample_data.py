"""Sample customers and example commands that `make up` adds to a local stack of this pipeline.

It adds nothing to a stack of another template, which has other outputs.
"""

from __future__ import annotations

import json
import shlex
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from boto3.dynamodb.types import TypeSerializer

from shared.orders.order import Order, order_from

if TYPE_CHECKING:
    from collections.abc import Iterator

    from durable_local.lifecycle import LocalStack

SAMPLE_CUSTOMERS = Path(__file__).parents[1] / "samples" / "customers.jsonl"
BATCH = 25  # DynamoDB's limit


def prepare(stack: LocalStack) -> str:
    """Loads the sample customers. Returns commands to paste, each with its purpose in a comment line."""
    customers = load_samples(stack)
    lines = [f"# {purpose}\n{line}" for purpose, line in commands(stack)]
    return "\n".join([*lines, *([f"\n{customers} sample customers are loaded."] if customers else [])])


def load_samples(stack: LocalStack) -> int:
    """Writes the sample customers to the customers table. Returns their number."""
    table = stack.outputs.get("CustomersTableName")
    if table is None or not SAMPLE_CUSTOMERS.exists():
        return 0
    serialize = TypeSerializer().serialize
    puts: list[dict[str, Any]] = [
        {"PutRequest": {"Item": {name: serialize(value) for name, value in customer.items()}}}
        for customer in map(_json, SAMPLE_CUSTOMERS.read_text(encoding="utf-8").splitlines())
    ]
    dynamodb = stack.client("dynamodb")
    for first in range(0, len(puts), BATCH):
        left = puts[first : first + BATCH]
        while left:
            answer = dynamodb.batch_write_item(RequestItems={table: left})
            left = answer["UnprocessedItems"].get(table, [])
    return len(puts)


def commands(stack: LocalStack) -> list[tuple[str, str]]:
    """Purposes, each with a command of the AWS CLI."""
    queue = stack.outputs.get("OrdersQueueUrl")
    ledger = stack.outputs.get("LedgerTableName")
    orchestrator = stack.outputs.get("DurableOrderProcessorArn")
    lines: list[tuple[str, str]] = []
    if queue:
        send = f"aws sqs send-message --queue-url {queue} --message-body {_order('HELLO-1')}"
        lines.append(("send an order", send))
    if ledger:
        key = shlex.quote(json.dumps({"orderId": {"S": "HELLO-1"}}))
        lines.append(("read the order in the ledger", f"aws dynamodb get-item --table-name {ledger} --key {key}"))
    if orchestrator:
        # Versions 1 and 2 read a payload on the command line differently, but a binary file in the same way.
        invoke = f"aws lambda invoke --function-name {orchestrator} --payload fileb:///dev/stdin response.json"
        lines.append(
            ("process an order and wait for its result", f"echo {_order('HELLO-2')} | {invoke} && cat response.json")
        )
    return lines


def generated_orders(count: int) -> Iterator[Order]:
    """Valid orders of the sample customers, with ids that no earlier call used."""
    customers = [_json(line)["customerId"] for line in SAMPLE_CUSTOMERS.read_text(encoding="utf-8").splitlines()]
    prefix = f"GEN-{uuid4().hex[:8]}"
    for number in range(1, count + 1):
        yield order_from(
            {
                "orderId": f"{prefix}-{number:06}",
                "customerId": customers[number % len(customers)],
                "currency": "USD",
                "items": [{"sku": "CD", "quantity": 1 + number % 5, "unitPrice": f"{10 + number % 20}.99"}],
            }
        )


def _json(line: str) -> dict[str, Any]:
    customer: dict[str, Any] = json.loads(line, parse_float=Decimal)
    return customer


def _order(order_id: str) -> str:
    return shlex.quote(json.dumps({"orderId": order_id}))
