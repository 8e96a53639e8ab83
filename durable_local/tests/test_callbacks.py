"""Callbacks: an execution that waits for an external answer with `wait_for_callback`.

https://docs.aws.amazon.com/lambda/latest/api/API_SendDurableExecutionCallbackSuccess.html and its siblings.
"""

import base64
import json
import time

import pytest


@pytest.fixture
def start(aws_lambda, stack, eventually):
    """Starts an execution and waits for its callback; returns the ARN and the callback id."""

    def started(timeout=0, heartbeat=0):
        arn = aws_lambda.invoke(
            FunctionName=stack.outputs["Durable"],
            InvocationType="Event",
            Payload=json.dumps({"callback": timeout, "heartbeat": heartbeat}).encode(),
        )["DurableExecutionArn"]

        def callback():
            for event in aws_lambda.get_durable_execution_history(DurableExecutionArn=arn)["Events"]:
                if event["EventType"] == "CallbackStarted":
                    return event["CallbackStartedDetails"]["CallbackId"]
            return None

        return arn, eventually(callback)

    return started


@pytest.fixture
def event_types(aws_lambda):
    def types(arn):
        events = aws_lambda.get_durable_execution_history(DurableExecutionArn=arn)["Events"]
        return [event["EventType"] for event in events]

    return types


def test_a_success_is_the_result_of_the_wait(aws_lambda, start, end, event_types):
    arn, callback = start()
    aws_lambda.send_durable_execution_callback_success(CallbackId=callback, Result=b'{"approved": true}')
    execution = end(arn)
    assert json.loads(json.loads(execution["Result"])["answer"]) == {"approved": True}
    assert "CallbackSucceeded" in event_types(arn)


def test_a_failure_fails_the_wait(aws_lambda, start, end, event_types):
    arn, callback = start()
    error = {"ErrorType": "Refused", "ErrorMessage": "said the approver"}
    aws_lambda.send_durable_execution_callback_failure(CallbackId=callback, Error=error)
    execution = end(arn)
    assert execution["Status"] == "FAILED"
    assert execution["Error"]["ErrorMessage"] == "said the approver"
    assert "CallbackFailed" in event_types(arn)


def test_a_callback_without_an_answer_times_out(start, end, event_types):
    arn, _ = start(timeout=1)
    assert end(arn)["Status"] == "FAILED"
    assert "CallbackTimedOut" in event_types(arn)


def test_heartbeats_keep_a_callback_alive(aws_lambda, start, end, event_types):
    arn, callback = start(heartbeat=1)
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        aws_lambda.send_durable_execution_callback_heartbeat(CallbackId=callback)
        time.sleep(0.2)
    assert "CallbackTimedOut" not in event_types(arn)
    assert end(arn)["Status"] == "FAILED"  # once they stop
    assert "CallbackTimedOut" in event_types(arn)


def test_a_callback_accepts_one_answer(aws_lambda, start, end):
    arn, callback = start()
    aws_lambda.send_durable_execution_callback_success(CallbackId=callback, Result=b"1")
    for send in (
        aws_lambda.send_durable_execution_callback_success,
        aws_lambda.send_durable_execution_callback_failure,
        aws_lambda.send_durable_execution_callback_heartbeat,
    ):
        with pytest.raises(aws_lambda.exceptions.CallbackTimeoutException) as refused:
            send(CallbackId=callback)
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert json.loads(end(arn)["Result"])["answer"] == "1"


def test_the_callback_of_an_ended_execution_is_closed(aws_lambda, start):
    arn, callback = start()
    aws_lambda.stop_durable_execution(DurableExecutionArn=arn)
    with pytest.raises(aws_lambda.exceptions.CallbackTimeoutException):
        aws_lambda.send_durable_execution_callback_success(CallbackId=callback)


def test_an_invalid_callback_id_is_refused(aws_lambda):
    with pytest.raises(aws_lambda.exceptions.InvalidParameterValueException):
        aws_lambda.send_durable_execution_callback_success(CallbackId="bm90aGluZw==")
    unknown = base64.b64encode(json.dumps({"arn": "arn:of:nothing", "op": "none"}).encode()).decode()
    with pytest.raises(aws_lambda.exceptions.ResourceNotFoundException):
        aws_lambda.send_durable_execution_callback_success(CallbackId=unknown)
