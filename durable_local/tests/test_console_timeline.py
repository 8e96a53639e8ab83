"""A history as bars to scale, and how durations look."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from durable_local.console.display import duration, moment, pretty, status
from durable_local.console.problem import problem_of
from durable_local.console.timeline import MIN_WIDTH, WIDTH, timeline

START = datetime(2026, 11, 26, 12, tzinfo=UTC)


def at(seconds):
    return START + timedelta(seconds=seconds)


def event(kind, seconds, operation="op", name="work", **details):
    subject_details = {f"{kind}Details": details}
    return {"EventType": kind, "EventTimestamp": at(seconds), "Id": operation, "Name": name, **subject_details}


def started(seconds=0):
    return event("ExecutionStarted", seconds, "execution", "order", Input={"Payload": "{}"})


def rows(events, now=100):
    line = timeline(events, at(now))
    return line, {row.name: row for row in line.rows}


def test_a_wait_says_when_it_resumes_and_its_future_is_on_the_axis():
    line, found = rows([started(), event("WaitStarted", 10, Duration=100_800, ScheduledEndTimestamp=at(100_810))], 10)
    assert found["work"].note == "resumes in 1 d 4 h"
    assert line.end == at(100_810)
    assert line.x(line.now) == pytest.approx(0.1, abs=0.05)
    assert line.place(found["work"].bars[0]) == (0.1, WIDTH - 0.1)


def test_attempts_and_the_time_between_them_are_bars_of_one_row():
    error = {"Payload": {"ErrorType": "Busy", "ErrorMessage": "later"}}
    line, found = rows(
        [
            started(),
            event("StepStarted", 0),
            event("StepFailed", 10, Error=error, RetryDetails={"CurrentAttempt": 1, "NextAttemptDelaySeconds": 40}),
            event("StepStarted", 50),
            event("StepSucceeded", 60, Result={"Payload": '"ok"'}, RetryDetails={"CurrentAttempt": 2}),
            event("ExecutionSucceeded", 100, "execution", "order", Result={"Payload": "1"}),
        ]
    )
    row = found["work"]
    assert [(bar.kind, *line.place(bar), bar.is_failure) for bar in row.bars] == [
        ("attempt", 0, 100, True),
        ("retry", 100, 400, False),
        ("attempt", 500, 100, False),
    ]
    assert (row.status, row.attempts, row.output, row.bars[0].text) == ("SUCCEEDED", 2, '"ok"', "later")


def test_an_attempt_that_will_be_made_says_when():
    retry = {"CurrentAttempt": 1, "NextAttemptDelaySeconds": 300}
    _, found = rows([started(), event("StepStarted", 0), event("StepFailed", 10, RetryDetails=retry)], 70)
    assert (found["work"].status, found["work"].note) == ("RUNNING", "tries again in 4 min")


def test_a_failed_invocation_is_marked():
    error = {"Payload": {"ErrorType": "Runtime.ExitError", "ErrorMessage": "exit status 1"}}
    one = {"StartTimestamp": at(0), "EndTimestamp": at(1), "RequestId": "1", "Error": error}
    other = {"StartTimestamp": at(2), "EndTimestamp": at(3), "RequestId": "2"}
    _, found = rows([started(), event("InvocationCompleted", 1, **one), event("InvocationCompleted", 3, **other)])
    assert [bar.is_failure for bar in found["invocations"].bars] == [True, False]
    assert found["invocations"].note == "2 in all, 1 failed"


def test_an_open_callback_can_be_answered_until_the_execution_ends():
    events = [started(), event("CallbackStarted", 1, CallbackId="id", Timeout=60)]
    line, found = rows(events, 31)
    assert [row.callback_id for row in line.callbacks] == ["id"]
    assert found["work"].note == "times out in 30 s"
    line, found = rows([*events, event("ExecutionStopped", 40, "execution", "order")])
    assert not line.callbacks
    assert (found["work"].status, found["work"].end) == ("UNFINISHED", at(40))


def test_operations_stand_below_their_context():
    child = {**event("StepStarted", 2, "child", "inner"), "ParentId": "op"}
    line, _ = rows([started(), event("ContextStarted", 1), event("WaitStarted", 2, "other", "after"), child])
    assert [(row.name, row.depth) for row in line.rows] == [
        ("execution", 0),
        ("work", 0),
        ("inner", 1),
        ("after", 0),
    ]


def test_an_operation_without_a_name_is_called_what_it_is():
    unnamed = {**event("ContextStarted", 1, name=None), "SubType": "WaitForCallback"}
    line, _ = rows([started(), unnamed])
    assert line.rows[-1].name == "wait for callback"


def test_a_pause_is_a_bar_until_it_is_resumed():
    events = [started(), event("ExecutionPaused", 10, Reason={"Payload": "check"}), event("ExecutionResumed", 30)]
    line, found = rows(events, 100)
    assert line.place(found["pauses"].bars[0]) == (100, 200)
    assert found["pauses"].bars[0].text == "check"


def test_an_open_bar_ends_now_and_not_at_the_end_of_a_wait():
    line, found = rows(
        [started(), event("WaitStarted", 0, ScheduledEndTimestamp=at(1000)), event("ExecutionPaused", 10)], 100
    )
    assert line.place(found["pauses"].bars[0]) == (10, 90)
    assert line.place(found["execution"].bars[0]) == (0, 100)


def test_every_bar_is_visible_and_inside_the_axis():
    events = [started(), event("StepStarted", 99.999), event("StepSucceeded", 100)]
    line, found = rows([*events, event("ExecutionSucceeded", 100, "execution", "order")])
    x, width = line.place(found["work"].bars[0])
    assert width >= MIN_WIDTH
    assert x + width <= WIDTH


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.0351, "35 ms"),
        (2.49, "2.4 s"),
        (59.99, "59.9 s"),
        (60, "1 min"),
        (185, "3 min 5 s"),
        (3600, "1 h"),
        (100_800, "1 d 4 h"),
        (86_400 * 366, "366 d"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds, text):
    assert duration(timedelta(seconds=seconds)) == text


def test_a_time_is_in_utc_for_hovering_and_for_the_script():
    shown = moment(START.astimezone())
    assert shown == (
        '<time datetime="2026-11-26T12:00:00+00:00" title="2026-11-26 12:00:00 UTC">2026-11-26 12:00:00 UTC</time>'
    )


def test_hostile_text_is_escaped_wherever_html_is_made():
    assert "<script>" not in status("<script>")


def test_text_that_is_not_json_is_shown_as_it_is():
    assert pretty("{not json") == "{not json"
    assert json.loads(pretty('{"a": [1, "ü"]}')) == {"a": [1, "ü"]}
    assert "ü" in pretty('{"a": [1, "ü"]}')


def test_a_missing_permission_is_named():
    error = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "GetDurableExecution")
    problem = problem_of(error)
    assert problem.title == "No permission"
    assert "GetDurableExecution" in problem.text
