"""CI runs the project's own commands, and no action that someone can change under its name."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = {path.name: yaml.safe_load(path.read_text()) for path in (ROOT / ".github" / "workflows").glob("*.yml")}
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
STEPS = [step for workflow in WORKFLOWS.values() for job in workflow["jobs"].values() for step in job["steps"]]


def test_every_action_is_pinned_by_its_commit_with_the_release_beside_it():
    lines = re.findall(r"uses: (.*)", "".join(path.read_text() for path in (ROOT / ".github").rglob("*.yml")))
    assert len(lines) == len([step for step in STEPS if "uses" in step]) > 0
    for line in lines:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", line), line


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_may_only_read_and_only_the_deployment_gets_a_token(name):
    workflow = WORKFLOWS[name]
    assert workflow["permissions"] == {"contents": "read"}
    more = {job: found["permissions"] for job, found in workflow["jobs"].items() if "permissions" in found}
    assert more == ({"deploy": {"contents": "read", "id-token": "write"}} if name == "deploy.yml" else {})


def test_the_deployment_is_off_until_a_role_is_configured():
    deployment = WORKFLOWS["deploy.yml"]
    # YAML 1.1 reads `on` as true.
    assert set(deployment[True]) == {"workflow_dispatch"}
    assert deployment["jobs"]["deploy"]["if"] == "vars.DEPLOY_ROLE_ARN != ''"


def test_ci_runs_every_gate_and_names_only_commands_that_exist():
    commands = [step["run"] for step in STEPS if "run" in step]
    named = {word for command in commands for word in re.findall(r"\bmake ([a-z]+)", command)}
    assert {"check", "fast", "build", "audit"} <= named <= TARGETS
    assert "bash .ci/run" in commands


def test_the_hooks_call_make():
    [local] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local"
    entries = [hook["entry"].split() for hook in local["hooks"]]
    assert all(command == "make" and target in TARGETS for command, target in entries)
