"""Prints what each function imports, by cost, from the bundle that `make bench` unpacked.

    .venv/bin/python -m bench.imports PYTHON        PYTHON is a Python 3.13

The times are those of `python -X importtime`, in milliseconds, with the module's own imports; the median of some runs.
The tool itself makes imports slower. `clients` is the time of the handler's module alone: the clients that it makes.
"""

import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Final

from rich.console import Console
from rich.table import Table

from bench.cold_start import HANDLERS
from bench.fake_aws import Aws

RUNS: Final = 5
SHOWN_MS: Final = 10
BUNDLE: Final = Path(__file__).parents[1] / ".local" / "bench" / "unpacked"
PARTS: Final = ("pydantic", "pydantic_core", "boto3", "botocore", "s3transfer", "aws_lambda_powertools", "urllib3",
                "aws_durable_execution_sdk_python", "shared")  # fmt: skip
"""Packages whose own modules are added up."""


def imports(python: str, handler: str) -> list[tuple[str, int, float, float]]:
    """The imports of a handler: name, depth, milliseconds of its own and with all below; in the order of their ends."""
    environment = {
        "PYTHONPATH": str(BUNDLE),
        "PYTHONDONTWRITEBYTECODE": "1",
        **Aws("http://127.0.0.1:9").environment(),
    }
    command = [python, "-P", "-X", "importtime", "-c", f"import {handler}.handler"]
    lines = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stderr
    found = []
    for line in lines.splitlines():
        if line.startswith("import time:") and "[us]" not in line:
            own, total, name = line.removeprefix("import time:").split("|")
            found.append((name.strip(), (len(name) - len(name.lstrip()) - 1) // 2, int(own) / 1000, int(total) / 1000))
    return found


def main() -> None:
    """Print a tree and a table of packages for each function."""
    python, console = sys.argv[1], Console()
    for handler in HANDLERS:
        runs = [imports(python, handler) for _ in range(RUNS)]
        totals: dict[str, list[float]] = defaultdict(list)
        parts: dict[str, list[float]] = defaultdict(list)
        for run in runs:
            for name, _, _, total in run:
                totals[name].append(total)
            for part in PARTS:
                parts[part].append(sum(own for name, _, own, _ in run if name.partition(".")[0] == part))
            parts["clients"].append(next(own for name, _, own, _ in run if name == f"{handler}.handler"))
        whole = median(totals[f"{handler}.handler"])
        console.print(f"\n[bold]{handler}[/]: {whole:.0f} ms")
        for name, depth, _, _ in reversed(runs[0]):
            if (ms := median(totals[name])) >= SHOWN_MS and totals[name]:
                console.print(f"{'  ' * depth}{name} {ms:.0f}", highlight=False)
        shares = Table("package", "ms", "share")
        for part, own in sorted(parts.items(), key=lambda item: -median(item[1])):
            shares.add_row(part, f"{median(own):.1f}", f"{median(own) / whole:.0%}")
        console.print(shares)


if __name__ == "__main__":
    main()
