"""`orders why`, its decision: the cause for each kind of evidence, and what `docs/why.md` says."""

import re
import shlex
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.ledger.entry import LedgerEntry, Transition
from shared.ledger.states import State
from tests.faults.seeded.catalogue import FAULTS
from tools.operations.why import LATE, Cause, Evidence, Execution, Failure, Logged, decide
from tools.orders_cli.app import app

DOCUMENT = (Path(__file__).parents[2] / "docs" / "why.md").read_text()
NOW = datetime(2026, 2, 8, 20, 58, tzinfo=UTC)
SOON = NOW + timedelta(minutes=1)
RUNNING = Execution("RUNNING", NOW, last_event=NOW)


def entry(state=State.WAITING, **fields):
    known = {"error": None, "conflicts": ()} | fields
    return LedgerEntry(
        order_id="ORDER-1",
        state=state,
        attempt=1,
        version=1,
        execution_arn="arn:1",
        order={"orderId": "ORDER-1"},
        order_digest="",
        history=(Transition(state, "2026-02-08T20:57:00.000Z", 1),),
        updated_at="2026-02-08T20:57:00.000Z",
        starts=1,
        **known,
    )


def failed(error_type, message):
    return entry(State.FAILED, error={"type": error_type, "message": message})


def failing(attempt, error_type, message):
    return replace(RUNNING, failure=Failure("enrich", attempt, error_type, message, SOON))


def log(message, reason=""):
    return (Logged(message, reason),)


CONFLICT = log("message rejected", "ORDER_CONFLICT")

TABLE = {
    "completed": (entry(State.COMPLETED), None, {}, Cause.NOTHING_WRONG),
    "failed for a reason of its own": (failed("EnrichmentRejected", "422"), None, {}, Cause.NOTHING_WRONG),
    "failed, ledger": (failed("LedgerUnavailable", "DynamoDB: InternalServerError"), None, {}, Cause.LEDGER_AWAY),
    "failed, ledger throttled": (
        failed("LedgerUnavailable", "DynamoDB: ThrottlingException"),
        None,
        {},
        Cause.THROTTLED,
    ),
    "failed, enricher": (failed("EnricherUnavailable", "no answer"), None, {}, Cause.ENRICHER_AWAY),
    "failed, execution lost": (failed("ExecutionLost", "deleted"), None, {}, Cause.EXECUTION_GONE),
    "completed, other body rejected": (entry(State.COMPLETED), None, {"logged": CONFLICT}, Cause.CONFLICT),
    "completed, conflict noted": (
        entry(State.COMPLETED, conflicts=({"executionArn": "arn:2", "at": ""},)),
        None,
        {},
        Cause.CONFLICT,
    ),
    "failed, and other body rejected": (
        failed("EnricherUnavailable", "no answer"),
        None,
        {"logged": CONFLICT},
        Cause.ENRICHER_AWAY,
    ),
    "waits": (entry(), replace(RUNNING, waits_until=SOON), {}, Cause.WAITING),
    "waits, other body rejected": (
        entry(),
        replace(RUNNING, waits_until=SOON),
        {"logged": CONFLICT},
        Cause.CONFLICT,
    ),
    "runs": (entry(State.ENRICHING), RUNNING, {}, Cause.NOTHING_WRONG),
    "runs, not in the ledger yet": (None, RUNNING, {}, Cause.NOTHING_WRONG),
    "due for too long": (entry(), replace(RUNNING, waits_until=NOW - LATE * 2), {}, Cause.THROTTLED),
    "last event too long ago": (entry(), replace(RUNNING, last_event=NOW - LATE * 2), {}, Cause.THROTTLED),
    "failed once": (entry(State.ENRICHING), failing(1, "EnricherUnavailable", "5xx"), {}, Cause.RETRYING),
    "enricher failed twice": (entry(), failing(2, "EnricherUnavailable", "5xx"), {}, Cause.ENRICHER_AWAY),
    "enricher throttled twice": (
        entry(),
        failing(2, "EnricherUnavailable", "Lambda: TooManyRequestsException"),
        {},
        Cause.THROTTLED,
    ),
    "ledger failed twice": (None, failing(2, "LedgerUnavailable", "DynamoDB: x"), {}, Cause.LEDGER_AWAY),
    "other failure twice": (entry(), failing(2, "Other", "?"), {}, Cause.RETRYING),
    "paused": (entry(), Execution("PAUSED", NOW, pause_reason="orders:1"), {}, Cause.PAUSED),
    "pausing": (entry(), Execution("PAUSING", NOW), {}, Cause.PAUSED),
    "ended on Lambda": (entry(), Execution("STOPPED", NOW, ended_at=NOW), {}, Cause.RECONCILER_BEHIND),
    "ended on Lambda, item lost": (None, Execution("SUCCEEDED", NOW, ended_at=NOW), {}, Cause.RECONCILER_BEHIND),
    "execution gone": (entry(), None, {}, Cause.EXECUTION_GONE),
    "everything gone": (None, None, {"logged": log("order accepted")}, Cause.EXECUTION_GONE),
    "intake paused": (None, None, {"intake": "Disabled"}, Cause.INTAKE_PAUSED),
    "start throttled": (
        None,
        None,
        {"logged": log("message given back", "StartUnavailable: TooManyRequestsException")},
        Cause.THROTTLED,
    ),
    "start failed": (
        None,
        None,
        {"logged": log("message given back", "StartUnavailable: 503")},
        Cause.RETRYING,
    ),
    "nothing known": (None, None, {}, Cause.NEVER_ARRIVED),
    "ledger not readable": (None, None, {"ledger_error": "DynamoDB: x"}, Cause.LEDGER_AWAY),
}


@pytest.mark.parametrize("case", TABLE)
def test_each_kind_of_evidence_has_its_cause(case):
    item, execution, others, cause = TABLE[case]
    found = decide(Evidence("ORDER-1", NOW, item, execution=execution, **others))
    assert found.cause is cause
    assert all(found.evidence)
    if found.next_command:
        _, *arguments = shlex.split(found.next_command)
        app.parse_args(arguments, exit_on_error=False, print_error=False)  # raises for a wrong one


def test_every_cause_is_decided_in_the_table():
    assert {cause for *_, cause in TABLE.values()} == set(Cause)


def rows(heading):
    section = DOCUMENT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [re.split(r"\s*\|\s*", line.strip("| ")) for line in section.splitlines() if line.startswith("| ")][1:]


def test_the_document_explains_every_cause_and_there_are_at_most_twelve():
    assert [cause for cause, _ in rows("The causes")] == list(Cause)
    assert len(Cause) <= 12


def test_the_document_says_a_cause_for_every_fault():
    found = rows("What it says about each fault")
    assert [fault for fault, *_ in found] == list(FAULTS)
    assert {cause for *_, cause in found} <= set(Cause)
