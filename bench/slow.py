"""Runs the benchmarks that take long, P11 and P12, prints their rows and adds them to bench/results/latest.json.

python -m bench.slow [--orders 200 2000 2000] [--commands up demo fast test]
"""

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench import commands, local_stack
from bench.figures import Row

RESULTS: Final = Path(__file__).parent / "results" / "latest.json"


def main() -> None:
    """A row that does not hold is no failure of the run."""
    parser = argparse.ArgumentParser(prog="python -m bench.slow", description="Measure what takes long.")
    parser.add_argument("--orders", type=int, nargs="*", default=[200, 2000, 2000], help="none: not the local stack")
    parser.add_argument("--commands", nargs="*", choices=commands.MAX_SECONDS, default=list(commands.MAX_SECONDS))
    given = parser.parse_args()
    console = Console(width=max(Console().width, 120))
    rows = list(local_stack.measure(console, given.orders).rows) if given.orders else []
    rows += commands.measure(given.commands)
    found = Table("row", "figure", "value", "target", "holds", "note")
    for row in rows:
        value = "-" if row.value is None else f"{row.value:,.1f}"
        found.add_row(row.id, row.figure, value, row.target, {True: "yes", False: "no", None: "-"}[row.holds], row.note)
    console.print(found)
    console.print(f"load of the machine: {os.getloadavg()[0]:.1f}")
    add(rows)


def add(rows: list[Row]) -> None:
    """Replaces the rows with these ids in the results."""
    results: dict[str, Any] = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {"rows": []}
    ids = {row.id for row in rows}
    results["rows"] = [row for row in results["rows"] if row["id"] not in ids] + [asdict(row) for row in rows]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
