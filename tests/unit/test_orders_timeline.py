"""The time line of an order, from a ledger entry and from Lambda's events as botocore parses them."""

import json
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from aws_durable_execution_sdk_python.serdes import EXTENDED_TYPES_SERDES
from botocore.stub import Stubber

from shared.ledger.entry import LedgerEntry, Transition
from shared.ledger.states import State
from tools.operations.timeline import Difference, compared, timeline

FIRST, SECOND = (
    f"arn:aws:lambda:us-east-1:123456789012:function:orders:1/durable-execution/name-{n}/id" for n in (1, 2)
)
START = datetime(2026, 1, 1, tzinfo=UTC)


def event(second, kind, **more):
    return {"EventType": kind, "EventId": second + 1, "EventTimestamp": START + timedelta(seconds=second), **more}


def test_attempts_are_merged_in_time_with_retries_replays_and_an_execution_that_is_gone():
    entry = LedgerEntry(
        order_id="A",
        state=State.RECEIVED,
        attempt=2,
        version=3,
        execution_arn=SECOND,
        order={},
        order_digest="",
        history=(
            Transition(State.RECEIVED, "2026-01-01T00:00:00.500Z", 1, None, FIRST),
            Transition(State.FAILED, "2026-01-01T00:00:06.000Z", 1, "EnricherUnavailable: no answer"),
            Transition(State.RECEIVED, "2026-01-01T00:00:09.000Z", 2, "retried, corrected: items", SECOND),
        ),
        updated_at="2026-01-01T00:00:09.000Z",
        starts=1,
    )
    error = {"Payload": {"ErrorType": "EnricherUnavailable", "ErrorMessage": "no answer"}}
    failed = {"Error": error, "RetryDetails": {"CurrentAttempt": 1, "NextAttemptDelaySeconds": 4}}
    invocation = {"StartTimestamp": START, "EndTimestamp": START, "RequestId": "r"}
    client = boto3.client("lambda", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    with Stubber(client) as stubber:
        page = {
            "Events": [event(0, "ExecutionStarted"), event(1, "StepFailed", Name="enrich", StepFailedDetails=failed)]
        }
        stubber.add_response("get_durable_execution_history", {**page, "NextMarker": "more"})
        ended = [event(second, "InvocationCompleted", InvocationCompletedDetails=invocation) for second in (2, 5)]
        stubber.add_response("get_durable_execution_history", {"Events": ended})
        stubber.add_client_error("get_durable_execution_history", "ResourceNotFoundException")
        moments, attempts = timeline(entry, client)
    assert [(moment.attempt, moment.source, moment.what) for moment in moments] == [
        (1, "lambda", "ExecutionStarted"),
        (1, "ledger", "RECEIVED"),
        (1, "lambda", "enrich StepFailed"),
        (1, "lambda", "invocation 1"),
        (1, "lambda", "invocation 2 (replay)"),
        (1, "ledger", "FAILED"),
        (2, "ledger", "RECEIVED"),
    ]
    assert moments[2].detail == "EnricherUnavailable: no answer; try 1, next in 4 s"
    first, second = attempts
    assert (first.state, first.retries, first.invocations, first.events) == ("FAILED", 1, 2, True)
    assert (second.state, second.events, second.began) == ("RECEIVED", False, "retried, corrected: items")


# ── attempts side by side ───────────────────────────────────────────────────────────────────────────


def attempts_of(first, second, versions=("1", "2"), ends=((State.FAILED, "A: away"), (State.COMPLETED, None))):
    """Two attempts of six and three seconds, and the results of their enrich steps."""
    owners = [
        f"arn:aws:lambda:us-east-1:123456789012:function:orders:{version}/durable-execution/name-{n}/id"
        for n, version in enumerate(versions)
    ]
    history = []
    for attempt, (owner, (state, detail), start, end) in enumerate(zip(owners, ends, (0, 10), (6, 13), strict=True), 1):
        history += [
            Transition(State.RECEIVED, f"2026-01-01T00:00:{start:02}.000Z", attempt, None, owner),
            Transition(state, f"2026-01-01T00:00:{end:02}.000Z", attempt, detail),
        ]
    entry = LedgerEntry("A", State.COMPLETED, 2, 4, owners[-1], {}, "", tuple(history), history[-1].at, 1)
    client = boto3.client("lambda", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    with Stubber(client) as stubber:
        for result in (first, second):
            enriched = event(
                1, "StepSucceeded", Name="enrich", StepSucceededDetails={"Result": result, "RetryDetails": {}}
            )
            stubber.add_response("get_durable_execution_history", {"Events": [enriched]})
        return timeline(entry, client)[1]


TYPED = {"Payload": EXTENDED_TYPES_SERDES.serialize({"enrichment": {"tier": "gold"}}), "Truncated": False}
"""The result of a step of an earlier version of the orchestrator."""


def enriched(**enrichment):
    """The step's result as Lambda stores it."""
    return {"Payload": json.dumps({"enrichment": enrichment}), "Truncated": False}


def test_two_attempts_differ_in_the_error_the_time_the_version_and_fields_of_the_enrichment():
    first, second = enriched(tier="gold", total="1"), enriched(tier="silver", total="1", region="EU")
    found = compared(attempts_of(first, second))
    assert found == [
        Difference(2, "state", "FAILED", "COMPLETED"),
        Difference(2, "error", "A: away", None),
        Difference(2, "seconds", 6.0, 3.0),
        Difference(2, "function_version", "1", "2"),
        Difference(2, "enrichment.region", None, None),
        Difference(2, "enrichment.tier", None, None),
    ]


def test_what_is_the_same_in_two_attempts_is_no_difference():
    same = [(State.FAILED, "A: away")] * 2
    found = compared(attempts_of(enriched(tier="gold"), enriched(tier="gold"), ("7", "7"), same))
    assert [one.field for one in found] == ["seconds"]


@pytest.mark.parametrize("unknown", [{"Truncated": True}, {"Payload": '{"enrich', "Truncated": True}, TYPED])
def test_an_enrichment_that_lambda_left_out_is_not_compared(unknown):
    assert not [one for one in compared(attempts_of(enriched(tier="gold"), unknown)) if "enrichment" in one.field]


def test_an_attempt_that_runs_has_no_duration_and_no_error():
    running = ((State.FAILED, "A: away"), (State.ENRICHING, None))
    last = attempts_of(enriched(), enriched(), ends=running)[-1]
    assert (last.seconds, last.error) == (None, None)
