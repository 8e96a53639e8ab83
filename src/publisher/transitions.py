"""The transitions that a record of the ledger's stream adds to an order's history."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.ledger.entry import LedgerEntry
from shared.ledger.states import State


@dataclass(frozen=True)
class NewTransition:
    """One new entry of an order's history. `version` is its position, 1 for the first.

    `began_at` is the time of the attempt's first transition, and `execution_arn` the execution that owned the attempt.
    """

    order_id: str
    version: int
    attempt: int
    state: State
    at: str
    began_at: str
    execution_arn: str

    @property
    def duration_ms(self) -> float:
        """The time from the start of the attempt to this transition."""
        elapsed = datetime.fromisoformat(self.at) - datetime.fromisoformat(self.began_at)
        return elapsed.total_seconds() * 1000


def new_transitions(change: Mapping[str, Any]) -> list[NewTransition]:
    """The transitions that the new image has and the old image has not, oldest first.

    `change` is the part `dynamodb` of a stream record, with both images. There are none for a deleted item, or for an
    update that appends nothing to the history. Raises `EntryUnreadable` for a new image that is not a ledger item.
    """
    if "NewImage" not in change:
        return []
    entry = LedgerEntry.of(change["NewImage"])
    known = int(change.get("OldImage", {}).get("version", {}).get("N", 0))
    began: dict[int, str] = {}
    owners: dict[int, str] = {}
    for step in entry.history:
        began.setdefault(step.attempt, step.at)
        owners.setdefault(step.attempt, step.execution_arn or entry.execution_arn)
    first = entry.version - len(entry.history) + 1
    return [
        NewTransition(
            entry.order_id, version, step.attempt, step.state, step.at, began[step.attempt], owners[step.attempt]
        )
        for version, step in enumerate(entry.history, first)
        if version > known
    ]
