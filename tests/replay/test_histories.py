"""Orders in flight when the workflow changes: recorded executions are resumed on the current code, to their end.

A replay matches operations by their position. If the current workflow has another operation there, the SDK fails the
execution with `NonDeterministicExecutionError`. It does not report a missing or an additional operation.
"""

import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest
from aws_durable_execution_sdk_python.identifier import OperationIdentifier

from tests.replay.history import histories
from tests.replay.record import deployable

HISTORIES = histories()
COMPLETED, FAILED = HISTORIES["completed"], HISTORIES["failed"]
WORKFLOW = Path(__file__).parents[2] / "src" / "orchestrator" / "workflow.py"

ADVICE = """
Lambda finishes an execution on the version that started it, so a deployment does not run this code for executions in
flight. An execution that was started on $LATEST does run it, and fails as shown above. So:
  - keep the name, type and position of each recorded operation, and add new operations after the last one;
  - or publish the change as a new version, as each deployment here does, keep the old version until its last execution
    has ended, and start nothing on $LATEST;
  - then record the histories again with `make record`, and review what changed in them."""


def differences(replay, history):
    """Yield one line for each invocation of the history from which the execution ends in another way."""
    for invocation in history.invocations:
        if difference := replay.difference(history, invocation):
            yield f"{history.name}, resumed when it had checkpointed [{invocation}]: {difference}"


@pytest.mark.parametrize("name", HISTORIES)
def test_an_execution_in_flight_ends_as_recorded(replay, name):
    if found := list(differences(replay, HISTORIES[name])):
        pytest.fail("\n".join([*found, ADVICE]), pytrace=False)


def test_the_histories_contain_every_point_where_an_order_can_resume():
    resumed_at = {
        (operation["Name"], operation["Status"])
        for history in HISTORIES.values()
        for invocation in history.invocations
        for operation in invocation.operations[-1:]
    }
    # A step is READY when its retry is due.
    steps = {(name, status) for name in ("enrich", "finalize", "record-failure") for status in ("STARTED", "SUCCEEDED")}
    retries = {(name, "READY") for name in ("enrich", "finalize", "record-failure")}
    failures = {("enrich", "FAILED"), ("finalize", "FAILED")}
    assert resumed_at >= steps | retries | failures | {("wait", "STARTED"), ("wait", "SUCCEEDED")}


def test_each_history_ends_with_every_operation_checkpointed():
    for history in HISTORIES.values():
        assert {operation["Status"] for operation in history.end.operations} <= {"SUCCEEDED", "FAILED"}


def test_each_recorded_operation_has_a_name_of_its_own():
    for history in HISTORIES.values():
        names = [operation.get("Name") for operation in history.end.operations]
        assert all(names)
        assert len(set(names)) == len(names)


# ── a changed workflow ────────────────────────────────────────────────────────────────────────────

ENRICH = """\
        enriched = step(context, "enrich", policies.enrich, lambda: steps.enrich(order, me, ledger, enricher, log))
"""
WAIT = """\
            context.wait(wait_that_fits(pipeline), name="wait")
"""
UNCONDITIONAL_WAIT = WAIT.removeprefix("    ")
PAUSE = 'context.wait(wait_that_fits(pipeline), name="pause")'
FINALIZE = """\
        finalization = step(context, "finalize", policies.write_ledger, lambda: steps.finalize(me, ledger))
"""
RECORD_FAILURE = """\
            record_failure(context, me, ledger, failure)
"""
GREET = """\
        step(context, "greet", policies.write_ledger, lambda: None)
"""

NEW_CODE = """\
ledger = pipeline.ledger
    enricher = pipeline.enricher
    order_id = order.order_id
"""

CHANGES = {
    "a step with another name": [(', "enrich"', ', "look-up"')],
    "the last step with another name": [(', "finalize"', ', "complete"')],
    "a wait with another name": [('name="wait"', 'name="pause"')],
    "a wait that is skipped": [(WAIT, "")],
    "a step that is gone": [(RECORD_FAILURE, "            pass\n")],
    "the last step without a checkpoint": [(FINALIZE, "        finalization = steps.finalize(me, ledger)\n")],
    "a call outside the steps": [(WAIT, "            enricher.enrich(order, 1)\n" + WAIT)],
    "a request outside the steps that changes nothing": [(FINALIZE, FINALIZE + "        ledger.finalizing(me)\n")],
    "a step that changes a variable outside it": [
        ("ledger, enricher = pipeline", "seen = []\n    ledger, enricher = pipeline"),
        ("lambda: steps.enrich(", "lambda: seen.append(1) or steps.enrich("),
        (WAIT, f"            if seen:\n    {WAIT}"),
    ],
    "a wait inside a step": [
        (FINALIZE, FINALIZE.replace("lambda: ", f"lambda: {PAUSE} or ")),
    ],
    "a step before the first": [(ENRICH, GREET + ENRICH)],
    "a step before the wait": [(WAIT, f"    {GREET}{WAIT}")],
    "a step after the wait": [(WAIT, WAIT + GREET)],
    "a step after the last": [(FINALIZE, FINALIZE + GREET)],
    "a wait before the first step": [(WAIT, ""), (ENRICH, UNCONDITIONAL_WAIT + ENRICH)],
    "a wait after the last step": [(WAIT, ""), (FINALIZE, FINALIZE + UNCONDITIONAL_WAIT)],
    "a step in the place of the wait": [(WAIT, "    " + GREET.replace("greet", "wait"))],
    "a step in a context of its own": [
        (FINALIZE, FINALIZE.replace("step(context, ", "context.run_in_child_context(")),
        ('"finalize", policies.write_ledger, lambda: steps', "name='finalize', func=lambda _: steps"),
    ],
}


@pytest.fixture
def change(monkeypatch):
    """Replaces the workflow by a copy with other text."""

    def changed(replacements):
        text = WORKFLOW.read_text()
        for before, after in replacements:
            assert text.count(before) == 1, f"workflow.py has changed: {before}"
            text = text.replace(before, after)
        module = types.ModuleType("changed_workflow")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(compile(text, str(WORKFLOW), "exec"), module.__dict__)
        monkeypatch.setattr("orchestrator.workflow.process_order", module.process_order)

    return changed


def first_difference(replay):
    """Return the first difference of an order that completes and one that fails. Together they run every operation."""
    in_flight = [replace(history, invocations=history.invocations[1:]) for history in (COMPLETED, FAILED)]
    return next((found for history in in_flight for found in differences(replay, history)), None)


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_that_breaks_a_replay_is_caught(replay, change, name):
    change(CHANGES[name])
    assert first_difference(replay)


def test_the_sdk_refuses_a_skipped_wait_once_the_wait_has_started(replay, change):
    change(CHANGES["a wait that is skipped"])
    for invocation in COMPLETED.invocations:
        difference = replay.difference(COMPLETED, invocation)
        refused = difference.startswith("the SDK refuses it: Non-deterministic operation identity")
        assert refused == ("wait" in str(invocation)), difference


def test_a_skipped_wait_is_caught_without_the_sdks_check(replay, change, monkeypatch):
    """An earlier SDK used the checkpoint at the position as it was: here the wait's, None, as the step's result."""
    monkeypatch.setattr(OperationIdentifier, "validate_checkpoint", lambda *_: None)
    change(CHANGES["a wait that is skipped"])
    over = next(one for one in COMPLETED.invocations if str(one) == "enrich SUCCEEDED, wait SUCCEEDED")
    assert replay.difference(COMPLETED, over)


@pytest.mark.parametrize("resumed_after", ["nothing", "enrich SUCCEEDED"])
def test_a_renamed_step_is_reported_with_its_old_and_new_name(replay, change, resumed_after):
    change(CHANGES["a step with another name"])
    found = [line for line in differences(replay, COMPLETED) if f"[{resumed_after}]" in line]
    assert "enrich" in found[0].partition("]")[2]
    assert "look-up" in found[0].partition("]")[2]


def test_a_change_that_moves_no_operation_is_accepted(replay, change):
    change(
        [
            ('"order enriched, waiting"', '"enriched"'),
            ("ledger, enricher = pipeline.ledger, pipeline.enricher", NEW_CODE),
        ]
    )
    assert first_difference(replay) is None


def test_the_recorder_fits_the_template(tmp_path):
    template, recordings = deployable(tmp_path)
    assert template.read_text().count("Handler: recording.handler") == 1
    assert str(recordings) in template.read_text()
    assert (tmp_path / "src" / "recording.py").exists()
