"""The tables that the commands print."""

from collections import Counter
from collections.abc import Sequence

from rich.table import Table

from tests.faults.seeded.catalogue import FAULTS


def faults_table(injected: Counter[str], blamed: Counter[str], least: int) -> Table:
    """Each fault, how often it was injected, and how many violations name an order with that fault."""
    table = Table("fault", "what goes wrong", "injected", "violations", title="Faults", title_justify="left")
    for fault, what in FAULTS.items():
        style = "red" if blamed[fault] or injected[fault] < least else None
        table.add_row(fault, what, str(injected[fault]), str(blamed[fault] or "none"), style=style)
    return table


def too_rare(injected: Counter[str], least: int) -> list[str]:
    """A sentence for each fault that was injected less than `least` times."""
    return [f"{fault} was injected {injected[fault]} times, not {least}" for fault in FAULTS if injected[fault] < least]


def mutants_table(rows: Sequence[tuple[str, str, str]]) -> Table:
    """Each mechanism, the seed that detected that it was missing, and the violation."""
    table = Table("without", "detected by", "the first violation", title="Mutants", title_justify="left")
    for row in rows:
        table.add_row(*row)
    return table
