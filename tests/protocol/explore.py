"""Every interleaving of the ledger's protocol, tried on its model, scenario by scenario.

    python -m tests.protocol.explore                  every scenario: half a million worlds
    python -m tests.protocol.explore --without fence  one rule taken out: prints the moves that break a promise

A scenario is what the queue delivers and how many faults of each kind may happen. All orders of moves are tried, the
shortest first. What may turn out wrong is of three kinds:

* `history`: the ledger's history takes a step that the state table does not know, an attempt's number goes back, two
  executions write one attempt, or enrich begins in one attempt more often than it may;
* `end`: nothing more happens by itself, and an execution still runs, or the ledger has no end or another than Lambda,
  or an order that was accepted left no trace, or one that failed cannot be retried;
* `one execution`: two executions that Lambda remembers have one name.

Without named starts the ledger stays right, which is the fence's work. What names give is one execution an order, and
a conflict that shows early.
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
from tests.protocol.ledger_model import EDGES, Entry, Item, Rules
from tests.protocol.pipeline_model import (
    DELETED,
    FAILED,
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
"""For each end of an order, how its owner's execution may have ended: COMPLETED and FAILED may have been written by an
execution that then ended otherwise, between its last write and its checkpoint."""


@dataclass(frozen=True)
class Scenario:
    """What the queue delivers, how often, and how many faults of each kind may happen."""

    messages: Mapping[str, int]
    budget: Mapping[Fault, int]


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
    "a start under a stray name": Scenario({"A": 1}, {Fault.STRAY: 1, Fault.STOP: 2, Fault.RETRY: 1}),
}


class Wrong(NamedTuple):
    """A promise that broke: which kind, and how."""

    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


class Explored(NamedTuple):
    """How many worlds were seen, and the first that is wrong with the moves that led to it."""

    worlds: int
    wrong: Wrong | None = None
    path: tuple[Move, ...] = ()


Causes = dict[World, tuple[Move, World] | None]
"""Worlds that were reached, each with the move that led to it and the world before; the first has none."""


def explore(scenario: Scenario, rules: Rules, overlooked: str | None = None) -> Explored:
    """Every world that the scenario can reach, nearest first, until one is wrong, unless of a kind to be overlooked."""
    causes: Causes = {}
    gc.disable()  # hundreds of thousands of tuples, and never a cycle among them
    try:
        for world, at_rest, _ in reached(scenario, rules, causes):
            wrong = wrong_always(world) or (wrong_at_rest(world) if at_rest else None)
            if wrong and wrong.kind != overlooked:
                return Explored(len(causes), wrong, tuple(move for move, _ in path_to(world, causes)))
    finally:
        gc.enable()
    return Explored(len(causes))


def reached(scenario: Scenario, rules: Rules, causes: Causes) -> Iterator[tuple[World, bool, list[tuple[Move, World]]]]:
    """Every world nearest first, whether it is at rest, and what may happen in it. Fills `causes` as it goes on."""
    first = first_world(scenario.messages, scenario.budget)
    causes[first] = None
    queue = deque([first])
    while queue:
        world = queue.popleft()
        by_itself = list(progress(rules, world))
        steps = [*by_itself, *mishaps(rules, world)]
        yield world, not by_itself, steps
        for move, after in steps:
            if after not in causes:
                causes[after] = (move, world)
                queue.append(after)


def path_to(world: World, causes: Causes) -> list[tuple[Move, World]]:
    """The moves that led to a world, each with the world before it."""
    path = []
    while cause := causes[world]:
        path.append(cause)
        world = cause[1]
    return path[::-1]


def wrong_always(world: World) -> Wrong | None:
    """What may never be."""
    names = [e.name for e in world.executions if e.name is not None and not e.forgotten]
    if len(names) > len(set(names)):
        return Wrong("one execution", f"two executions are named for one attempt: {names}")
    if world.item is None:
        return None
    if world.item.starts > MAX_STARTS:
        return Wrong("history", f"enrich began {world.item.starts} times in attempt {world.item.attempt}")
    if world.item.attempt > MAX_ATTEMPT:
        return Wrong("history", f"attempt {world.item.attempt}, after the last")
    return _wrong_history(world.item.history)


@cache
def _wrong_history(history: tuple[Entry, ...]) -> Wrong | None:
    states = [entry.state for entry in history]
    if states[0] is not State.RECEIVED or any(step not in EDGES for step in itertools.pairwise(states)):
        return Wrong("history", f"an illegal step: {', '.join(states)}")
    attempts = [entry.attempt for entry in history]
    if attempts != sorted(attempts):
        return Wrong("history", f"attempts out of order: {attempts}")
    for attempt in set(attempts):
        writers = {e.writer for e in history if e.attempt == attempt and isinstance(e.writer, int)}
        if len(writers) > 1:
            return Wrong("history", f"attempt {attempt} written by executions {sorted(writers)}")
    return None


def wrong_at_rest(world: World) -> Wrong | None:
    """What may not be left when nothing happens by itself any more."""
    if any(execution.status == RUNNING for execution in world.executions):
        return Wrong("end", "an execution never ends")
    if world.item is None:
        return Wrong("end", "an order left no trace") if world.executions else None
    return _wrong_end(world, world.item)


def _wrong_end(world: World, item: Item) -> Wrong | None:
    if item.state not in TERMINAL:
        return Wrong("end", f"the ledger stays {item.state}")
    owner = world.executions[item.owner]
    if owner.status not in ENDS_THAT_AGREE[item.state]:
        return Wrong("end", f"the ledger says {item.state}, Lambda {owner.status}")
    if item.state is not State.COMPLETED and any(e.status == SUCCEEDED for e in world.executions):
        return Wrong("end", f"an execution answered success for an order that is {item.state}")
    following = item.attempt + 1
    taken = any(e.name == following and not e.forgotten for e in world.executions)
    if item.state in RETRYABLE and following <= MAX_ATTEMPT and taken:
        return Wrong("end", f"the name of attempt {following} is taken, so the order cannot be retried")
    accepted = world.rejected | {world.executions[owner].body for owner in item.owners}
    vanished = [message.body for message in world.messages if message.body not in accepted]
    return Wrong("end", f"message {vanished[0]} vanished") if vanished else None


def main(arguments: list[str] | None = None) -> int:
    """Explore, print, and answer 1 where a promise broke."""
    parser = argparse.ArgumentParser(description="Try every interleaving of the ledger's protocol.")
    names = [field.replace("_", "-") for field in vars(Rules())]
    parser.add_argument("--without", choices=names, metavar="RULE", help=f"take one rule out: {', '.join(names)}")
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
