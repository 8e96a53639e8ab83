"""The tables that a run prints."""

from collections import Counter
from collections.abc import Sequence

from rich.table import Table

from tests.faults.seeded.catalogue import FAULTS


def faults_table(injected: Counter[str], blamed: Counter[str], least: int) -> Table:
    """Every fault, how often it was in fact injected, and how many violations there are of orders that it befell."""
    table = Table("fault", "what goes wrong", "injected", "violations", title="Faults", title_justify="left")
    for fault, what in FAULTS.items():
        style = "red" if blamed[fault] or injected[fault] < least else None
        table.add_row(fault, what, str(injected[fault]), str(blamed[fault] or "none"), style=style)
    return table


def too_rare(injected: Counter[str], least: int) -> list[str]:
    """The faults that were injected less often than that."""
    return [f"{fault} was injected {injected[fault]} times, not {least}" for fault in FAULTS if injected[fault] < least]


def mutants_table(rows: Sequence[tuple[str, str, str]]) -> Table:
    """Mechanism, the seed that noticed its absence, and by what."""
    table = Table("without", "caught by", "the first violation", title="Mutants", title_justify="left")
    for row in rows:
        table.add_row(*row)
    return table
