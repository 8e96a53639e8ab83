"""Invoke of a durable function, as boto3 sees it."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest


def invoke(aws_lambda, function, payload=None, **arguments):
    """The response and its parsed payload."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload or {}).encode()
    response = aws_lambda.invoke(FunctionName=function, Payload=body, **arguments)
    text = response["Payload"].read()
    return response, json.loads(text) if text else None


@pytest.fixture
def durable(stack):
    return stack.outputs["Durable"]


def test_an_unqualified_invoke_of_a_durable_function_is_refused(aws_lambda, stack):
    with pytest.raises(aws_lambda.exceptions.InvalidParameterValueException, match="unqualified ARN"):
        invoke(aws_lambda, stack.outputs["DurableName"])


@pytest.mark.parametrize("invocation_type", ["RequestResponse", "Event"])
def test_an_unknown_qualifier_is_not_found(aws_lambda, stack, invocation_type):
    with pytest.raises(aws_lambda.exceptions.ResourceNotFoundException):
        invoke(aws_lambda, stack.outputs["DurableName"] + ":nobody", InvocationType=invocation_type)


def test_a_function_is_found_by_name_partial_arn_and_arn(aws_lambda, stack):
    name, arn = stack.outputs["DurableName"], stack.outputs["Durable"]
    partial = arn.split(":lambda:eu-central-2:")[1]
    for arguments in (
        {"FunctionName": arn},
        {"FunctionName": partial},
        {"FunctionName": f"{name}:prod"},
        {"FunctionName": name, "Qualifier": "prod"},
        {"FunctionName": name, "Qualifier": "1"},
    ):
        response = aws_lambda.invoke(InvocationType="DryRun", **arguments)
        assert (response["StatusCode"], response["ExecutedVersion"]) == (204, "1")


def test_latest_is_a_qualifier(aws_lambda, stack):
    response, result = invoke(aws_lambda, stack.outputs["DurableName"] + ":$LATEST")
    assert response["ExecutedVersion"] == "$LATEST"
    assert ":$LATEST/durable-execution/" in response["DurableExecutionArn"]
    assert result["version"] == "$LATEST"


def test_a_synchronous_invoke_waits_for_the_result_across_a_durable_wait(aws_lambda, durable):
    response, result = invoke(aws_lambda, durable, {"wait": 1})
    assert response["StatusCode"] == 200
    assert "FunctionError" not in response
    assert result["greeting"] == "hello"
    assert result["input"] == {"wait": 1}


def test_the_arn_has_the_version_and_never_the_alias(aws_lambda, stack, durable):
    response, result = invoke(aws_lambda, durable, DurableExecutionName="named-arn")
    function = f"arn:aws:lambda:eu-central-2:000000000000:function:{stack.outputs['DurableName']}"
    assert response["DurableExecutionArn"].startswith(f"{function}:1/durable-execution/named-arn/")
    assert response["ExecutedVersion"] == result["version"] == "1"


def test_a_failed_execution_is_a_function_error(aws_lambda, durable):
    response, error = invoke(aws_lambda, durable, {"fail": True})
    assert (response["StatusCode"], response["FunctionError"]) == (200, "Unhandled")
    assert error["errorMessage"] == "as it was told"
    assert error["errorType"]


def test_an_asynchronous_invoke_is_answered_at_once_with_the_arn(aws_lambda, durable, eventually):
    response, nothing = invoke(aws_lambda, durable, {"wait": 1}, InvocationType="Event")
    assert (response["StatusCode"], nothing) == (202, None)

    def get():
        return aws_lambda.get_durable_execution(DurableExecutionArn=response["DurableExecutionArn"])

    assert get()["Status"] == "RUNNING"
    eventually(lambda: get()["Status"] == "SUCCEEDED")


def test_the_same_name_and_payload_return_the_running_execution(aws_lambda, durable):
    arguments = {"payload": {"wait": 1}, "DurableExecutionName": "joined"}
    started, _ = invoke(aws_lambda, durable, InvocationType="Event", **arguments)
    joined, result = invoke(aws_lambda, durable, **arguments)
    assert joined["DurableExecutionArn"] == started["DurableExecutionArn"]
    assert result["input"] == {"wait": 1}


@pytest.mark.parametrize("payload", [{}, {"fail": True}])
def test_the_same_name_and_payload_return_the_stored_outcome(aws_lambda, durable, payload):
    name = f"ended-{len(payload)}"
    first, outcome = invoke(aws_lambda, durable, payload, DurableExecutionName=name)
    again, same = invoke(aws_lambda, durable, payload, DurableExecutionName=name)
    assert again["DurableExecutionArn"] == first["DurableExecutionArn"]
    assert same == outcome  # with the first run's clock in it: nothing ran again


def test_the_same_name_with_another_payload_conflicts(aws_lambda, durable):
    invoke(aws_lambda, durable, b'{"n": 1}', DurableExecutionName="taken")
    for other in (b'{"n": 2}', b'{"n":1}'):
        with pytest.raises(aws_lambda.exceptions.DurableExecutionAlreadyStartedException) as refused:
            invoke(aws_lambda, durable, other, DurableExecutionName="taken", InvocationType="Event")
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 409


def test_a_name_belongs_to_its_function(aws_lambda, stack):
    arns = {
        invoke(aws_lambda, stack.outputs[name], {"of": name}, DurableExecutionName="one-name-two-functions")[0][
            "DurableExecutionArn"
        ]
        for name in ("Durable", "Slow")
    }
    assert len(arns) == 2


def test_concurrent_starts_of_one_name_are_one_execution(aws_lambda, durable):
    together = threading.Barrier(10)

    def start(_):
        together.wait()
        return invoke(aws_lambda, durable, DurableExecutionName="raced")[0]["DurableExecutionArn"]

    with ThreadPoolExecutor(10) as callers:
        assert len(set(callers.map(start, range(10)))) == 1


@pytest.mark.parametrize("name", ["", "with space", "ünïcode".encode().decode("latin-1"), "x" * 65])
def test_a_name_outside_the_pattern_is_refused(stack, durable, name):
    assert post(stack, durable, b"{}", {"X-Amz-Durable-Execution-Name": name}) == (
        400,
        "InvalidParameterValueException",
    )


@pytest.mark.parametrize("payload", [b"{", b"\xff", b"{} {}", b'{"n": NaN}'])
def test_a_payload_that_is_not_json_is_refused(aws_lambda, durable, payload):
    with pytest.raises(aws_lambda.exceptions.InvalidRequestContentException):
        invoke(aws_lambda, durable, payload)


def test_an_empty_payload_is_an_empty_object(aws_lambda, durable):
    assert invoke(aws_lambda, durable, b"")[1]["input"] == {}


def test_an_asynchronous_payload_may_have_one_mebibyte_and_no_more(aws_lambda, durable):
    at_the_limit = b'{"x":"' + b"x" * (1024 * 1024 - 8) + b'"}'
    invoke(aws_lambda, durable, at_the_limit, InvocationType="Event")
    with pytest.raises(aws_lambda.exceptions.RequestTooLargeException):
        invoke(aws_lambda, durable, at_the_limit + b" ", InvocationType="Event")
    invoke(aws_lambda, durable, at_the_limit + b" ")


def test_a_timeout_above_15_minutes_refuses_a_synchronous_invoke(aws_lambda, stack):
    with pytest.raises(aws_lambda.exceptions.InvalidParameterValueException, match="15 minutes"):
        invoke(aws_lambda, stack.outputs["Long"])
    assert invoke(aws_lambda, stack.outputs["Long"], InvocationType="Event")[0]["StatusCode"] == 202


def test_a_caller_that_disconnects_does_not_stop_the_execution(stack, aws_lambda, durable, eventually):
    impatient = {"X-Amz-Durable-Execution-Name": "abandoned"}
    with pytest.raises(TimeoutError):
        post(stack, durable, b'{"wait": 1}', impatient, timeout=0.5)

    def abandoned():
        return aws_lambda.list_durable_executions_by_function(
            FunctionName=stack.outputs["DurableName"], DurableExecutionName="abandoned", Statuses=["SUCCEEDED"]
        )["DurableExecutions"]

    assert len(eventually(abandoned)) == 1


def test_a_durable_function_invokes_a_plain_one(aws_lambda, stack, durable):
    _, result = invoke(aws_lambda, durable, {"invoke": stack.outputs["Plain"], "with": {"n": 1}})
    assert result["answer"]["echo"] == {"n": 1}


def test_a_durable_function_invokes_a_durable_one(aws_lambda, durable):
    _, result = invoke(aws_lambda, durable, {"invoke": durable, "with": {"wait": 1}})
    assert result["answer"]["input"] == {"wait": 1}


def test_a_plain_function_is_invoked_directly(aws_lambda, stack):
    response, result = invoke(aws_lambda, stack.outputs["Plain"], {"n": 1})
    assert "DurableExecutionArn" not in response
    assert result.pop("process")
    assert result == {"echo": {"n": 1}, "version": "$LATEST"}


def post(stack, function, body, headers, timeout=30):
    """An Invoke without boto3's own checks; the status and the error's code."""
    import http.client
    from urllib.parse import quote, urlsplit

    address = urlsplit(stack.endpoint)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=timeout)
    signed = {"Authorization": f"AWS {stack.environment['AWS_ACCESS_KEY_ID']}:unverified", **headers}
    try:
        connection.request("POST", f"/2015-03-31/functions/{quote(function, safe='')}/invocations", body, signed)
        response = connection.getresponse()
        response.read()
        return response.status, response.headers["x-amzn-errortype"]
    finally:
        connection.close()
