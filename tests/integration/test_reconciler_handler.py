"""The reconciler's two functions as Lambda calls them."""

import importlib
import json
import sys

import pytest
from botocore.exceptions import EndpointConnectionError

from reconciler.pace import Pace
from shared.ledger.owner import Ledger
from shared.orders.order import parse_order
from tests.integration.orders import ORDER, OWNER
from tests.unit.events import sqs_event
from tests.unit.executions import ALIAS, STACK_ID, name_of
from tests.unit.transport import refusal

MARK = "zqMARKqz"


@pytest.fixture
def function(rejected, ledger, operations_table, on_lambda, monkeypatch):
    """The module as Lambda imports it, with a stand-in for its Lambda client."""
    for name, value in {
        "ORCHESTRATOR_ARN": ALIAS,
        "REJECTED_ORDERS_QUEUE_URL": rejected._queue_url,
        "LEDGER_TABLE": "LedgerTable",
        "OPERATIONS_TABLE": operations_table,
        "STACK_ID": STACK_ID,
        "WAIT_SECONDS": "2",
        "EXECUTION_TIMEOUT_SECONDS": "900",
        "LEDGER_RETENTION_DAYS": "0",
        "PUBLISHER_SOURCE": "00000000-0000-4000-8000-000000000001",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delitem(sys.modules, "reconciler.handler", raising=False)
    module = importlib.import_module("reconciler.handler")
    monkeypatch.setattr(module._examiner.executions, "_client", on_lambda.client)
    monkeypatch.setattr(module, "_lambda", on_lambda.client)
    return module


@pytest.fixture
def printed(function, log, monkeypatch):
    """The log lines so far. None contains a value of an order."""
    monkeypatch.setattr(function._logger.registered_handler, "stream", log)

    def lines():
        assert MARK not in log.getvalue()
        return [json.loads(line) for line in log.getvalue().splitlines()]

    return lines


def status_changes(**bodies):
    batch = sqs_event(*bodies)
    for record in batch["Records"]:
        body = bodies[record["messageId"]]
        record["body"] = body if isinstance(body, str) else json.dumps(body)
    return batch


def change(arn, status="FAILED"):
    """The event as EventBridge sends it to a queue: https://docs.aws.amazon.com/lambda/latest/dg/durable-monitoring.html"""
    return {
        "version": "0",
        "id": "d019b03c-a8a3-9d58-85de-241e96206538",
        "detail-type": "Durable Execution Status Change",
        "source": "aws.lambda",
        "time": "2026-11-20T13:08:22Z",
        "resources": [arn],
        "detail": {"durableExecutionArn": arn, "durableExecutionName": arn.split("/")[2], "status": status},
    }


def test_exactly_the_events_that_failed_are_given_back(function, on_lambda, lambda_context, ledger, printed):
    secret = parse_order(json.dumps({"orderId": "ORDER-2", "attributes": {"note": MARK}}))
    lost, garbage = on_lambda.begin(secret, name_of("ORDER-2")), on_lambda.begin(f'{{"orderId": "{MARK} {MARK}"}}')
    for arn in (lost, garbage):
        on_lambda.end(arn, "FAILED")
    no_arn = change(lost)
    del no_arn["detail"]["durableExecutionArn"]
    batch = status_changes(
        good=change(lost),
        again=change(lost),
        nobodys=change(garbage),
        succeeded=change(lost, "SUCCEEDED"),
        no_json=MARK,
        no_detail={"order": MARK},
        a_list=[],
        no_arn=no_arn,
        odd_arn=change("arn:aws:sqs:us-east-1:1:q/a/b"),
        numbers={"detail": {"durableExecutionArn": 5, "status": "FAILED"}},
    )
    bad = ["no_json", "no_detail", "a_list", "no_arn", "odd_arn", "numbers"]
    answer = function.handler(batch, lambda_context)
    assert [failure["itemIdentifier"] for failure in answer["batchItemFailures"]] == bad
    assert ledger.get("ORDER-2").state == "FAILED"
    given_back = [line for line in printed() if line["message"] == "event given back"]
    assert [line["messageId"] for line in given_back] == bad
    assert all(line["reason"] for line in given_back)
    assert given_back[4]["executionArn"] == "arn:aws:sqs:us-east-1:1:q/a/b"


def test_an_event_that_failed_is_processed_when_it_is_received_again(
    function, on_lambda, lambda_context, ledger, monkeypatch
):
    monkeypatch.setattr(function._examiner.ledger, "_table", "NoSuchTable")
    arn = on_lambda.end(on_lambda.begin(ORDER, name_of("ORDER-1")), "STOPPED")
    batch = status_changes(only=change(arn, "STOPPED"))
    assert function.handler(batch, lambda_context) == {"batchItemFailures": [{"itemIdentifier": "only"}]}
    monkeypatch.setattr(function._examiner.ledger, "_table", "LedgerTable")
    assert function.handler(batch, lambda_context) == {"batchItemFailures": []}
    assert ledger.get("ORDER-1").state == "STOPPED"


def test_an_event_given_back_is_logged_with_its_execution_and_so_with_the_order(
    function, on_lambda, lambda_context, printed, sqs
):
    Ledger(function._examiner.ledger).claim(ORDER, OWNER)
    conflict = parse_order(json.dumps({"orderId": "ORDER-1", "attributes": {"note": MARK}}))
    arn = on_lambda.end(on_lambda.begin(conflict, name_of("ORDER-1")), "FAILED")
    sqs.delete_queue(QueueUrl=function._examiner.rejected._queue_url)
    answer = function.handler(status_changes(only=change(arn)), lambda_context)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "only"}]}
    (line,) = printed()
    assert (line["level"], line["messageId"], line["executionArn"]) == ("WARNING", "only", arn)
    assert "-ORDER-1-" in line["executionArn"]
    assert line["reason"].startswith("RejectUnavailable: ")


def test_a_sweep_answers_logs_and_counts_what_it_did(function, on_lambda, lambda_context, ledger, printed, capsys):
    on_lambda.end(on_lambda.begin(ORDER, name_of("ORDER-1")), "TIMED_OUT")
    assert function.sweep({}, lambda_context) == {"cases": 1, "failed": 0, "left": 0}
    assert ledger.get("ORDER-1").state == "TIMED_OUT"
    [counted] = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"SweepEnded"' in line]
    assert (counted["SweepEnded"], counted["FunctionName"]) == ([1], lambda_context.function_name)
    swept = printed()[-1]
    assert (swept["message"], swept["cases"], swept["function_request_id"]) == (
        "swept",
        1,
        lambda_context.aws_request_id,
    )


def test_a_sweep_keeps_to_the_time_that_lambda_gives_it(function, on_lambda, lambda_context, ledger):
    on_lambda.end(on_lambda.begin(ORDER, name_of("ORDER-1")), "TIMED_OUT")
    lambda_context.get_remaining_time_in_millis = lambda: 5_000
    assert function.sweep({}, lambda_context) == {"cases": 1, "failed": 0, "left": 1}
    assert ledger.get("ORDER-1") is None


@pytest.mark.parametrize(
    ("answer", "emitted"),
    [
        ((200, {}, b'{"State": "Enabled"}'), [0]),
        ((200, {}, b'{"State": "Disabled"}'), [1]),
        (refusal(404, "ResourceNotFoundException"), [1]),
        (refusal(429, "TooManyRequestsException"), None),
        (EndpointConnectionError(endpoint_url="https://lambda"), None),
    ],
    ids=["on", "off", "deleted", "throttled", "away"],
)
def test_a_sweep_counts_a_publisher_whose_event_source_is_off(
    function, on_lambda, lambda_context, capsys, answer, emitted
):
    on_lambda.fail("GetEventSourceMapping", answer)
    assert function.sweep({}, lambda_context)["failed"] == 0
    metrics = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    assert {(metric["service"], metric["FunctionName"]) for metric in metrics} == {
        ("reconciler", lambda_context.function_name)
    }
    assert [metric["PublisherOff"] for metric in metrics if "PublisherOff" in metric] == ([emitted] if emitted else [])


def test_two_batches_and_a_sweep_stay_below_lambdas_read_quota(function, template):
    mapping = template["Resources"]["OrderReconciler"]["Properties"]["Events"]["StatusChanges"]["Properties"]
    readers = mapping["ScalingConfig"]["MaximumConcurrency"] + 1
    assert isinstance(function._examiner.pace, Pace)
    assert readers * function.READS_PER_SECOND < 30
