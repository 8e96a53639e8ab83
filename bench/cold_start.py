"""P3, P4: the time from the start of a process to a handler that is loaded.

P3: each function in our bundle (`make build`) against the same code as plain `sam build` packages it. P4: our
orchestrator against the Node.js peer.

Inside: the start of the interpreter, the imports, and the clients that the handler makes. Outside: Lambda's own part
(the download, its runtime's imports) and the first call. Both packages run on Python 3.13, and nothing is written
beside the code, as on Lambda.

`sam build` installs with pip, which compiles, and `sam deploy` packs a zip whose entries are all of 1980. So on Lambda
no byte code fits the time of its source, and Python compiles all modules again. Here the sources get that time.
"""

import os
import shutil
import subprocess
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.fake_aws import fake_aws
from bench.figures import Result, Row, Series
from bench.processes import Function, python_function, started

ROOT: Final = Path(__file__).parents[1]
RUNS: Final = 7
HANDLERS: Final = ("ingest", "orchestrator", "enricher", "publisher", "reconciler")
_ZIP_TIME: Final = time.mktime((1980, 1, 1, 0, 0, 0, 0, 0, -1))


def plain_package(python: str, folder: Path) -> Path:
    """What `sam build` makes of src/ and its requirements: pip's install with byte code, and the sources."""
    shutil.rmtree(folder, ignore_errors=True)
    install = [
        python,
        "-m",
        "pip",
        "install",
        "-qq",
        "--disable-pip-version-check",
        "--no-deps",
        "--require-hashes",
    ]
    requirements = ROOT / "src" / "requirements.txt"
    subprocess.run([*install, "--only-binary", ":all:", "--target", str(folder), "-r", str(requirements)], check=True)
    shutil.copytree(ROOT / "src", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    for path in folder.rglob("*"):
        os.utime(path, (_ZIP_TIME, _ZIP_TIME))
    return folder


def measure(python: str, bundle: Path, plain: Path, node: Function | None, runs: int = RUNS) -> Result:
    """Start every function of both packages, and the peer, one after another."""
    functions = [
        python_function(python, folder, f"{handler}.handler", f"{handler}, {package}")
        for handler in HANDLERS
        for package, folder in (("bundle", bundle), ("plain", plain))
    ]
    ms: dict[str, list[float]] = defaultdict(list)
    with fake_aws() as aws:
        for _ in range(runs + 1):
            for function in (*functions, *([node] if node else [])):
                with started(function, aws.environment()) as (_, seconds):
                    ms[function.name].append(seconds * 1000)
    # The first run of each reads its files from the disk.
    series = [Series.of(f"cold start, {name}", "ms", values[1:]) for name, values in ms.items()]
    return Result(series, _rows({s.name.removeprefix("cold start, "): s.median for s in series}, node))


def _rows(found: dict[str, float], node: Function | None) -> Sequence[Row]:
    rows = []
    for handler in HANDLERS:
        ours, plain = found[f"{handler}, bundle"], found[f"{handler}, plain"]
        note = f"{ours:.0f} ms against {plain:.0f} ms"
        rows.append(Row.at_most(f"P3 {handler}", "cold start, bundle / plain sam build", ours / plain, 0.6, note=note))
    ours = found["orchestrator, bundle"]
    peer = found[node.name] if node else None
    note = f"{ours:.0f} ms against {peer:.0f} ms" if peer else "no Node.js on this machine"
    return [
        *rows,
        Row.at_most("P4", "cold start of the orchestrator / Node.js peer", peer and ours / peer, 3, note=note),
    ]
