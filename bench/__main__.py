"""Runs the benchmarks, prints the table of targets, and writes bench/results/latest.json and the table of
bench/README.md.

    python -m bench --python PATH       PATH is a Python 3.13; `make bench` builds the bundle before

The benchmarks run one after another, and inside each the variants run in turn. bench/README.md explains the rows.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import time
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench import cold_start, costs, ingest, orchestrator, outside_steps, worst_message
from bench.figures import Result, Row
from bench.processes import NAIVE_PEER, NODE_PEER, WORK, Function, node_peer, python_function

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = Path(__file__).parent / "results" / "latest.json"
README: Final = Path(__file__).parent / "README.md"
_HEADING: Final = "## Results"
PACKAGES: Final = ("aws-durable-execution-sdk-python", "boto3", "botocore", "aws-lambda-powertools", "pydantic")


def main() -> None:
    """Run all, print, and write the results. A row that does not hold is no failure of the run."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the pipeline against its targets.")
    parser.add_argument("--python", required=True, help="a Python 3.13, which runs the functions")
    python = parser.parse_args().python
    console, began = Console(width=max(Console().width, 130)), time.monotonic()
    bundle = unpacked(WORK / "bundle" / "code.zip", WORK / "unpacked")
    node = node_peer()
    peers = [peer for peer in (node, naive_peer(python)) if peer]
    console.print("measuring the orchestrator's invocations …")
    results = [orchestrator.measure([python_function(python, bundle, "orchestrator.handler"), *peers])]
    results.append(costs.measure({series.name: series.median for series in results[0].series}))
    console.print("measuring cold starts …")
    plain = cold_start.plain_package(python, WORK / "plain")
    results.append(cold_start.measure(python, bundle, plain, node))
    console.print("measuring ingest …")
    results.append(ingest.measure(python, bundle))
    console.print("measuring the worst messages …")
    results.append(worst_message.measure(console))
    console.print("measuring the time outside steps …")
    results.append(outside_steps.measure())
    rows = [row for result in results for row in result.rows]
    console.print(table(rows))
    console.print(f"{machine()}; {time.monotonic() - began:.0f} seconds")
    write(results, python, node)


def unpacked(archive: Path, folder: Path) -> Path:
    """The bundle as Lambda unpacks it."""
    shutil.rmtree(folder, ignore_errors=True)
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    return folder


def naive_peer(python: str) -> Function | None:
    """The naive peer in its environment, or None if that has another Python."""
    wanted = subprocess.run([python, "-c", "import sys; print(*sys.version_info[:2], sep='.')"],
                            capture_output=True, text=True, check=True).stdout.strip()  # fmt: skip
    packages = ROOT / ".venv-naive" / "lib" / f"python{wanted}" / "site-packages"
    if not packages.exists():
        return None
    return python_function(python, packages, "naive", orchestrator.NAIVE, beside=NAIVE_PEER)


def table(rows: list[Row]) -> Table:
    """The rows for people."""
    found = Table("row", "figure", "value", "target", "holds", "note")
    for row in rows:
        value = "-" if row.value is None else f"{row.value:,.2f}"
        holds = {True: "[green]yes", False: "[red]no", None: "not measured"}[row.holds]
        found.add_row(row.id, row.figure, value, row.target, holds, row.note)
    return found


def machine() -> str:
    """The machine that measured."""
    model = next(
        (line.partition(": ")[2] for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor() or platform.machine(),
    )
    return f"{os.cpu_count()} x {model}, {platform.system()} {platform.machine()}"


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text("utf-8").splitlines() if file.exists() else []


def write(results: list[Result], python: str, node: Function | None) -> None:
    """Write the results with what they depend on."""
    versions: dict[str, Any] = {name: version(name) for name in PACKAGES}
    versions["python"] = _said([python, "--version"])
    if node is not None:
        versions["node"] = _said([node.command[0], "--version"])
        versions |= json.loads((NODE_PEER / "package.json").read_text("utf-8"))["dependencies"]
    rows = [asdict(row) for result in results for row in result.rows]
    data = {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "load": os.getloadavg(),
        "versions": versions,
        "rows": rows_with(rows),
        "series": [asdict(series) for result in results for series in result.series],
    }
    publish(data)


def rows_with(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the results, with these in the place of those that have the same ids."""
    measured = {row["id"] for row in rows}
    before = json.loads(RESULTS.read_text("utf-8"))["rows"]
    return [*(row for row in before if row["id"] not in measured), *rows]


def publish(data: Mapping[str, Any]) -> None:
    """Write the results, and their table to bench/README.md."""
    RESULTS.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", "utf-8")
    before = README.read_text("utf-8").partition(_HEADING)[0]
    README.write_text(f"{before}{_HEADING}\n\n{markdown(data)}", "utf-8")


def markdown(data: Mapping[str, Any]) -> str:
    """The rows for bench/README.md, with the machine that measured them."""
    measured = f"{data['measured'][:10]} on {data['machine']}, load {data['load'][0]:.0f}"
    lines = [f"Measured {measured}, {data['versions']['python']}."]
    lines += ["", "| row | figure | value | target | holds | |", "|---|---|---|---|---|---|"]
    for row in data["rows"]:
        value = "-" if row["value"] is None else f"{row['value']:,.2f}"
        holds = {True: "yes", False: "**no**", None: "not measured"}[row["holds"]]
        lines.append(f"| {row['id']} | {row['figure']} | {value} | {row['target']} | {holds} | {row['note']} |")
    return "\n".join(lines) + "\n"


def _said(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
