"""Runs the benchmarks that take long, P11 and P12, prints their rows and adds them to the results.

python -m bench.slow [--orders 200 2000 2000] [--commands up demo fast test]
"""

import argparse
import json
import os
from dataclasses import asdict

from rich.console import Console

from bench import commands, local_stack
from bench.__main__ import RESULTS, publish, rows_with, table
from bench.figures import Row


def main() -> None:
    """A row that does not hold is no failure of the run."""
    parser = argparse.ArgumentParser(prog="python -m bench.slow", description="Measure what takes long.")
    parser.add_argument("--orders", type=int, nargs="*", default=[200, 2000, 2000], help="none: not the local stack")
    parser.add_argument("--commands", nargs="*", choices=commands.MAX_SECONDS, default=list(commands.MAX_SECONDS))
    given = parser.parse_args()
    console = Console(width=max(Console().width, 120))
    rows = list(local_stack.measure(console, given.orders).rows) if given.orders else []
    rows += commands.measure(given.commands)
    console.print(table(rows))
    console.print(f"load of the machine: {os.getloadavg()[0]:.1f}")
    add(rows)


def add(rows: list[Row]) -> None:
    """Adds the rows to the results, in the place of those with the same ids."""
    results = json.loads(RESULTS.read_text("utf-8"))
    publish({**results, "rows": rows_with([asdict(row) for row in rows])})


if __name__ == "__main__":
    main()
