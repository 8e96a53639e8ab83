"""`make mutation`: runs mutmut, prints a table, and compares the survivors with the list in docs/mutation.md.

The exit status is 1 when a survivor is not in the list, or when fewer than 95 % of the mutants were killed.
"""

import argparse
import random
import re
import shutil
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from mutmut import __main__ as mutmut
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.stats import status_by_exit_code
from mutmut.utils.format_utils import get_module_from_key, orig_function_and_class_names_from_key
from rich.console import Console
from rich.table import Table

ACCEPTED = Path("docs/mutation.md")
MIN_KILLED_PERCENT = 95
KILLED = ("killed", "timeout")
"""mutmut's statuses of a mutant that a test noticed. A timeout is a mutant that does not end."""

console = Console(highlight=False)


def generate(processes: int) -> list[str]:
    """Write the mutants of src/ to mutants/, as `mutmut run` does first. Returns their names."""
    shutil.rmtree("mutants", ignore_errors=True)  # mutmut would leave deleted files of an earlier run in it
    Path("mutants").mkdir()
    set_mutant_under_test("mutant_generation")
    mutmut.copy_src_dir()
    mutmut.copy_also_copy_files()
    mutmut.create_mutants(processes)
    return sorted(results())


def results() -> dict[str, tuple[Path, str]]:
    """Each mutant's source file and status, by the mutant's name."""
    rows, _ = mutmut.collect_source_file_mutation_data(mutant_names=())
    return {name: (Path(data.path), status_by_exit_code[exit_code]) for data, name, exit_code in rows}


def described(name: str, path: Path) -> str:
    """One line that says where a mutant is and what it changes. It does not depend on mutmut's numbers."""
    function, class_name = orig_function_and_class_names_from_key(name)
    where = ".".join(filter(None, (get_module_from_key(name), class_name, function)))
    lines = [line for line in get_diff_for_mutant(name, path=path).splitlines()[2:] if line[:1] in "+-"]
    old, new = (" ".join(line[1:].strip() for line in lines if line[0] == sign) for sign in "-+")
    return f"{where}: {old} → {new}"


def accepted() -> Iterator[str]:
    """The survivors that docs/mutation.md lists: the lines of its text blocks."""
    for block in re.findall(r"```text\n(.*?)```", ACCEPTED.read_text(), re.DOTALL):
        yield from block.splitlines()


def table_of(statuses: Mapping[Path, Counter[str]]) -> Table:
    """Killed and survived mutants by source file, and their sum."""
    table = Table("file", "mutants", "killed", "timeout", "survived", "killed, %")
    for path, counts in [*sorted(statuses.items()), (Path("all"), sum(statuses.values(), Counter()))]:
        numbers = (counts.total(), counts["killed"], counts["timeout"], counts.total() - killed(counts))
        table.add_row(str(path), *map(str, numbers), f"{100 * killed(counts) / counts.total():.1f}")
    return table


def killed(counts: Counter[str]) -> int:
    """How many mutants a test noticed."""
    return sum(counts[status] for status in KILLED)


def report(chosen: Iterable[str], *, whole: bool) -> int:
    """Print the table and the survivors. Returns the exit status."""
    found = results()
    statuses: defaultdict[Path, Counter[str]] = defaultdict(Counter)
    for name in chosen:
        path, status = found[name]
        statuses[path][status] += 1
    console.print(table_of(statuses))
    survivors = {described(name, found[name][0]) for name in chosen if found[name][1] not in KILLED}
    listed = set(accepted())
    unlisted = sorted(survivors - listed)
    for survivor in unlisted:
        console.print(f"not in {ACCEPTED}: {survivor}", markup=False, soft_wrap=True)
    if whole:
        for survivor in sorted(listed - survivors):
            console.print(f"in {ACCEPTED}, but no survivor: {survivor}", markup=False, soft_wrap=True)
    counts = sum(statuses.values(), Counter())
    return int(bool(unlisted) or 100 * killed(counts) < MIN_KILLED_PERCENT * counts.total())


def main(arguments: Sequence[str]) -> int:
    """Test every mutant, or a sample of them."""
    parser = argparse.ArgumentParser(prog="make mutation")
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="test only N mutants, chosen at random")
    parser.add_argument("--seed", type=int, default=1, help="the seed of the choice")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args(arguments)
    names = generate(given.processes)
    whole = given.sample == 0
    chosen = names if whole else random.Random(given.seed).sample(names, given.sample)
    console.print(f"{len(chosen)} of {len(names)} mutants" + ("" if whole else f", seed {given.seed}"))
    mutmut._run([] if whole else chosen, given.processes)  # the function behind `mutmut run`
    return report(chosen, whole=whole)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
