"""What `make up` adds to a local stack that runs this pipeline: sample customers, and commands to paste.

A stack of another template has other outputs; then there is nothing to add.
"""

from __future__ import annotations

import json
import shlex
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeSerializer

if TYPE_CHECKING:
    from durable_local.lifecycle import LocalStack

SAMPLE_CUSTOMERS = Path(__file__).parents[1] / "samples" / "customers.jsonl"
BATCH = 25  # DynamoDB's limit


def prepare(stack: LocalStack) -> str:
    """Loads the sample customers; the commands to paste, each with a comment line that says what it is for."""
    customers = load_samples(stack)
    lines = [f"# {purpose}\n{line}" for purpose, line in commands(stack)]
    return "\n".join([*lines, *([f"\n{customers} sample customers are loaded."] if customers else [])])


def load_samples(stack: LocalStack) -> int:
    """Puts the sample customers into the table the enricher reads; how many."""
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
    """A few things to do with the stack, each with the AWS CLI line that does it."""
    queue = stack.outputs.get("OrdersQueueUrl")
    ledger = stack.outputs.get("LedgerTableName")
    orchestrator = stack.outputs.get("DurableOrderProcessorArn")
    lines: list[tuple[str, str]] = []
    if queue:
        send = f"aws sqs send-message --queue-url {queue} --message-body {_order('HELLO-1')}"
        lines.append(("send an order", send))
    if ledger:
        key = shlex.quote(json.dumps({"orderId": {"S": "HELLO-1"}}))
        lines.append(("see what became of it", f"aws dynamodb get-item --table-name {ledger} --key {key}"))
    if orchestrator:
        # Versions 1 and 2 read a payload on the command line differently, a binary file alike.
        invoke = f"aws lambda invoke --function-name {orchestrator} --payload fileb:///dev/stdin response.json"
        lines.append(("run one and wait for it", f"echo {_order('HELLO-2')} | {invoke} && cat response.json"))
    return lines


def _json(line: str) -> dict[str, Any]:
    customer: dict[str, Any] = json.loads(line, parse_float=Decimal)
    return customer


def _order(order_id: str) -> str:
    return shlex.quote(json.dumps({"orderId": order_id}))
