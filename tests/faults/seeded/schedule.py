"""The faults of each order, factory from the seed: the same seed and number of orders give the same schedule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from random import Random
from typing import Final

from durable_local.faults import Rule
from tests.faults.seeded.request_faults import (
    DELIVERY_FAULTS,
    EXECUTION_FAULTS,
    RequestFault,
    event_disturbed,
    event_lost,
)
from tests.faults.seeded.scenarios import PLAIN, SCENARIOS
from tests.faults.seeded.trial import Scenario, Trial

MIN_ORDERS: Final = 34
"""One order for each fault with scenarios, the neighbours in its batch, and one order for each other fault."""

SECONDS_PER_ORDER: Final = 0.2
NEIGHBOURS: Final = 2
IN_A_BATCH: Final = frozenset({"F5", "F21"})
BEFORE_THE_DEPLOYMENT: Final = frozenset({"F19", "F22", "F24"})
# Scenarios without other faults: they count messages, or wait for a deployment that other faults would delay.
UNDISTURBED: Final = frozenset({"F2", "F3", "F4", "F5", "F7", "F19", "F21", "F22", "F24", "F25"})

NEED_THEIR_EVENT: Final = frozenset({"F24", "F25"})
"""Their fault is injected into the reconciler that gets the event."""


@dataclass(frozen=True)
class Schedule:
    """Three waves: orders that wait during the deployment, orders with a batch of their own, and all others."""

    seed: int
    before_deployment: list[Trial]
    batches: list[Trial]
    rest: list[Trial]

    @property
    def trials(self) -> list[Trial]:
        """All trials, with the neighbours."""
        leading = [*self.before_deployment, *self.batches, *self.rest]
        return [*leading, *(neighbour for trial in leading for neighbour in trial.neighbours)]


def schedule(seed: int, orders: int) -> Schedule:
    """Raises ValueError for fewer than `MIN_ORDERS`, which every fault needs to be injected once."""
    if orders < MIN_ORDERS:
        raise ValueError(f"{orders} orders are too few to inject every fault: at least {MIN_ORDERS} are needed")
    random = Random(seed)
    factory = _TrialFactory(seed, random)
    scenarios = _draw_scenarios(random, orders)
    trials = [factory.trial(scenario) for scenario in scenarios]
    for trial in trials:
        if trial.scenario.fault in IN_A_BATCH:
            trial.neighbours = [factory.trial(PLAIN) for _ in range(NEIGHBOURS)]
    failing = [trial for trial in trials if trial.scenario.ends_without_success]
    _disturb_events(random, [trial for trial in failing if trial.scenario.fault not in NEED_THEIR_EVENT])
    plain = [factory.trial(PLAIN) for _ in range(orders - len(trials) - NEIGHBOURS * len(IN_A_BATCH))]
    _add_request_faults(random, plain)
    rest = [trial for trial in trials if trial.scenario.fault not in IN_A_BATCH | BEFORE_THE_DEPLOYMENT] + plain
    for trial in rest:
        trial.begins = random.uniform(0, SECONDS_PER_ORDER * orders)
    return Schedule(
        seed,
        [trial for trial in trials if trial.scenario.fault in BEFORE_THE_DEPLOYMENT],
        [trial for trial in trials if trial.scenario.fault in IN_A_BATCH],
        rest,
    )


@dataclass
class _TrialFactory:
    seed: int
    random: Random
    count: int = 0

    def trial(self, scenario: Scenario) -> Trial:
        """The next order. Its id has the seed, its number and its fault; no id is a prefix of another."""
        self.count += 1
        order_id = f"S{self.seed}-{self.count:03}-{scenario.fault or 'ANY'}"
        trial = Trial(order_id, scenario, Random(f"{self.seed} {self.count}"))
        if scenario is not PLAIN and scenario.fault not in UNDISTURBED and self.random.random() < 0.3:
            trial.rules = _draw_rules(self.random, order_id, DELIVERY_FAULTS, 1)
        return trial


def _draw_scenarios(random: Random, orders: int) -> list[Scenario]:
    """At least one scenario for each fault. All of them, if enough orders are left for the request faults."""
    free = orders - NEIGHBOURS * len(IN_A_BATCH) - len(DELIVERY_FAULTS) - len(EXECUTION_FAULTS) - 1
    first = [random.choice(scenarios) for scenarios in SCENARIOS.values()]
    more = [scenario for scenarios in SCENARIOS.values() for scenario in scenarios if scenario not in first]
    # These faults have one scenario, in which the order's state at the fault is random: run it twice.
    more += [scenario for fault in BEFORE_THE_DEPLOYMENT for scenario in SCENARIOS[fault]]
    random.shuffle(more)
    return first + more[: max(free - len(first), 0)]


def _add_request_faults(random: Random, plain: list[Trial]) -> None:
    """Adds each kind of request fault in turn, and up to two more. Some orders get none."""
    kinds = cycle(["F1", *DELIVERY_FAULTS, *EXECUTION_FAULTS])
    both = {**DELIVERY_FAULTS, **EXECUTION_FAULTS}
    for place, trial in enumerate(plain):
        if place > len(both) and random.random() < 0.2:
            continue
        kind = next(kinds)
        if kind == "F1" or random.random() < 0.2:
            trial.copies = random.choice([1, 2, 3])
            trial.copies_later = random.choice([0.5, 2, 6]) if trial.copies == 1 or random.random() < 0.5 else None
        first = {kind: both[kind]} if kind in both else {}
        # One of each kind: an enricher that fails twice more often would correctly fail the order.
        others = {other: request_faults for other, request_faults in both.items() if other != kind}
        trial.rules = [
            *_draw_rules(random, trial.order_id, first, len(first)),
            *_draw_rules(random, trial.order_id, others, random.randint(0, 2)),
        ]


def _draw_rules(random: Random, order_id: str, kinds: Mapping[str, Sequence[RequestFault]], count: int) -> list[Rule]:
    chosen = [random.choice(kinds[kind]) for kind in random.sample(list(kinds), count)]
    return [rule for request_fault in chosen for rule in request_fault(order_id, random)]


def _disturb_events(random: Random, failing: list[Trial]) -> None:
    """Adds F16 and chooses the orders to retry. No retry after a lost event: only the sweep finds that end."""
    random.shuffle(failing)
    for place, trial in enumerate(failing):
        way = ["lost", "disturbed"][place] if place < 2 else random.choice(["lost", "disturbed", "sent", "sent"])
        deleted = trial.scenario.script.__name__ == "stopped_and_deleted"
        if way == "lost" and not deleted:
            trial.event_lost = True
            trial.rules = [*trial.rules, event_lost(trial.order_id)]
        elif not deleted:
            if way == "disturbed":
                trial.rules = [*trial.rules, event_disturbed(trial.order_id, random)]
            trial.retried = random.random() < 0.5
