"""Who ordered, by the customers table."""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.orders.enrichment import Profile
from shared.orders.order import Order

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True)
class Customer:
    """The id to go on with, and what is known of it."""

    customer_id: str
    profile: Profile


class Customers:
    """The customers table: `customerId`, and beside it `tier` and `customerSince`."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def of(self, order: Order) -> Customer:
        """The order's customer, or a guest where none is named or the id is not known.

        What DynamoDB raises is raised on: the orchestrator tries again.
        """
        if order.customer_id is not None:
            key = {"customerId": {"S": order.customer_id}}
            item = self._client.get_item(TableName=self._table, Key=key).get("Item")
            if item is not None:
                known = {name: item[name]["S"] for name in ("tier", "customerSince") if name in item}
                return Customer(order.customer_id, Profile.model_validate({"kind": "CUSTOMER", **known}))
        return Customer(guest_id(order.order_id), Profile.model_validate({"kind": "GUEST"}))


def guest_id(order_id: str) -> str:
    """A guest's id, the same whenever the same order asks."""
    return f"CUST-GUEST-{hashlib.sha256(order_id.encode()).hexdigest()[:12].upper()}"
