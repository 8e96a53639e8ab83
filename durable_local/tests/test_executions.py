"""How executions end, and what the durable API returns about them."""

import json
import time
from datetime import timedelta

import pytest


@pytest.fixture
def start(aws_lambda, stack):
    """Starts an execution of one of the fixture's functions; its ARN."""

    def started(function, **payload):
        name = payload.pop("name", None)
        arguments = {"DurableExecutionName": name} if name else {}
        return aws_lambda.invoke(
            FunctionName=stack.outputs[function],
            InvocationType="Event",
            Payload=json.dumps(payload).encode(),
            **arguments,
        )["DurableExecutionArn"]

    return started


def test_get_durable_execution_returns_every_field(start, end, stack):
    execution = end(start("Durable", wait=1, name="told"))
    assert execution["DurableExecutionName"] == "told"
    assert execution["FunctionArn"].endswith(f"function:{stack.outputs['DurableName']}:1")
    assert execution["Version"] == "1"
    assert execution["Status"] == "SUCCEEDED"
    assert json.loads(execution["InputPayload"]) == {"wait": 1}
    assert json.loads(execution["Result"])["greeting"] == "hello"
    assert execution["EndTimestamp"] - execution["StartTimestamp"] >= timedelta(seconds=1)
    assert execution["DurableConfig"] == {"ExecutionTimeout": 120, "RetentionPeriodInDays": 7}


def test_execution_data_can_be_left_out(start, end, aws_lambda):
    arn = end(start("Durable"))["DurableExecutionArn"]
    execution = aws_lambda.get_durable_execution(DurableExecutionArn=arn, IncludeExecutionData=False)
    assert not {"InputPayload", "Result", "Error"} & execution.keys()


def test_a_failure_has_its_error(start, end):
    execution = end(start("Durable", fail=True))
    assert execution["Status"] == "FAILED"
    assert execution["Error"]["ErrorMessage"] == "as it was told"


def test_a_crashed_invocation_is_retried(start, end, tmp_path):
    mark = tmp_path / "mark"
    assert end(start("Durable", crash_once=str(mark)))["Status"] == "SUCCEEDED"
    assert mark.exists()


def test_an_invocation_above_the_function_timeout_is_retried(start, end, tmp_path):
    mark = tmp_path / "mark"
    assert end(start("Slow", hang_once=str(mark)))["Status"] == "SUCCEEDED"
    assert mark.exists()


def test_an_execution_ends_at_its_execution_timeout(start, end):
    execution = end(start("Brief", wait=30))
    assert execution["Status"] == "TIMED_OUT"
    assert timedelta(seconds=5) <= execution["EndTimestamp"] - execution["StartTimestamp"] < timedelta(seconds=20)


def test_an_execution_timeout_is_the_callers_error(aws_lambda, stack):
    response = aws_lambda.invoke(FunctionName=stack.outputs["Brief"], Payload=b'{"wait": 30}')
    assert response["FunctionError"] == "Unhandled"
    assert "timed out" in json.loads(response["Payload"].read())["errorMessage"]


def test_a_running_execution_is_stopped(start, end, aws_lambda):
    arn = start("Durable", wait=60)
    error = {"ErrorType": "Enough", "ErrorMessage": "said the operator"}
    aws_lambda.stop_durable_execution(DurableExecutionArn=arn, Error=error)
    execution = end(arn)
    assert execution["Status"] == "STOPPED"
    assert execution["Error"] == error


def test_the_history_has_every_event_in_order(start, end, aws_lambda):
    arn = end(start("Durable", wait=1))["DurableExecutionArn"]
    events = aws_lambda.get_durable_execution_history(DurableExecutionArn=arn)["Events"]
    assert [event["EventType"] for event in events] == [
        "ExecutionStarted",
        "StepStarted",
        "StepSucceeded",
        "WaitStarted",
        "InvocationCompleted",
        "WaitSucceeded",
        "InvocationCompleted",
        "ExecutionSucceeded",
    ]
    assert [event["EventId"] for event in events] == list(range(1, 9))


def test_executions_are_listed_newest_first_by_name_status_and_time(start, end, aws_lambda, stack):
    def listed(**filters):
        pages = aws_lambda.get_paginator("list_durable_executions_by_function").paginate(
            FunctionName=stack.outputs["DurableName"], PaginationConfig={"PageSize": 2}, **filters
        )
        return [execution["DurableExecutionName"] for page in pages for execution in page["DurableExecutions"]]

    began = end(start("Durable", name="list-before"))["EndTimestamp"]
    names = [f"list-{number}" for number in range(3)]
    for name in names:
        end(start("Durable", name=name))
    end(start("Durable", name="list-failed", fail=True))

    assert listed(StartedAfter=began) == ["list-failed", *reversed(names)]
    assert listed(StartedAfter=began, ReverseOrder=True) == [*names, "list-failed"]
    assert listed(StartedAfter=began, Statuses=["SUCCEEDED"]) == [*reversed(names)]
    assert listed(StartedAfter=began, Statuses=["SUCCEEDED", "FAILED"]) == ["list-failed", *reversed(names)]
    assert listed(StartedAfter=began, Statuses=["RUNNING"]) == []
    assert listed(DurableExecutionName="list-1") == ["list-1"]
    assert "list-1" not in listed(StartedBefore=began)
    assert listed(DurableExecutionName="list-1", Qualifier="1") == ["list-1"]
    assert listed(DurableExecutionName="list-1", Qualifier="prod") == ["list-1"]  # the alias of version 1
    assert listed(DurableExecutionName="list-1", Qualifier="$LATEST") == []


@pytest.mark.parametrize("missing", [{"FunctionName": "nobody"}, {"Qualifier": "2"}, {"Qualifier": "staging"}])
def test_executions_of_an_unknown_function_or_version_are_not_found(aws_lambda, stack, missing):
    """https://docs.aws.amazon.com/lambda/latest/api/API_ListDurableExecutionsByFunction.html"""
    with pytest.raises(aws_lambda.exceptions.ResourceNotFoundException) as refused:
        aws_lambda.list_durable_executions_by_function(**{"FunctionName": stack.outputs["DurableName"], **missing})
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


@pytest.mark.parametrize("operation", ["get_durable_execution", "get_durable_execution_history"])
def test_an_unknown_execution_is_not_found(aws_lambda, operation):
    arn = "arn:aws:lambda:eu-central-2:000000000000:function:f:1/durable-execution/name/id"
    with pytest.raises(aws_lambda.exceptions.ResourceNotFoundException):
        getattr(aws_lambda, operation)(DurableExecutionArn=arn)


def test_an_invalid_execution_arn_is_refused(aws_lambda):
    with pytest.raises(aws_lambda.exceptions.InvalidParameterValueException):
        aws_lambda.get_durable_execution(DurableExecutionArn="nonsense")


def test_a_burst_queues_instead_of_failing(start, end):
    began = time.monotonic()
    arns = [start("Durable", number=number) for number in range(30)]
    assert {end(arn)["Status"] for arn in arns} == {"SUCCEEDED"}
    assert time.monotonic() - began < 30
