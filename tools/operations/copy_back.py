"""Copies items from a restored table back into the ledger: only those that are missing there or have a lower version.

DynamoDB restores a backup, or a point in time, into a new table. The ledger goes on meanwhile, so its newer items stay.
An item whose retention is over is not missing: it has expired.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from shared.errors import EntryUnreadable
from shared.ledger.entry import LedgerEntry
from tools.operations.ledger_items import Item, LedgerItems


@dataclass(frozen=True)
class CopiedBack:
    """How many items were copied, how many of the ledger stayed, and the errors of those that cannot be read."""

    copied: int = 0
    kept: int = 0
    unreadable: tuple[str, ...] = ()


def copy_back(
    restored: LedgerItems, ledger: LedgerItems, on_progress: Callable[[CopiedBack], None] = lambda _: None
) -> CopiedBack:
    """Copy what the ledger lacks. It can be stopped and run again: each item is one conditional write.

    `on_progress` is called after each page of the restored table.
    """
    done = CopiedBack()
    for page in restored.pages():
        known = ledger.of(item["orderId"]["S"] for item in page)
        for item in page:
            try:
                LedgerEntry.of(item)
            except EntryUnreadable as error:
                done = replace(done, unreadable=(*done.unreadable, str(error)))
                continue
            newer = _version(item) > _version(known.get(item["orderId"]["S"], {}))
            if newer and not _has_expired(item) and ledger.put_if_newer(item):
                done = replace(done, copied=done.copied + 1)
            else:
                done = replace(done, kept=done.kept + 1)
        on_progress(done)
    return done


def _has_expired(item: Item) -> bool:
    return "expiresAt" in item and int(item["expiresAt"]["N"]) < time.time()


def _version(item: Item) -> int:
    return int(item["version"]["N"]) if "version" in item else 0
