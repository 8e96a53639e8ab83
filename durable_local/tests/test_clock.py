"""A stack with a fast clock: days pass in seconds, with consistent times."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from durable_local import lifecycle, local_stack

FIXTURE = Path(__file__).parent / "fixture" / "template.yaml"
DAY = 86_400


@pytest.fixture(scope="module")
def fast():
    """A day passes in half a second."""
    with local_stack(template=FIXTURE, stack_name="fast", time_scale=2 * DAY) as running:
        yield running


@pytest.fixture
def run(fast, eventually):
    def to_its_end(function, **payload):
        aws_lambda = fast.client("lambda")
        arn = aws_lambda.invoke(
            FunctionName=fast.outputs[function], InvocationType="Event", Payload=json.dumps(payload).encode()
        )["DurableExecutionArn"]

        def ended():
            execution = aws_lambda.get_durable_execution(DurableExecutionArn=arn)
            return execution if execution["Status"] != "RUNNING" else None

        return eventually(ended)

    return to_its_end


def test_a_wait_of_two_days_takes_seconds(fast, run):
    began = time.monotonic()
    execution = run("Long", wait=2 * DAY)
    assert time.monotonic() - began < 10
    assert execution["Status"] == "SUCCEEDED"
    assert execution["EndTimestamp"] - execution["StartTimestamp"] >= timedelta(days=2)
    events = fast.client("lambda").get_durable_execution_history(
        DurableExecutionArn=execution["DurableExecutionArn"], IncludeExecutionData=True
    )["Events"]
    times = {event["EventType"]: event for event in events}
    wait = times["WaitStarted"]["WaitStartedDetails"]
    assert wait["ScheduledEndTimestamp"] - times["WaitStarted"]["EventTimestamp"] == timedelta(days=2)
    assert times["WaitSucceeded"]["EventTimestamp"] >= wait["ScheduledEndTimestamp"]
    stamps = [event["EventTimestamp"] for event in events]
    assert stamps == sorted(stamps)


def test_the_stack_says_the_time_on_its_clock(fast, run):
    ended = run("Durable")["EndTimestamp"]
    assert ended <= lifecycle.now(fast.settings)
    assert lifecycle.now(fast.settings) > datetime.now(UTC) + timedelta(days=1)


def test_the_execution_timeout_is_on_the_same_clock(run):
    execution = run("Long", wait=30 * DAY)
    assert execution["Status"] == "TIMED_OUT"
    assert execution["EndTimestamp"] - execution["StartTimestamp"] >= timedelta(days=7)


def test_a_handlers_work_does_not_use_its_execution_timeout(run):
    """Its timeout of two minutes is less than a millisecond of real time here."""
    assert run("Durable")["Status"] == "SUCCEEDED"
