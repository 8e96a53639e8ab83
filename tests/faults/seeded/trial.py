"""One order and what befalls it, drawn before the run: the rules that strike it, and its fate."""

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Final

from durable_local.faults import Rule
from shared.ledger.states import State

if TYPE_CHECKING:
    from tests.faults.seeded.world import World

COMPLETED: Final = frozenset({State.COMPLETED})


@dataclass(frozen=True)
class Fate:
    """What is done to an order beside its rules, and the states in which it may end.

    `script` runs on a thread of its own, sends the order and does what its docstring says. `fault` is its number.
    """

    fault: str
    ends: frozenset[State]
    script: Callable[["World", "Trial"], None]

    @property
    def ends_badly(self) -> bool:
        """Whether the order may end so that an event tells of it, and a retry may follow."""
        return not self.ends & {State.COMPLETED, State.CANCELLED}

    def __str__(self) -> str:
        return (self.script.__doc__ or self.script.__name__).strip().splitlines()[0]


@dataclass
class Trial:
    """An order under a fate. `began` counts from the start of its wave, in seconds."""

    order_id: str
    fate: Fate
    random: Random
    rules: Sequence[Rule] = ()
    begins: float = 0
    copies: int = 1
    copies_later: float | None = None
    retried: bool = False
    event_lost: bool = False
    neighbours: list["Trial"] = field(default_factory=list)
    ends: frozenset[State] = COMPLETED
    error: str | None = None
    armed: list[int] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    thread: threading.Thread | None = None

    def __post_init__(self) -> None:
        self.ends = self.fate.ends
        self._since = time.monotonic()

    @property
    def order(self) -> dict[str, Any]:
        """A purchase by a customer of its own: what the enricher looks up can be told by the order's id, too."""
        return {
            "orderId": self.order_id,
            "customerId": f"CUST-{self.order_id}",
            "currency": "USD",
            "items": [{"sku": "CD", "quantity": 2, "unitPrice": "13.24"}],
        }

    @property
    def faults(self) -> set[str]:
        """The numbers of those that were drawn for it."""
        drawn = {self.fate.fault, *(rule.label for rule in self.rules)} - {""}
        return drawn | {"F1"} if self.copies > 1 or self.copies_later is not None else drawn

    @property
    def body(self) -> str:
        """Its message."""
        return json.dumps(self.order)

    @property
    def other_body(self) -> str:
        """The same id with another quantity."""
        return self.body.replace('"quantity": 2', '"quantity": 20')

    def note(self, text: str) -> None:
        """Something that happened, for whoever reads a failure."""
        self.notes.append(f"{time.monotonic() - self._since:6.1f} s  {text}")

    def plan(self) -> str:
        """What was drawn for it."""
        lines = [f"{self.order_id}: {self.fate}"]
        if self.copies > 1 or self.copies_later is not None:
            lines.append(f"  sent {self.copies} times at once, again after {self.copies_later} s")
        lines += [f"  {rule.label or 'so that':7} {rule}" for rule in self.rules]
        if self.retried:
            lines.append("  and retried after its bad end")
        return "\n".join(lines)
