"""Code that is unsafe in a replay does not pass `make check`: faults are added to a copy of workflow.py."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / "src" / "orchestrator" / "workflow.py"


def run(module, *arguments, text=None):
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=ROOT, input=text, capture_output=True, text=True, check=False).stdout


# ── clock, randomness, environment, I/O: ruff ─────────────────────────────────────────────────────

UNSAFE_IN_A_REPLAY = {
    "import time": "the clock",
    "from time import monotonic": "the clock",
    "from shared.aws.clock import utc_now": "the clock",
    "datetime.now(UTC)": "the clock",
    "datetime.today()": "the clock",
    "datetime.utcnow()": "the clock",
    "date.today()": "the clock",
    "import random": "randomness",
    "from uuid import uuid4": "randomness",
    "import secrets": "randomness",
    "import os": "the environment",
    "from os import environ": "the environment",
    "import platform": "the environment",
    "import boto3": "I/O",
    "import requests": "I/O",
    "import urllib.request": "I/O",
    "import socket": "I/O",
    "from pathlib import Path": "I/O",
    "open('order')": "PTH123",
    "print('order')": "T201",
}


def ruff(path):
    """Return ruff's findings for the lines above in a file of this path, by line."""
    text = "\n".join(["from datetime import UTC, date, datetime", *UNSAFE_IN_A_REPLAY, ""])
    found = {}
    for line in run(
        "ruff", "check", "--output-format=concise", f"--stdin-filename={path}", "-", text=text
    ).splitlines():
        if line.startswith(path):
            _, number, _, finding = line.split(":", 3)
            found.setdefault(text.splitlines()[int(number) - 1], []).append(finding)
    return found


@pytest.mark.parametrize("module", ["workflow", "result"])
def test_ruff_refuses_clock_randomness_environment_and_io(module):
    found = ruff(f"src/orchestrator/{module}.py")
    for line, reason in UNSAFE_IN_A_REPLAY.items():
        assert any(reason in finding for finding in found[line]), line


def test_ruff_allows_them_where_nothing_is_replayed():
    findings = [finding for findings in ruff("src/orchestrator/handler.py").values() for finding in findings]
    assert findings
    assert not any("TID251" in finding or "T201" in finding for finding in findings)


# ── a step without a name or a policy: mypy ───────────────────────────────────────────────────────

SAFE = """

def added(context: DurableContext, order: Order) -> None:
    step(context, "enrich", policies.enrich, lambda: order.order_id)
"""
UNSAFE = {
    "no name": 'step(context, policies.enrich, lambda: "")',
    "no policy": 'step(context, "enrich", lambda: "")',
    "no policy but None": 'step(context, "enrich", None, lambda: "")',
    "an unknown name": 'step(context, "greet", policies.enrich, lambda: "")',
    "an empty name": 'step(context, "", policies.enrich, lambda: "")',
    "a name made at run time": 'step(context, f"{order.order_id}", policies.enrich, lambda: "")',
}


def mypy(text, folder):
    copy = folder / "workflow.py"
    copy.write_text(text)
    return run("mypy", "--shadow-file", str(WORKFLOW), str(copy), "-m", "orchestrator.workflow")


def test_mypy_refuses_a_step_without_a_constant_name_or_a_policy(tmp_path):
    text = WORKFLOW.read_text() + SAFE
    first = text.count("\n") + 1
    found = mypy(text + "".join(f"    {call}\n" for call in UNSAFE.values()), tmp_path)
    lines = {int(line.split(":")[1]) for line in found.splitlines() if ": error: " in line}
    assert lines == set(range(first, first + len(UNSAFE))), found


# ── what neither of them sees ─────────────────────────────────────────────────────────────────────


def unsafe_uses(text):
    """Return the builtins that differ between processes, and `.step`: the SDK's own needs no name and no policy."""
    nodes = list(ast.walk(ast.parse(text)))
    builtins = {node.id for node in nodes if isinstance(node, ast.Name)} & {"hash", "id", "input"}
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)} & {"step"}
    return builtins | attributes


def test_the_workflow_uses_no_unsafe_builtin_and_makes_steps_only_by_our_function():
    assert unsafe_uses(WORKFLOW.read_text()) == set()


@pytest.mark.parametrize("line", ["hash('order')", "id(order)", "input()", "context.step(lambda _: None)"])
def test_an_unsafe_builtin_or_a_step_of_the_sdk_is_found(line):
    assert len(unsafe_uses(line)) == 1
