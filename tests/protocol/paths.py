"""Runs of the model that together take every move in every situation. The code then follows them."""

from collections.abc import Hashable, Iterable

from tests.protocol.explore import Causes, Scenario, path_to, reached
from tests.protocol.ledger_model import Rules
from tests.protocol.pipeline_model import CANCELS_LATE, MARKS_LATE, WRITES, Move, World


def covering_paths(scenarios: Iterable[Scenario], rules: Rules) -> list[list[Move]]:
    """A small number of runs that take each kind of move in each situation that a scenario can reach.

    They have no late marks and no late cancels, which need a call that is still running while others act.
    """
    runs = {}
    for scenario in scenarios:
        causes: Causes = {}
        for world, _, steps in reached(scenario, rules, causes):
            for move, _ in steps:
                if (situation := _situation(world, move)) not in runs:
                    runs[situation] = [*path_to(world, causes), (move, world)]
    paths, covered = [], set()
    for run in sorted(runs.values(), key=len, reverse=True):
        if any(move.kind.startswith((MARKS_LATE, CANCELS_LATE)) for move, _ in run):
            continue
        situations = {_situation(world, move) for move, world in run}
        if not situations <= covered:
            covered |= situations
            paths.append([move for move, _ in run])
    return paths


def _situation(world: World, move: Move) -> Hashable:
    """What a write depends on: the order's state, whether this was written before, and whether the writer owns it."""
    item, i = world.item, move.execution
    point = move.kind.removeprefix("stalled: ")
    if item is None or not (point in WRITES or move.kind.startswith(("reconciler", "operator"))):
        return move.kind, move.outcome
    written = point in WRITES and WRITES[point] in item.reached
    return move.kind, move.outcome, item.state, written, i == item.owner, i in item.owners
