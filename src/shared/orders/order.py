"""What an order is, and its one canonical form.

Two requests are the same order if and only if their canonical bytes are equal. Ingest starts an execution with these
bytes, Lambda compares them under the execution's name, and the ledger keeps their digest. So unset and empty fields are
left out (else a field that a later version adds would turn a redelivery into a conflict), times are in UTC, decimals
have no trailing zeros, and keys are sorted.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticOmit

from shared.errors import FieldError, InvalidOrder, OrderTooLarge
from shared.orders.exact_json import field_path, parse_json
from shared.orders.fields import (
    MAX_ATTRIBUTES,
    MAX_CANONICAL_BYTES,
    MAX_FIELDS,
    MAX_ITEMS,
    AttributeName,
    AttributeValue,
    Currency,
    CustomerId,
    Instant,
    Money,
    OrderId,
    Sku,
    at_most,
)

_MAX_FIELD_ERRORS: Final = 20

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
    quantity: Annotated[int, Field(ge=1, le=1_000_000)]
    unit_price: Money


def _items(items: object, validate: ValidatorFunctionWrapHandler) -> object:
    """Return the valid items, or raise the errors of the first invalid ones.

    Pydantic's own loop is the fastest, so the loop that counts errors runs only when an item is invalid.
    """
    at_most(items, MAX_ITEMS, "items")
    try:
        return validate(items)
    except ValidationError:
        return _ITEMS_UNTIL_ENOUGH.validate_python(items, context=_ErrorCount())


@dataclass
class _ErrorCount:
    """The number of errors found so far in the items of one order."""

    found: int = 0


def _until_enough(item: object, validate: ValidatorFunctionWrapHandler, info: ValidationInfo[_ErrorCount]) -> object:
    """Validate an item, or skip it when the items before it have enough errors for the report."""
    if info.context.found > _MAX_FIELD_ERRORS:
        raise PydanticOmit
    try:
        return validate(item)
    except ValidationError as error:
        info.context.found += error.error_count()
        raise


_ITEMS_UNTIL_ENOUGH: Final = TypeAdapter(
    tuple[
        Annotated[
            Item, BeforeValidator(lambda item: at_most(item, MAX_FIELDS, "fields")), WrapValidator(_until_enough)
        ],
        ...,
    ]
)


class Order(BaseModel):
    """An order as a producer sends it. `{"orderId": "ORDER-123"}` alone is an order."""

    model_config = _MODEL

    order_id: OrderId
    customer_id: CustomerId | None = None
    items: Annotated[tuple[Item, ...], Field(strict=False, fail_fast=True), WrapValidator(_items)] = ()
    currency: Currency | None = None
    placed_at: Instant | None = None
    attributes: Annotated[
        dict[AttributeName, AttributeValue],
        Field(max_length=MAX_ATTRIBUTES),
        BeforeValidator(lambda attributes: at_most(attributes, MAX_ATTRIBUTES, "attributes")),
    ] = {}

    @model_validator(mode="before")
    @classmethod
    def _few_fields(cls, data: object) -> object:
        return at_most(data, MAX_FIELDS, "fields")

    def canonical(self) -> dict[str, Any]:
        """The order as JSON data, without unset and empty fields."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)

    def canonical_bytes(self) -> bytes:
        """The canonical form as UTF-8 JSON."""
        return json.dumps(self.canonical(), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    def digest(self) -> str:
        """The SHA-256 of the canonical bytes, in hex. Equal orders have equal digests."""
        return hashlib.sha256(self.canonical_bytes()).hexdigest()


def parse_order(text: str) -> Order:
    """Read an order from JSON text.

    Raises `NotJson`, `InvalidOrder` or `OrderTooLarge`. Each lists fields and reasons, never a value of the order.
    """
    return order_from(parse_json(text))


def order_from(data: object) -> Order:
    """Read an order from JSON data, as `parse_json` or the ledger returns it.

    Raises `InvalidOrder` or `OrderTooLarge`.
    """
    try:
        order = Order.model_validate(data)
    except ValidationError as error:
        raise InvalidOrder(_field_errors(error)) from None
    size = len(order.canonical_bytes())
    if size > MAX_CANONICAL_BYTES:
        reason = f"{size} bytes in canonical form, more than the {MAX_CANONICAL_BYTES} allowed"
        raise OrderTooLarge([FieldError("", reason)])
    return order


def _field_errors(error: ValidationError) -> list[FieldError]:
    """Return the first 20 errors, and `and more` after them if there are more."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    listed = [FieldError(field_path(problem["loc"]), problem["msg"]) for problem in problems[:_MAX_FIELD_ERRORS]]
    return [*listed, FieldError("", "and more")] if len(problems) > len(listed) else listed
