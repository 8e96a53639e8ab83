"""The customer of an order, from the customers table."""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shared.orders.enrichment import Profile, UnusableItem
from shared.orders.order import Order

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_ATTRIBUTES: Final = frozenset({"tier", "customerSince"})


@dataclass(frozen=True)
class Customer:
    """A customer or a guest: the id and the profile."""

    customer_id: str
    profile: Profile


class Customers:
    """The customers table: the key `customerId` and the attributes `tier` and `customerSince`."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def of(self, order: Order) -> Customer | UnusableItem:
        """Return the order's customer, or a guest if the order has no customer id or an unknown one.

        Return an `UnusableItem` if an attribute is not a string: each call would find the same. Both are optional.

        Errors of DynamoDB are not caught: the orchestrator retries.
        """
        if order.customer_id is not None:
            key = {"customerId": {"S": order.customer_id}}
            item = self._client.get_item(TableName=self._table, Key=key).get("Item")
            if item is not None:
                known: dict[str, str] = {}
                for name in _ATTRIBUTES & item.keys():
                    value = item[name]
                    if "S" not in value:
                        return UnusableItem(
                            table=self._table, key="customerId", attribute=name, type=next(iter(value)), expected="S"
                        )
                    known[name] = value["S"]
                return Customer(order.customer_id, Profile.model_validate({"kind": "CUSTOMER", **known}))
        return Customer(guest_id(order.order_id), Profile.model_validate({"kind": "GUEST"}))


def guest_id(order_id: str) -> str:
    """Return the id of a guest. It is always the same for the same order."""
    return f"CUST-GUEST-{hashlib.sha256(order_id.encode()).hexdigest()[:12].upper()}"
