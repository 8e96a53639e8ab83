"""Groups orders that ended without success by their cause."""

from collections.abc import Iterable
from dataclasses import dataclass

from shared.ledger.states import State
from tools.operations.selection import SelectedOrder


@dataclass
class Cause:
    """The orders with one error type and one state. `again` counts those that were retried and failed again.

    `first` and `last` are the times of the ends; `example` is the order that ended last.
    """

    error_type: str
    state: State
    first: str
    last: str = ""
    example: str = ""
    count: int = 0
    again: int = 0


def causes(orders: Iterable[SelectedOrder]) -> list[Cause]:
    """The causes, the most frequent first. The orders come in the order of their ends."""
    found: dict[tuple[str, State], Cause] = {}
    for order in orders:
        error_type = order.error_type or "?"
        cause = found.setdefault((error_type, order.state), Cause(error_type, order.state, first=order.updated_at))
        cause.last, cause.example = order.updated_at, order.order_id
        cause.count += 1
        cause.again += order.attempt > 1
    return sorted(found.values(), key=lambda cause: (-cause.count, cause.error_type, cause.state))
