"""Finds the items of the ledger that no function can read. Changes nothing."""

from collections.abc import Iterator

from shared.errors import EntryUnreadable
from shared.ledger.entry import LedgerEntry
from tools.operations.ledger_items import LedgerItems


def check(ledger: LedgerItems) -> Iterator[EntryUnreadable]:
    """One error for each item whose state is not in the list, whose index key disagrees, or that lacks an attribute.

    Each names its order. It reads the whole table, which costs a read unit for each 4 KB of items.
    """
    for page in ledger.pages():
        for item in page:
            try:
                LedgerEntry.of(item)
            except EntryUnreadable as error:
                yield error
