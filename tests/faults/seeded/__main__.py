"""The commands `make faults`, `make mutants` and `make kills`: progress, the result table and the exit status."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.faults.seeded.mutants import MUTANTS, clearest_violation, find_seed
from tests.faults.seeded.random_kills import run_with_kills
from tests.faults.seeded.run import run
from tests.faults.seeded.table import faults_table, mutants_table, too_rare

console = Console(highlight=False)


class Steps:
    """A progress bar over `total` steps, with a text that says what runs now."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=total, doing="")

    def say(self, what: str) -> None:
        """Shows what runs now."""
        self._progress.update(self._task, doing=what)

    def done(self) -> None:
        """Counts one more step."""
        self._progress.advance(self._task)


@contextmanager
def steps(what: str, total: int) -> Iterator[Steps]:
    """A progress bar that is shown while the block runs."""
    columns = (TextColumn(f"  {what}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[doing]}"), console=console) as progress:
        yield Steps(progress, total)


def faults(seeds: list[int], orders: int) -> int:
    """Runs every seed and prints the table. Returns the exit status."""
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
    """Removes each mechanism in turn and prints the table. Returns the exit status."""
    rows, survived = [], 0
    with steps("mutants", len(MUTANTS)) as shown:
        for mutant in MUTANTS:
            outcome = find_seed(
                mutant, orders, lambda what, mutant=mutant: shown.say(f"without {mutant.without}, {what}")
            )
            shown.done()
            if outcome.violations:
                rows.append((mutant.without, f"seed {outcome.seed}", clearest_violation(outcome.violations)))
            else:
                survived += 1
                rows.append((mutant.without, "no seed", "not detected"))
            console.print(*rows[-1], sep=" | ", markup=False)
    console.print(mutants_table(rows))
    return 1 if survived else 0


def kills(seed: int, orders: int) -> int:
    """Kills workers at random and prints the figures. Returns the exit status."""
    with steps("kills", 1) as shown:
        outcome = run_with_kills(seed, orders, shown.say)
        shown.done()
    states = ", ".join(f"{count} {state}" for state, count in sorted(outcome.states.items()))
    killed = ", ".join(f"{count} {function}" for function, count in sorted(outcome.killed.items()))
    console.print(f"{states}; {outcome.executions} executions; {outcome.seconds:.0f} s")
    console.print(f"killed (SIGKILL): {sum(outcome.killed.values())} workers: {killed}")
    for violation in outcome.violations:
        console.print(violation, style="red", markup=False)
    if not outcome.violations:
        console.print("every purchase completed once, and the queues are empty", style="green")
    return 1 if outcome.violations else 0


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.seeded")
    parser.add_argument("what", choices=["faults", "mutants", "kills"])
    parser.add_argument("--seeds", type=int, default=20, help="run the seeds from 1 to this")
    parser.add_argument("--seed", type=int, help="run only this seed")
    parser.add_argument("--orders", type=int, default=50)
    arguments = parser.parse_args()
    if arguments.what == "mutants":
        return mutants(arguments.orders)
    if arguments.what == "kills":
        return kills(arguments.seed or 1, arguments.orders)
    seeds = [arguments.seed] if arguments.seed else list(range(1, arguments.seeds + 1))
    return faults(seeds, arguments.orders)


if __name__ == "__main__":
    sys.exit(main())
