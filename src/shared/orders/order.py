"""What an order is, and its one canonical form.

Two requests are the same order if and only if their canonical bytes are equal. Ingest starts an execution with these
bytes, Lambda compares them under the execution's name, and the ledger keeps their digest. So unset and empty fields are
left out (else a field that a later version adds would turn a redelivery into a conflict), times are in UTC, decimals
have no trailing zeros, and keys are sorted.
"""

import hashlib
import json
from functools import cached_property
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from shared.errors import FieldError, InvalidOrder, OrderTooLarge
from shared.orders.exact_json import Repeated, decode
from shared.orders.fields import (
    MAX_ATTRIBUTES,
    MAX_CANONICAL_BYTES,
    MAX_ITEMS,
    AttributeName,
    AttributeValue,
    Currency,
    CustomerId,
    Instant,
    Money,
    OrderId,
    Quantity,
    Sku,
    at_most,
)

# Made once: `json.dumps` makes an encoder at each call that has options.
_ENCODE: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode

# More than an order has. Pydantic would keep an error for each unknown field.
_MAX_FIELDS: Final = 32

_MODEL: Final = ConfigDict(
    frozen=True,
    strict=True,
    extra="forbid",
    hide_input_in_errors=True,
    alias_generator=to_camel,
)


class Item(BaseModel):
    """One line of an order."""

    model_config = _MODEL

    sku: Sku
    quantity: Quantity
    unit_price: Money


class Order(BaseModel):
    """An order as a producer sends it. `{"orderId": "ORDER-123"}` alone is an order."""

    model_config = _MODEL

    order_id: OrderId
    customer_id: CustomerId | None = None
    items: Annotated[
        tuple[Item, ...],
        Field(strict=False, fail_fast=True, max_length=MAX_ITEMS),
        BeforeValidator(lambda items: at_most(items, MAX_ITEMS)),
    ] = ()
    currency: Currency | None = None
    placed_at: Instant | None = None
    attributes: Annotated[
        dict[AttributeName, AttributeValue],
        Field(max_length=MAX_ATTRIBUTES),
        BeforeValidator(lambda attributes: at_most(attributes, MAX_ATTRIBUTES)),
        AfterValidator(lambda attributes: {name: value for name, value in attributes.items() if value is not None}),
    ] = {}

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: object) -> object:
        """The set fields: null means unset for every field that need not be set."""
        at_most(data, _MAX_FIELDS)
        if isinstance(data, dict) and None in data.values():
            optional = {field.alias for field in cls.model_fields.values() if not field.is_required()}
            return {name: value for name, value in data.items() if value is not None or name not in optional}
        return data

    def canonical(self) -> dict[str, Any]:
        """The order as JSON data, without unset and empty fields."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)

    def canonical_bytes(self) -> bytes:
        """The canonical form as UTF-8 JSON."""
        return self._canonical_bytes

    @cached_property
    def _canonical_bytes(self) -> bytes:
        # Made once, because an order is frozen; `model_copy` with changes would keep it, and nothing makes such a copy.
        return _ENCODE(self.canonical()).encode()

    def digest(self) -> str:
        """The SHA-256 of the canonical bytes, in hex. Equal orders have equal digests."""
        return hashlib.sha256(self.canonical_bytes()).hexdigest()


def parse_order(text: str) -> Order:
    """Read an order from JSON text.

    Raises `NotJson`, `InvalidOrder` or `OrderTooLarge`. Each lists fields and reasons, never a value of the order.
    """
    decoded = decode(text)
    if decoded.repeated:
        raise _invalid(decoded.data, decoded.repeated)
    return order_from(decoded.data)


def order_from(data: object) -> Order:
    """Read an order from JSON data, as `decode` or the ledger returns it.

    Raises `InvalidOrder` or `OrderTooLarge`.
    """
    try:
        order = Order.model_validate(data)
    except ValidationError:
        # What pydantic found is not all: it stops early. The reasons are looked for only now, so they cost an order
        # without a mistake nothing.
        raise _invalid(data) from None
    size = len(order.canonical_bytes())
    if size > MAX_CANONICAL_BYTES:
        reason = f"{size} bytes in canonical form, more than the {MAX_CANONICAL_BYTES} allowed"
        raise OrderTooLarge([FieldError("", reason)])
    return order


def _invalid(data: object, repeated: Repeated = ()) -> InvalidOrder:
    from shared.orders.mistakes import mistakes_in  # noqa: PLC0415  # only for a reject: an import is cold start

    return InvalidOrder(mistakes_in(data, repeated))
