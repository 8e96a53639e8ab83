"""The pipeline as it is often written first: a step for each transition, each recorded by a transaction of two items.

Clients with boto3's defaults, Powertools' Tracer and parser at import, and one call after another. The order's item has
its state, and a second item for each transition is the history. The condition on the state before is the same.
"""

import json
import os
from datetime import UTC, datetime
from typing import Any

import boto3
from aws_durable_execution_sdk_python import DurableContext, durable_execution
from aws_durable_execution_sdk_python.config import Duration
from aws_lambda_powertools import Logger, Tracer
from aws_lambda_powertools.utilities.parser import BaseModel, Field, parse
from boto3.dynamodb.types import TypeSerializer

logger = Logger(service="naive")
tracer = Tracer(service="naive")
dynamodb = boto3.client("dynamodb")
functions = boto3.client("lambda")
TABLE = os.environ["LEDGER_TABLE"]


class Item(BaseModel):
    """One line of an order."""

    sku: str
    quantity: int
    unitPrice: str  # noqa: N815


class Order(BaseModel):
    """An order."""

    orderId: str  # noqa: N815
    customerId: str | None = None  # noqa: N815
    items: list[Item] = Field(default_factory=list)
    currency: str | None = None
    placedAt: str | None = None  # noqa: N815


def record(order_id: str, state: str, before: str | None, **fields: object) -> str:
    """Write a transition: the order's item, and the item of its history."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    serialize = TypeSerializer().serialize
    values = {":at": at, ":state": state, **{f":{name}": value for name, value in fields.items()}}
    condition = "attribute_not_exists(orderId)" if before is None else "#state = :before"
    if before is not None:
        values[":before"] = before
    changes = ["#state = :state", "updatedAt = :at", *(f"{name} = :{name}" for name in fields)]
    step = {"orderId": f"{order_id}#{state}", "state": state, "at": at, "attempt": 1}
    dynamodb.transact_write_items(
        TransactItems=[
            {
                "Update": {
                    "TableName": TABLE,
                    "Key": {"orderId": {"S": order_id}},
                    "UpdateExpression": "SET " + ", ".join(changes),
                    "ConditionExpression": condition,
                    "ExpressionAttributeNames": {"#state": "state"},
                    "ExpressionAttributeValues": {name: serialize(value) for name, value in values.items()},
                }
            },
            {"Put": {"TableName": TABLE, "Item": {name: serialize(value) for name, value in step.items()}}},
        ]
    )
    return at


def enrich(order: dict[str, Any]) -> dict[str, Any]:
    """Call the enricher."""
    response = functions.invoke(FunctionName=os.environ["ENRICHER_ARN"], Payload=json.dumps(order))
    return dict(json.loads(response["Payload"].read()))


@durable_execution
def handler(event: dict[str, Any], context: DurableContext) -> dict[str, Any]:
    """Process one order."""
    order = parse(event=event, model=Order).model_dump(exclude_none=True)
    order_id = order["orderId"]
    logger.info("order received", orderId=order_id)
    context.step(lambda _: record(order_id, "RECEIVED", None, order=order), name="received")
    context.step(lambda _: record(order_id, "ENRICHING", "RECEIVED"), name="enriching")
    enrichment = context.step(lambda _: enrich(order), name="enrich")
    context.step(lambda _: record(order_id, "ENRICHED", "ENRICHING", enrichment=enrichment), name="enriched")
    context.step(lambda _: record(order_id, "WAITING", "ENRICHED"), name="waiting")
    context.wait(Duration.from_seconds(2), name="wait")
    finalized_at = context.step(lambda _: record(order_id, "FINALIZING", "WAITING"), name="finalizing")
    processed_at = context.step(
        lambda _: record(order_id, "COMPLETED", "FINALIZING", finalizedAt=finalized_at), name="completed"
    )
    logger.info("order completed", orderId=order_id)
    return {
        "success": True,
        "orderId": order_id,
        "enrichmentResult": enrichment,
        "finalResult": {"orderId": order_id, "status": "COMPLETED", "finalizedAt": finalized_at},
        "processedAt": processed_at,
    }
