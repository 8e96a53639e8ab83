"""Finds the orders that have not moved for longer than they may: the sweep examines and counts them.

An operator's list of stuck orders calls the same function, so it shows what raised the alarm.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from shared.aws.clock import timestamp
from shared.ledger.states import TERMINAL, State
from shared.ledger.table import LedgerReader

STALL_THRESHOLD: Final = timedelta(minutes=5)
"""An order whose state does not change for this long has stalled. In WAITING, the order's wait is added."""

_MAX_STALLED: Final = 5_000
"""In each state."""


@dataclass(frozen=True)
class StalledOrder:
    """An order that has been in an open state for too long. `since` is the time of its last transition."""

    order_id: str
    state: State
    since: str


def stalled_orders(ledger: LedgerReader, wait: timedelta, now: datetime) -> Iterator[StalledOrder]:
    """The stalled orders, at most 5,000 in each open state, those of a state with the longest stalled first.

    `wait` is the orchestrator's. The orders are read from the index alone, so an item that cannot be read is listed
    too. Raises `LedgerUnavailable` or `LedgerRejected`.
    """
    for state in State:
        if state in TERMINAL:
            continue
        threshold = STALL_THRESHOLD + (wait if state is State.WAITING else timedelta())
        for since, order_id in ledger.in_state(state, _MAX_STALLED, timestamp(now - threshold)):
            yield StalledOrder(order_id, state, since)
