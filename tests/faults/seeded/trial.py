"""One order with its scenario and its fault rules, which are chosen before the run."""

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
class Scenario:
    """What happens to an order besides its rules, and the states in which it may end.

    `script` runs on its own thread, sends the order and does what its docstring says. `fault` is the fault's number.
    """

    fault: str
    ends: frozenset[State]
    script: Callable[["World", "Trial"], None]

    @property
    def ends_without_success(self) -> bool:
        """Whether the order ends in a state that an event reports and an operator can retry."""
        return not self.ends & {State.COMPLETED, State.CANCELLED}

    def __str__(self) -> str:
        return (self.script.__doc__ or self.script.__name__).strip().splitlines()[0]


@dataclass
class Trial:
    """An order with its scenario. `begins` counts from the start of its wave, in seconds."""

    order_id: str
    scenario: Scenario
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
    may_deploy: threading.Event = field(default_factory=threading.Event)
    """Set by a script that does not need its order to be WAITING when the new version is deployed."""

    def __post_init__(self) -> None:
        self.ends = self.scenario.ends
        self._since = time.monotonic()

    @property
    def order(self) -> dict[str, Any]:
        """A purchase by a customer of its own, so that rules can find the enricher's reads by the order's id too."""
        return {
            "orderId": self.order_id,
            "customerId": f"CUST-{self.order_id}",
            "currency": "USD",
            "items": [{"sku": "CD", "quantity": 2, "unitPrice": "13.24"}],
        }

    @property
    def faults(self) -> set[str]:
        """The numbers of the faults chosen for this order."""
        drawn = {self.scenario.fault, *(rule.label for rule in self.rules)} - {""}
        return drawn | {"F1"} if self.copies > 1 or self.copies_later is not None else drawn

    @property
    def body(self) -> str:
        """The text of its message."""
        return json.dumps(self.order)

    @property
    def other_body(self) -> str:
        """The same id with another quantity."""
        return self.body.replace('"quantity": 2', '"quantity": 20')

    def note(self, text: str) -> None:
        """Records an event for the report of a failure."""
        self.notes.append(f"{time.monotonic() - self._since:6.1f} s  {text}")

    def plan(self) -> str:
        """The faults chosen for this order, as text."""
        lines = [f"{self.order_id}: {self.scenario}"]
        if self.copies > 1 or self.copies_later is not None:
            lines.append(f"  sent {self.copies} times at once, again after {self.copies_later} s")
        lines += [f"  {rule.label or 'so that':7} {rule}" for rule in self.rules]
        if self.retried:
            lines.append(", then retried after it ended without success")
        return "\n".join(lines)
