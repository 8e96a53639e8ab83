"""Tries every order of moves in a model of the ledger's protocol, scenario by scenario.

    python -m tests.protocol.explore                  every scenario: half a million worlds
    python -m tests.protocol.explore --without fence  without one rule: prints the moves that break a promise

A scenario says what the queue delivers and how many faults of each kind may happen. Every order of moves is tried, the
shortest first. A promise can break in five ways:

* `history`: the ledger's history has a step that the state table does not allow, the number of an attempt decreases,
  two executions write one attempt, or enrich starts too often in one attempt;
* `end`: nothing more happens by itself, but an execution still runs, the ledger shows no end or a different one than
  Lambda, an accepted order left no trace, or a failed order cannot be retried;
* `one execution`: two executions that Lambda remembers have the same name;
* `twice`: two executions completed the order;
* `false alarm`: an order was rejected as a conflict with itself.

Without named starts the ledger stays correct, because the fence keeps it so. Names make sure that an order has one
execution, and that a conflict shows early.
"""

import argparse
import gc
import itertools
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from shared.executions.names import MAX_ATTEMPT
from shared.ledger.owner import MAX_STARTS
from shared.ledger.states import RETRYABLE, TERMINAL, State
from tests.protocol.ledger_model import EDGES, FORGOTTEN, OVERRULED, RECONCILER, Entry, Item, Rules
from tests.protocol.pipeline_model import (
    DELETED,
    FAILED,
    RECORDED,
    RUNNING,
    STOPPED,
    SUCCEEDED,
    TIMED_OUT,
    Fault,
    Move,
    World,
    first_world,
    mishaps,
    progress,
)

ENDS_THAT_AGREE: Mapping[State, frozenset[str]] = {
    State.COMPLETED: frozenset({SUCCEEDED, FAILED, TIMED_OUT, STOPPED, DELETED}),
    State.FAILED: frozenset({FAILED, TIMED_OUT, STOPPED, DELETED}),
    State.TIMED_OUT: frozenset({TIMED_OUT}),
    State.STOPPED: frozenset({STOPPED}),
    State.CANCELLED: frozenset({STOPPED, FAILED, TIMED_OUT, DELETED}),
}
"""For each end of an order, the statuses of its owner's execution that agree with it. Between its write of COMPLETED or
FAILED and its checkpoint, an execution can still end in another way."""


@dataclass(frozen=True)
class Scenario:
    """What the queue delivers, how often, and how many faults of each kind may happen."""

    messages: Mapping[str, int]
    budget: Mapping[Fault, int]
    not_promised: str | None = None
    """The kind of promise that this scenario may break."""


SCENARIOS: Mapping[str, Scenario] = {
    "duplicates and crashes": Scenario({"A": 2}, {Fault.CRASH: 2, Fault.INGEST_DIES: 1}),
    "a conflict, the name forgotten": Scenario({"A": 2, "B": 1}, {Fault.FORGET: 1, Fault.CRASH: 1}),
    "stop, timeout and retries": Scenario({"A": 2}, {Fault.STOP: 1, Fault.TIMEOUT: 1, Fault.RETRY: 2, Fault.FORGET: 1}),
    "the enricher fails, and retries": Scenario(
        {"A": 1}, {Fault.ENRICHER: 1, Fault.STOP: 1, Fault.RETRY: 2, Fault.CRASH: 1}
    ),
    "stalled writers": Scenario(
        {"A": 1}, {Fault.STALL: 2, Fault.ENRICHER: 1, Fault.TIMEOUT: 1, Fault.RETRY: 1, Fault.CANCEL: 1}
    ),
    "a cancel races": Scenario(
        {"A": 2}, {Fault.CANCEL: 1, Fault.CRASH: 1, Fault.RETRY: 1, Fault.STOP: 1, Fault.FORGET: 1}
    ),
    "direct invokes": Scenario({"A": 1}, {Fault.DIRECT: 2, Fault.CRASH: 1, Fault.RETRY: 1, Fault.TIMEOUT: 1}),
    "all at once": Scenario(
        {"A": 1, "B": 1}, {Fault.STOP: 1, Fault.RETRY: 1, Fault.FORGET: 1, Fault.DIRECT: 1, Fault.CANCEL: 1}
    ),
    "a step that kills its process": Scenario({"A": 1}, {Fault.CRASH: MAX_STARTS, Fault.STALL: 1}),
    "an execution is deleted": Scenario({"A": 2}, {Fault.DELETE: 1, Fault.STALL: 1, Fault.RETRY: 1, Fault.CANCEL: 1}),
    "an item is lost": Scenario(
        {"A": 2}, {Fault.LOSE: 1, Fault.CRASH: 1, Fault.STOP: 1, Fault.RETRY: 1, Fault.CANCEL: 1}
    ),
    "an item is set back": Scenario(
        {"A": 1}, {Fault.SET_BACK: 1, Fault.ENRICHER: 1, Fault.CRASH: 1, Fault.RETRY: 2, Fault.CANCEL: 1}
    ),
    # Until the item is back, the ledger knows nothing of the order: a new execution without a name processes it again.
    "a direct invoke, and an item is lost": Scenario(
        {"A": 1}, {Fault.LOSE: 1, Fault.DIRECT: 1, Fault.STOP: 1, Fault.CANCEL: 1}, not_promised="twice"
    ),
    "a retry from finalize": Scenario(
        {"A": 1}, {Fault.RESUME: 1, Fault.RETRY: 1, Fault.STOP: 1, Fault.CRASH: 1, Fault.CANCEL: 1}
    ),
    "an order is forgotten": Scenario({"A": 2}, {Fault.ERASE: 1, Fault.RETRY: 1, Fault.STOP: 1, Fault.CRASH: 1}),
    "an item expires": Scenario({"A": 2}, {Fault.EXPIRE: 1, Fault.FORGET: 2, Fault.STOP: 1, Fault.RETRY: 1}),
    "a start under a stray name": Scenario({"A": 1}, {Fault.STRAY: 1, Fault.STOP: 2, Fault.RETRY: 1}),
}

LARGE = {"stop, timeout and retries", "direct invokes", "all at once", "a direct invoke, and an item is lost"}
"""Scenarios with many worlds, but almost no situation of their own."""


class Wrong(NamedTuple):
    """A broken promise: its kind, and what happened."""

    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


class Explored(NamedTuple):
    """The number of worlds seen, the first broken promise, and the moves that led to it."""

    worlds: int
    wrong: Wrong | None = None
    path: tuple[Move, ...] = ()


Causes = dict[World, tuple[Move, World] | None]
"""The worlds that were reached, each with the move that led to it and the world before it; the first has neither."""


def explore(scenario: Scenario, rules: Rules, overlooked: str | None = None) -> Explored:
    """Visit every world that the scenario can reach, nearest first, until a promise breaks that is not `overlooked`."""
    overlooked = overlooked or scenario.not_promised
    causes: Causes = {}
    for world, at_rest, _ in reached(scenario, rules, causes):
        wrong = wrong_always(world) or (wrong_at_rest(world) if at_rest else None)
        if wrong and wrong.kind != overlooked:
            return Explored(len(causes), wrong, tuple(move for move, _ in path_to(world, causes)))
    return Explored(len(causes))


def reached(scenario: Scenario, rules: Rules, causes: Causes) -> Iterator[tuple[World, bool, list[tuple[Move, World]]]]:
    """Each world, nearest first; whether nothing happens in it by itself; and what may happen. Fills `causes`."""
    first = first_world(scenario.messages, scenario.budget)
    causes[first] = None
    queue = deque([first])
    gc.disable()  # hundreds of thousands of tuples, and none refers back to itself
    try:
        while queue:
            world = queue.popleft()
            by_itself = list(progress(rules, world))
            steps = [*by_itself, *mishaps(rules, world)]
            yield world, not by_itself, steps
            for move, after in steps:
                if after not in causes:
                    causes[after] = (move, world)
                    queue.append(after)
    finally:
        gc.enable()


def path_to(world: World, causes: Causes) -> list[tuple[Move, World]]:
    """The moves that led to a world, each with the world before it."""
    path = []
    while cause := causes[world]:
        path.append(cause)
        world = cause[1]
    return path[::-1]


def wrong_always(world: World) -> Wrong | None:
    """The promise that this world breaks, of those that hold at every moment."""
    names = [e.name for e in world.executions if e.name is not None and not e.forgotten]
    if len(names) > len(set(names)):
        return Wrong("one execution", f"two executions are named for one attempt: {names}")
    completed = [i for i, e in enumerate(world.executions) if e.status == SUCCEEDED and e.how != RECORDED]
    if len(completed) > 1:
        return Wrong("twice", f"executions {completed} completed the order")
    if world.item is None:
        return None
    return _wrong_item(world, world.item)


def _wrong_item(world: World, item: Item) -> Wrong | None:  # noqa: PLR0911 (one promise each)
    first = world.executions[item.owners[0]].body
    if any(world.executions[i].body == first for i in item.conflicts | world.noting):
        return Wrong("false alarm", f"{first} was rejected as a conflict with itself")
    if item.starts > MAX_STARTS:
        return Wrong("history", f"enrich began {item.starts} times in attempt {item.attempt}")
    if item.attempt > MAX_ATTEMPT:
        return Wrong("history", f"attempt {item.attempt}, after the last")
    if item.mark == FORGOTTEN and item.state not in TERMINAL:
        return Wrong("history", f"attempt {item.attempt} of a forgotten order")
    if item.mark == OVERRULED and item.state not in TERMINAL:
        return Wrong("history", f"attempt {item.attempt} resumes, and the last retry was a plain one")
    if item.starts == 0 and State.ENRICHED in item.reached and item.history[-1].writer != RECONCILER:
        before, now = (world.executions[owner].body for owner in item.owners[-2:])
        if before != now:
            return Wrong("history", f"attempt {item.attempt} of {now} has the enrichment of {before}")
    return _wrong_history(item.history)


@cache
def _wrong_history(history: tuple[Entry, ...]) -> Wrong | None:
    states = [entry.state for entry in history]
    begun_again = {(State.CANCELLED, State.RECEIVED)} if _corrected(history) else set()
    if states[0] is not State.RECEIVED or set(itertools.pairwise(states)) - EDGES - begun_again:
        return Wrong("history", f"an illegal step: {', '.join(states)}")
    attempts = [entry.attempt for entry in history]
    if attempts != sorted(attempts):
        return Wrong("history", f"attempts out of order: {attempts}")
    for attempt in set(attempts):
        writers = {e.writer for e in history if e.attempt == attempt and isinstance(e.writer, int)}
        if len(writers) > 1:
            return Wrong("history", f"attempt {attempt} written by executions {sorted(writers)}")
    return None


def _corrected(history: tuple[Entry, ...]) -> bool:
    """Whether all that follows a cancel was written from the result of an execution that succeeded."""
    after = [later for before, later in itertools.pairwise(history) if before.state is State.CANCELLED]
    return all(entry.writer == RECONCILER for entry in after)


def wrong_at_rest(world: World) -> Wrong | None:
    """The promise that this world breaks, of those that hold when nothing more happens by itself."""
    if any(execution.status == RUNNING for execution in world.executions):
        return Wrong("end", "an execution never ends")
    if world.item is None:
        return Wrong("end", "an order left no trace") if world.executions else None
    return _wrong_end(world, world.item)


def _wrong_end(world: World, item: Item) -> Wrong | None:
    if item.state not in TERMINAL:
        return Wrong("end", f"the ledger stays {item.state}")
    owner = world.executions[item.owner]
    if item.mark != FORGOTTEN and owner.status not in ENDS_THAT_AGREE[item.state]:
        return Wrong("end", f"the ledger says {item.state}, Lambda {owner.status}")
    if item.state is not State.COMPLETED and any(e.status == SUCCEEDED for e in world.executions):
        return Wrong("end", f"an execution answered success for an order that is {item.state}")
    following = item.attempt + 1
    taken = any(e.name == following and not e.forgotten for e in world.executions)
    if item.state in RETRYABLE and item.mark != FORGOTTEN and following <= MAX_ATTEMPT and taken:
        return Wrong("end", f"the name of attempt {following} is taken, so the order cannot be retried")
    accepted = world.rejected | {world.executions[owner].body for owner in item.owners}
    vanished = [message.body for message in world.messages if message.body not in accepted]
    return Wrong("end", f"message {vanished[0]} vanished") if vanished else None


def main(arguments: list[str] | None = None) -> int:
    """Explore the scenarios and print the results. Returns 1 if a promise broke."""
    parser = argparse.ArgumentParser(description="Try every interleaving of the ledger's protocol.")
    names = [field.replace("_", "-") for field in vars(Rules())]
    parser.add_argument("--without", choices=names, metavar="RULE", help=f"leave one rule out: {', '.join(names)}")
    parser.add_argument("scenarios", nargs="*", default=[*SCENARIOS], metavar="SCENARIO", help="only these")
    asked = parser.parse_args(arguments)
    rules = Rules().without(asked.without) if asked.without else Rules()
    broken = False
    for name in asked.scenarios:
        explored = explore(SCENARIOS[name], rules)
        print(f"{name}: {explored.worlds:,} worlds, {explored.wrong or 'every promise holds'}", flush=True)
        for move in explored.path:
            print(f"    {move}")
        broken |= explored.wrong is not None
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
