"""The enricher Lambda: a plain function that returns the customer and the totals of an order.

It does not depend on the workflow. For an invalid order it returns `statusCode` 400, and for a customer that it cannot
use 422 with the `unusableItem`, because a retry cannot help. It raises transient errors, such as a throttled table, so
that the caller retries.
"""

import os
from typing import TYPE_CHECKING, Any

import boto3

from enricher.profiles import Customers
from enricher.totals import totals
from shared.aws.clients import client_config
from shared.aws.clock import utc_now
from shared.aws.logs import logger
from shared.errors import InvalidOrder
from shared.orders.enrichment import EnrichedData, Enrichment, UnusableItem
from shared.orders.order import order_from

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

# Two attempts, with their connection timeouts, end before the function's own timeout (8 s).
TABLE_TIMEOUT_SECONDS = 2
MAX_TABLE_ATTEMPTS = 2

_customers = Customers(
    boto3.client("dynamodb", config=client_config(TABLE_TIMEOUT_SECONDS, MAX_TABLE_ATTEMPTS)),
    os.environ["CUSTOMERS_TABLE"],
)
_logger = logger("enricher")


@_logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], _context: "LambdaContext") -> dict[str, Any]:
    """Return the enrichment of one order, as `shared.orders.enrichment.Enrichment` describes it."""
    try:
        order = order_from(event)
    except InvalidOrder as error:
        _logger.warning("order refused", reason=str(error))
        return {
            "statusCode": 400,
            "orderId": event.get("orderId") if isinstance(event, dict) else None,
            "error": str(error),
        }
    customer = _customers.of(order)
    if isinstance(customer, UnusableItem):
        _logger.error("customer unusable", orderId=order.order_id, reason=str(customer))
        return {
            "statusCode": 422,
            "orderId": order.order_id,
            "error": str(customer),
            "unusableItem": customer.model_dump(by_alias=True),
        }
    _logger.info("order enriched", orderId=order.order_id, profile=customer.profile.kind)
    return Enrichment(
        status_code=200,
        order_id=order.order_id,
        enriched_data=EnrichedData(
            customer_id=customer.customer_id,
            timestamp=utc_now(),
            profile=customer.profile,
            totals=totals(order),
        ),
    ).model_dump(mode="json", by_alias=True, exclude_none=True)
