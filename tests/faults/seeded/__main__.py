"""`make faults`, `make mutants` and `make storm`: run, show how far it is, print the table, say by the exit status."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.faults.seeded.mutants import MUTANTS, clearest, hunt
from tests.faults.seeded.run import run
from tests.faults.seeded.storm import storm
from tests.faults.seeded.table import faults_table, mutants_table, too_rare

console = Console(highlight=False)


class Steps:
    """A progress bar over `total` steps, with a word on what is done now."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=total, doing="")

    def say(self, what: str) -> None:
        """Shows what is done now."""
        self._progress.update(self._task, doing=what)

    def done(self) -> None:
        """One more step."""
        self._progress.advance(self._task)


@contextmanager
def steps(what: str, total: int) -> Iterator[Steps]:
    """A progress bar for the length of a block."""
    columns = (TextColumn(f"  {what}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[doing]}"), console=console) as progress:
        yield Steps(progress, total)


def faults(seeds: list[int], orders: int) -> int:
    """Every seed; the table. The exit status."""
    injected: Counter[str] = Counter()
    blamed: Counter[str] = Counter()
    violations: list[str] = []
    with steps("seeds", len(seeds)) as shown:
        for seed in seeds:
            outcome = run(seed, orders, say=lambda what, seed=seed: shown.say(f"seed {seed}: {what}"))
            shown.done()
            injected += outcome.injected
            blamed += outcome.blamed
            violations += outcome.violations
            states = ", ".join(f"{count} {state}" for state, count in sorted(outcome.states.items()))
            console.print(f"seed {seed}: {orders} orders in {outcome.seconds:.0f} s: {states}")
            if outcome.details:
                console.print(outcome.details, style="red", markup=False, soft_wrap=True)
    console.print(faults_table(injected, blamed, len(seeds)))
    rare = too_rare(injected, len(seeds))
    for sentence in rare:
        console.print(sentence, style="red")
    if violations:
        console.print(f"{len(violations)} violations", style="red")
    elif not rare:
        console.print(f"{len(seeds)} seeds of {orders} orders: no violation", style="green")
    return 1 if violations or rare else 0


def mutants(orders: int) -> int:
    """Every mechanism taken out in turn; the table. The exit status."""
    rows, survived = [], 0
    with steps("mutants", len(MUTANTS)) as shown:
        for mutant in MUTANTS:
            outcome = hunt(mutant, orders, lambda what, mutant=mutant: shown.say(f"without {mutant.without}, {what}"))
            shown.done()
            if outcome.violations:
                rows.append((mutant.without, f"seed {outcome.seed}", clearest(outcome.violations)))
            else:
                survived += 1
                rows.append((mutant.without, "nothing", "it survived"))
            console.print(*rows[-1], sep=" | ", markup=False)
    console.print(mutants_table(rows))
    return 1 if survived else 0


def purchases(seed: int, orders: int) -> int:
    """The storm; its figures. The exit status."""
    with steps("storm", 1) as shown:
        outcome = storm(seed, orders, shown.say)
        shown.done()
    states = ", ".join(f"{count} {state}" for state, count in sorted(outcome.states.items()))
    killed = ", ".join(f"{count} {function}" for function, count in sorted(outcome.killed.items()))
    console.print(f"{states}; {outcome.executions} executions; {outcome.seconds:.0f} s")
    console.print(f"killed (SIGKILL): {sum(outcome.killed.values())} workers: {killed}")
    for violation in outcome.violations:
        console.print(violation, style="red", markup=False)
    if not outcome.violations:
        console.print("every purchase completed once, and nothing is left", style="green")
    return 1 if outcome.violations else 0


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.seeded")
    parser.add_argument("what", choices=["faults", "mutants", "storm"])
    parser.add_argument("--seeds", type=int, default=20, help="run the seeds from 1 to this")
    parser.add_argument("--seed", type=int, help="run this one alone")
    parser.add_argument("--orders", type=int, default=50)
    arguments = parser.parse_args()
    if arguments.what == "mutants":
        return mutants(arguments.orders)
    if arguments.what == "storm":
        return purchases(arguments.seed or 1, arguments.orders)
    seeds = [arguments.seed] if arguments.seed else list(range(1, arguments.seeds + 1))
    return faults(seeds, arguments.orders)


if __name__ == "__main__":
    sys.exit(main())
