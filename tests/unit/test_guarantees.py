"""Each promise in docs/guarantees.md names tests that exist and always run."""

import ast
import re
from pathlib import Path

import pytest

from tests.faults.seeded.catalogue import FAULTS

ROOT = Path(__file__).parents[2]
PROOF = re.compile(r"\[(test_\w+)\]\(\.\./(tests/[\w/]+\.py)\)")


def rows():
    """(first cell, whole line) of each row of the document's tables, without the head rows."""
    lines = (ROOT / "docs" / "guarantees.md").read_text().splitlines()
    heads = {number - 1 for number, line in enumerate(lines) if line.startswith("|---")}
    return [
        (line.split("|")[1].strip(), line)
        for number, line in enumerate(lines)
        if line.startswith("| ") and number not in heads
    ]


def names_in(module):
    """The names of a module's tests that always run: those without skip or xfail."""
    return {
        node.name
        for node in ast.parse((ROOT / module).read_text()).body
        if isinstance(node, ast.FunctionDef)
        and not any(mark in ast.unparse(decorator) for decorator in node.decorator_list for mark in ("skip", "xfail"))
    }


@pytest.mark.parametrize(("promise", "row"), rows(), ids=[promise[:40] for promise, _ in rows()])
def test_every_promise_names_tests_that_exist_and_run(promise, row):
    proofs = PROOF.findall(row)
    assert proofs, f"no proof of: {promise}"
    for name, module in proofs:
        assert name in names_in(module), f"{module} has no test {name} that always runs"


def test_the_faults_with_a_row_are_those_that_the_seeded_runs_inject():
    assert {promise for promise, _ in rows() if re.fullmatch(r"F\d+", promise)} == FAULTS.keys()
