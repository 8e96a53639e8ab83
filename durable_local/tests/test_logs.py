"""What a function logs, as Lambda writes it: https://docs.aws.amazon.com/lambda/latest/dg/python-logging.html"""

import io
import json
import re
import time
from queue import SimpleQueue
from types import SimpleNamespace

import pytest

from durable_local.ministack.patches import worker_logs, worker_program


@pytest.fixture(scope="module")
def logs(stack):
    return stack.client("logs")


@pytest.fixture
def run(stack, aws_lambda, logs):
    """Invokes a function; the response, and the events of its log group with the texts as JSON where they are."""

    def invoke(function, event=b"{}"):
        name = stack.outputs[function]
        response = aws_lambda.invoke(FunctionName=f"{name}:$LATEST", Payload=event)
        response["Payload"] = json.loads(response["Payload"].read())
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        return response, [(event["timestamp"], event["message"]) for event in events]

    return invoke


def parsed(events):
    return [json.loads(message) for _, message in events if message.startswith("{")]


def test_text_has_the_level_the_time_and_the_request_id(run):
    """The level of the root logger is WARNING, as on Lambda."""
    _, events = run("TextLogs")
    messages = [message for _, message in events]
    start, printed, failed, end, report = messages
    request_id = start.split()[2]
    assert printed == "printed"
    head, *trace = failed.split("\n")
    assert re.fullmatch(rf"\[ERROR\]\t\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z\t{request_id}\tfailed", head)
    assert trace[0] == "Traceback (most recent call last):"
    assert trace[-1] == "KeyError: 'sku'"
    assert (end.split()[0], report.split()[0]) == ("END", "REPORT")


def test_each_event_has_the_time_at_which_it_was_written(run):
    _, events = run("JsonLogs")
    times = [time for time, _ in events]
    assert times == sorted(times)
    by_text = {message: time for time, message in events}
    [logged] = [time for message, time in by_text.items() if "information" in message]
    assert by_text["printed"] < logged


def test_a_line_that_is_read_late_keeps_the_time_at_which_it_was_written():
    stream = io.StringIO()
    began = milliseconds()
    print("printed", "in parts", file=worker_program.TimedLines(stream))
    ended = milliseconds()
    while milliseconds() == ended:
        pass
    stream.write("by a child process, without a time\n")
    stream.seek(0)
    worker = SimpleNamespace(_proc=SimpleNamespace(stderr=stream), _stderr_queue=SimpleQueue(), events=[])
    worker_logs.read_stderr(None, worker)
    (written, printed), (read, other) = worker.events
    assert (printed, other) == ("printed in parts", "by a child process, without a time")
    assert began <= written <= ended < read


def milliseconds():
    return time.time_ns() // 1_000_000


def test_json_has_the_request_id_the_extra_fields_and_the_error(run):
    _, events = run("JsonLogs")
    start, information, failed, report = parsed(events)[-4:]
    assert start["type"] == "platform.start"
    request_id = start["record"]["requestId"]
    assert information.pop("timestamp")
    assert information == {
        "level": "INFO",
        "message": "information",
        "logger": "shop",
        "requestId": request_id,
        "order": "O-1",
    }
    assert (failed["level"], failed["errorType"], failed["errorMessage"]) == ("ERROR", "KeyError", "'sku'")
    assert "logs.py" in failed["stackTrace"][0]
    assert report["type"] == "platform.report"
    assert report["record"]["status"] == "success"


def test_events_below_the_levels_of_the_function_are_left_out(run):
    _, events = run("QuietLogs")
    [failed] = parsed(events)
    assert len(events) == 1
    assert failed["message"] == "failed"


def test_an_error_of_the_handler_is_an_event_with_its_traceback(run):
    response, events = run("TextLogs", b'{"fail": true}')
    assert response["Payload"]["errorType"] == "ValueError"
    [error] = [message for _, message in events if message.startswith("[ERROR] ValueError")]
    assert error.startswith("[ERROR] ValueError: as it was told\nTraceback (most recent call last):\n")
    _, events = run("QuietLogs", b'{"fail": true}')
    assert [each["errorType"] for each in parsed(events) if "log_level" in each] == ["ValueError"]
    assert [each["type"] for each in parsed(events) if "type" in each] == ["platform.runtimeDone", "platform.report"]


def test_the_durable_logger_writes_json_with_its_execution(run, logs, stack):
    """A durable function's format is JSON without being asked for, as AWS's conformance suite expects."""
    response, events = run("DurableLogs")
    [record] = [each for each in parsed(events) if each.get("message") == "from the durable logger"]
    arn = response["DurableExecutionArn"]
    assert arn in record.values()
    [field] = [name for name, value in record.items() if value == arn]
    group = f"/aws/lambda/{stack.outputs['DurableLogs']}"
    found = logs.filter_log_events(logGroupName=group, filterPattern=f'{{ $.{field} = "{arn}" }}')["events"]
    assert record in [json.loads(event["message"]) for event in found]
    assert logs.filter_log_events(logGroupName=group, filterPattern=f'{{ $.{field} = "another" }}')["events"] == []


def test_a_filter_pattern_that_is_not_supported_is_refused(stack, logs):
    with pytest.raises(logs.exceptions.InvalidParameterException, match="Invalid filter pattern"):
        logs.filter_log_events(logGroupName=f"/aws/lambda/{stack.outputs['TextLogs']}", filterPattern="[ip, user]")


@pytest.mark.parametrize(
    ("function", "error_type", "message"),
    [
        ("Broken", "Runtime.ImportModuleError", "Unable to import module 'broken': No module named 'a_module"),
        ("Raises", "KeyError", "'NOT_SET'"),
        ("WithoutHandler", "Runtime.HandlerNotFound", "Handler 'not_there' missing on module 'plain'"),
    ],
)
def test_a_handler_that_cannot_be_imported_fails_at_once_and_is_in_the_log(run, function, error_type, message):
    for _ in range(2):  # the second time in the same worker
        response, events = run(function)
        assert response["FunctionError"] == "Unhandled"
        assert response["Payload"]["errorType"] == error_type
        assert response["Payload"]["errorMessage"].startswith(message)
    errors = [text for _, text in events if error_type in text]
    assert len(errors) == 2
    assert message in errors[0]
    if function != "WithoutHandler":
        assert f"{function.lower()}.py" in errors[0]


def test_the_stack_says_which_handlers_cannot_be_imported(stack):
    errors = stack.import_errors
    assert errors.keys() == {"Broken", "Raises", "WithoutHandler"}
    assert errors["Raises"] == "KeyError: 'NOT_SET'"
