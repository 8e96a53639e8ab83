"""The enricher's answer: the contract between it and the orchestrator.

A running execution keeps its version of the orchestrator, but calls the newest enricher. So the enricher may add
fields, which the orchestrator passes on unread, but must never remove one.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

_MODEL = ConfigDict(
    frozen=True,
    extra="allow",
    alias_generator=to_camel,
    validate_by_name=True,
    validate_by_alias=True,
    hide_input_in_errors=True,
)


class Profile(BaseModel):
    """A known customer, or a guest if the order has no customer id or an unknown one."""

    model_config = _MODEL

    kind: Literal["CUSTOMER", "GUEST"]
    tier: str | None = None
    customer_since: str | None = None


class Totals(BaseModel):
    """Sums over the order's items. `amount` is an exact decimal in the order's currency."""

    model_config = _MODEL

    lines: Annotated[int, Field(ge=0)]
    units: Annotated[int, Field(ge=0)]
    amount: Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?$")]
    currency: str | None = None


class EnrichedData(BaseModel):
    """The customer and the totals. `timestamp` is in UTC, ISO 8601, with milliseconds."""

    model_config = _MODEL

    customer_id: Annotated[str, Field(min_length=1)]
    timestamp: Annotated[str, Field(min_length=1)]
    profile: Profile
    totals: Totals


_NAME = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,255}$")]


class UnusableItem(BaseModel):
    """An item of a table that no order can be enriched with: an attribute has another DynamoDB type than `expected`.

    It has names and types only, no value: the reason is logged. The order's own field `key` is the item's key.
    """

    model_config = _MODEL

    table: _NAME
    key: _NAME
    attribute: _NAME
    type: _NAME
    expected: _NAME

    def __str__(self) -> str:
        return (
            f"the item of table {self.table} with the order's {self.key}:"
            f" attribute {self.attribute} has type {self.type}, not {self.expected}"
        )


class Enrichment(BaseModel):
    """The enricher's whole answer, as the response schema contains it."""

    model_config = _MODEL

    status_code: Literal[200]
    order_id: str
    enriched_data: EnrichedData
