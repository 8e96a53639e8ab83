"""The options that select many orders."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from cyclopts import Parameter

from shared.ledger.states import State
from tools.operations.filter import Filter
from tools.orders_cli.ages import time_ago


def past_time(_type: object, tokens: Sequence[Any]) -> datetime:
    """A time, or an age before now: `2026-01-31T00:00Z`, `30m`, `2h`, `3d`. A time without a zone is in UTC.

    Raises ValueError, which the command shows as wrong usage.
    """
    text = tokens[0].value
    if ago := time_ago(text):
        return ago
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text} is neither a time such as 2026-01-31T00:00Z nor an age such as 2h") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


@Parameter(name="*", group="Filter")
@dataclass(frozen=True)
class Where:
    """The filter of a bulk operation. An option that is not given selects all."""

    state: Annotated[tuple[State, ...], Parameter(help="Orders in this state.")] = ()
    error: Annotated[str | None, Parameter(help="Orders that failed with this error type.")] = None
    customer: Annotated[str | None, Parameter(help="Orders of this customer.")] = None
    since: Annotated[
        datetime | None,
        Parameter(help="Orders that changed since a time or in an age such as 2h.", converter=past_time),
    ] = None

    @property
    def filter(self) -> Filter:
        """The filter."""
        return Filter(self.state, self.error, self.customer, self.since)


EVERYTHING: Final = Where()
"""No option given."""
