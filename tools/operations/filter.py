"""Which orders a bulk operation works on."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final

from shared.aws.clock import timestamp
from shared.errors import EntryUnreadable
from shared.ledger.entry import LedgerEntry
from shared.ledger.states import State
from tools.operations.ledger_items import LedgerItems
from tools.operations.selection import Selection, selected

_READ_TOGETHER: Final = 100


@dataclass(frozen=True)
class Filter:
    """Which orders. An unset field selects all. `since` is the earliest time of the order's last transition."""

    states: tuple[State, ...] = ()
    error: str | None = None
    customer: str | None = None
    since: datetime | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is set, so that every order is selected."""
        return self == Filter()

    @property
    def options(self) -> list[str]:
        """As the command's options, a word each."""
        found = [word for state in self.states for word in ("--state", str(state))]
        found += ["--error", self.error] if self.error is not None else []
        found += ["--customer", self.customer] if self.customer is not None else []
        found += ["--since", timestamp(self.since)] if self.since is not None else []
        return found

    def __str__(self) -> str:
        return " ".join(self.options)


def entries(ledger: LedgerItems, chosen: Filter, among: Collection[State]) -> Iterator[LedgerEntry]:
    """The entries of the orders that pass the filter and whose state is one of `among`, the longest unmoved first.

    The index is eventually consistent, and the items are read consistently: an order that moved meanwhile is left out.
    Items that cannot be read are left out: `orders check` names them. Raises what DynamoDB raises, and
    `LedgerUnavailable`.
    """
    states = tuple(state for state in State if state in among and state in (chosen.states or State))
    if not states:
        return
    since = None if chosen.since is None else timestamp(chosen.since)
    orders = selected(
        ledger.client, ledger.table, Selection(states, customer=chosen.customer, error=chosen.error, since=since)
    )
    while listed := {order.order_id: order for order in islice(orders, _READ_TOGETHER)}:
        for order_id, item in ledger.of(listed).items():
            try:
                entry = LedgerEntry.of(item)
            except EntryUnreadable:
                continue
            if entry.state is listed[order_id].state:
                yield entry
