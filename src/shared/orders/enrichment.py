"""What the enricher answers: the contract between it and the orchestrator.

The orchestrator of one version may talk to an enricher of the next (an alias of the enricher is not pinned
for a running execution): fields may be added and are carried on unread, never taken away.
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
    """Who ordered: a known customer, or a guest where none was named or the id is not known."""

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
    """What the enricher knows of the order. `timestamp` is UTC, ISO 8601, to the millisecond."""

    model_config = _MODEL

    customer_id: Annotated[str, Field(min_length=1)]
    timestamp: Annotated[str, Field(min_length=1)]
    profile: Profile
    totals: Totals


class Enrichment(BaseModel):
    """The enricher's whole answer, in the seed's shape."""

    model_config = _MODEL

    status_code: Literal[200]
    order_id: str
    enriched_data: EnrichedData
