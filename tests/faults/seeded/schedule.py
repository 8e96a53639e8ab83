"""What befalls which order, drawn from the seed alone: the same seed and number of orders is the same schedule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from random import Random
from typing import Final

from durable_local.faults import Rule
from tests.faults.seeded.fates import FATES, PLAIN
from tests.faults.seeded.strikes import DELIVERY, EXECUTION, Strike, event_lost, event_mistaken
from tests.faults.seeded.trial import Fate, Trial

FEWEST_ORDERS: Final = 30
"""One for each fault that is done to an order of its own, the neighbours in its batch, and one for each other."""

SECONDS_PER_ORDER: Final = 0.2
NEIGHBOURS: Final = 2
IN_A_BATCH: Final = frozenset({"F5", "F21"})
BEFORE_THE_DEPLOYMENT: Final = frozenset({"F19", "F22"})
# Their scripts count messages, or wait for a deployment that others would put off.
UNDISTURBED: Final = frozenset({"F2", "F3", "F4", "F5", "F7", "F19", "F21", "F22"})


@dataclass(frozen=True)
class Schedule:
    """Three waves: what waits through the deployment, what is alone in its batches, and all else."""

    seed: int
    before_deployment: list[Trial]
    batches: list[Trial]
    rest: list[Trial]

    @property
    def trials(self) -> list[Trial]:
        """All of them, neighbours included."""
        leading = [*self.before_deployment, *self.batches, *self.rest]
        return [*leading, *(neighbour for trial in leading for neighbour in trial.neighbours)]


def schedule(seed: int, orders: int) -> Schedule:
    """Raises ValueError for fewer orders than it takes to do every fault once."""
    if orders < FEWEST_ORDERS:
        raise ValueError(f"{orders} orders are too few for every fault: {FEWEST_ORDERS} at least")
    random = Random(seed)
    drawn = _Drawn(seed, random)
    fates = _fates(random, orders)
    trials = [drawn.trial(fate) for fate in fates]
    for trial in trials:
        if trial.fate.fault in IN_A_BATCH:
            trial.neighbours = [drawn.trial(PLAIN) for _ in range(NEIGHBOURS)]
    _tell_wrongly(random, [trial for trial in trials if trial.fate.ends_badly])
    plain = [drawn.trial(PLAIN) for _ in range(orders - len(trials) - NEIGHBOURS * len(IN_A_BATCH))]
    _strike(random, plain)
    rest = [trial for trial in trials if trial.fate.fault not in IN_A_BATCH | BEFORE_THE_DEPLOYMENT] + plain
    for trial in rest:
        trial.begins = random.uniform(0, SECONDS_PER_ORDER * orders)
    return Schedule(
        seed,
        [trial for trial in trials if trial.fate.fault in BEFORE_THE_DEPLOYMENT],
        [trial for trial in trials if trial.fate.fault in IN_A_BATCH],
        rest,
    )


@dataclass
class _Drawn:
    seed: int
    random: Random
    count: int = 0

    def trial(self, fate: Fate) -> Trial:
        """The next order. Its id says the seed, its number and its fate; no id is the beginning of another."""
        self.count += 1
        order_id = f"S{self.seed}-{self.count:03}-{fate.fault or 'ANY'}"
        trial = Trial(order_id, fate, Random(f"{self.seed} {self.count}"))
        if fate is not PLAIN and fate.fault not in UNDISTURBED and self.random.random() < 0.3:
            trial.rules = _strikes(self.random, order_id, DELIVERY, 1)
        return trial


def _fates(random: Random, orders: int) -> list[Fate]:
    """Every fault's, one at least; all of them where there are orders enough to leave some for the strikes."""
    room = orders - NEIGHBOURS * len(IN_A_BATCH) - len(DELIVERY) - len(EXECUTION) - 1
    first = [random.choice(fates) for fates in FATES.values()]
    more = [fate for fates in FATES.values() for fate in fates if fate not in first]
    # Whose state of the order is left to chance, and which have one fate only.
    more += [fate for fault in BEFORE_THE_DEPLOYMENT for fate in FATES[fault]]
    random.shuffle(more)
    return first + more[: max(room - len(first), 0)]


def _strike(random: Random, plain: list[Trial]) -> None:
    """Each kind of strike in turn, and up to two more; some orders are left alone."""
    kinds = cycle(["F1", *DELIVERY, *EXECUTION])
    both = {**DELIVERY, **EXECUTION}
    for place, trial in enumerate(plain):
        if place > len(both) and random.random() < 0.2:
            continue
        kind = next(kinds)
        if kind == "F1" or random.random() < 0.2:
            trial.copies = random.choice([1, 2, 3])
            trial.copies_later = random.choice([0.5, 2, 6]) if trial.copies == 1 or random.random() < 0.5 else None
        first = {kind: both[kind]} if kind in both else {}
        # One of a kind: two that fail the enricher twice would rightly fail the order.
        others = {other: strikes for other, strikes in both.items() if other != kind}
        trial.rules = [
            *_strikes(random, trial.order_id, first, len(first)),
            *_strikes(random, trial.order_id, others, random.randint(0, 2)),
        ]


def _strikes(random: Random, order_id: str, kinds: Mapping[str, Sequence[Strike]], count: int) -> list[Rule]:
    chosen = [random.choice(kinds[kind]) for kind in random.sample(list(kinds), count)]
    return [rule for strike in chosen for rule in strike(order_id, random)]


def _tell_wrongly(random: Random, ending_badly: list[Trial]) -> None:
    """F16, and which of them are retried. An end that is not told of is found only by the sweep: no retry waits."""
    random.shuffle(ending_badly)
    for place, trial in enumerate(ending_badly):
        way = ["lost", "mistaken"][place] if place < 2 else random.choice(["lost", "mistaken", "told", "told"])
        deleted = trial.fate.script.__name__ == "stopped_and_deleted"
        if way == "lost" and not deleted:
            trial.event_lost = True
            trial.rules = [*trial.rules, event_lost(trial.order_id)]
        elif not deleted:
            if way == "mistaken":
                trial.rules = [*trial.rules, event_mistaken(trial.order_id, random)]
            trial.retried = random.random() < 0.5
