"""Applies the recipes of docs/extending.md to a copy of the project."""

import re
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from tests.workflow.durable import COMPLETED, ORDER, answer

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "extending.md").read_text()

# For each recipe, a test of the changed project.
PROOFS = {
    "add-a-step": """
def test_the_new_step_runs_between_enrich_and_the_wait(pipeline):
    result = pipeline.run(ORDER)
    answer(result)
    assert [op.name for op in result.operations] == ["enrich", "greet", "wait", "finalize"]
    assert "Thank you for order ORDER-123" in result.get_step("greet").result
""",
    "change-a-policy": """
def test_the_enricher_is_now_called_five_times(pipeline):
    pipeline.enricher.answers = iter([{"errorType": "Boom"}] * 4)
    answer(pipeline.run(ORDER))
    assert pipeline.enricher.calls == 5
""",
    "add-a-field": """
def test_an_order_without_the_new_field_is_the_order_it_was(pipeline):
    from shared.orders.order import parse_order
    assert parse_order('{"orderId": "A"}').canonical_bytes() == b'{"orderId":"A"}'
    assert parse_order('{"orderId": "A", "gift": true}').canonical()["gift"] is True
""",
}


def recipe(name):
    return re.findall(rf"<!-- recipe: {name} -->\n```diff\n(.*?)```", GUIDE, re.DOTALL)


def apply(change, folder):
    """Apply a diff without line numbers: the next edit of the file would make them wrong."""
    header, *hunks = change.split("@@\n")
    path = folder / re.search(r"^\+\+\+ b/(\S+)", header, re.MULTILINE)[1]
    text = path.read_text()
    for hunk in hunks:
        lines = hunk.splitlines(keepends=True)
        before = "".join(line[1:] or "\n" for line in lines if not line.startswith("+"))
        after = "".join(line[1:] or "\n" for line in lines if not line.startswith("-"))
        assert text.count(before) == 1, f"{path.name} has changed: {before}"
        text = text.replace(before, after)
    path.write_text(text)


def test_every_recipe_of_the_guide_has_a_test():
    assert set(re.findall(r"<!-- recipe: (\S+) -->", GUIDE)) == set(PROOFS)


@pytest.mark.parametrize("name", PROOFS)
def test_each_recipe_has_the_result_that_the_guide_states(tmp_path, name):
    for part in (
        "src",
        "tests/workflow",
        "tests/conftest.py",
        "tests/moto_speed.py",
        "pyproject.toml",
        "template.yaml",
    ):
        source, target = ROOT / part, tmp_path / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "test_*"))
        else:
            shutil.copy(source, target)
    for change in recipe(name):
        apply(change, tmp_path)
    proof = f"from tests.workflow.durable import ORDER, answer\n{PROOFS[name]}"
    (tmp_path / "tests" / "workflow" / "test_proof.py").write_text(proof)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/workflow/test_proof.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_orders_complete_with_the_waits_of_the_guide(pipeline, template):
    deployments = re.findall(r"sam deploy --parameter-overrides (.*)", GUIDE)
    assert len(deployments) == 2
    for number, deployment in enumerate(deployments):
        chosen = dict(setting.split("=") for setting in deployment.split())
        defaults = {name: str(parameter["Default"]) for name, parameter in template["Parameters"].items()}
        for name, value in chosen.items():
            parameter = template["Parameters"][name]
            assert parameter["MinValue"] <= int(value) <= parameter["MaxValue"]
        settings = defaults | chosen
        wait, timeout = int(settings["WaitSeconds"]), int(settings["ExecutionTimeoutSeconds"])
        pipeline.set(wait=timedelta(seconds=wait), execution_timeout=timedelta(seconds=timeout))
        order = ORDER | {"orderId": f"WAIT-{number}"}
        answer(pipeline.run(order, execution_timeout=timeout))
        assert pipeline.states(order["orderId"]) == COMPLETED
