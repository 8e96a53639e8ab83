"""Status events on EventBridge, and the event of a failed execution in its dead-letter queue.

https://docs.aws.amazon.com/lambda/latest/dg/durable-monitoring.html and, for dead letters,
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
"""

import json

import pytest


@pytest.fixture
def received(stack, eventually):
    """Receives messages until `enough`; returns the result of `of` for each."""

    def take(output, of, enough):
        sqs, url, found = stack.client("sqs"), stack.outputs[output], []

        def poll():
            answer = sqs.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1, MessageAttributeNames=["All"]
            )
            for message in answer.get("Messages", []):
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                if (made := of(message)) is not None:
                    found.append(made)
            return enough(found)

        eventually(poll)
        return found

    return take


def start(aws_lambda, stack, name, payload):
    return aws_lambda.invoke(
        FunctionName=stack.outputs["Brief"],
        InvocationType="Event",
        Payload=json.dumps(payload).encode(),
        DurableExecutionName=name,
    )["DurableExecutionArn"]


def test_every_change_of_status_is_an_event_on_the_default_bus(aws_lambda, stack, received):
    ends = {"SUCCEEDED": {}, "FAILED": {"fail": True}, "TIMED_OUT": {"wait": 60}, "STOPPED": {"wait": 61}}
    arns = {start(aws_lambda, stack, f"reported-{status}", ends[status]): status for status in ends}
    stopped = next(arn for arn, status in arns.items() if status == "STOPPED")
    aws_lambda.stop_durable_execution(DurableExecutionArn=stopped)

    def of(message):
        event = json.loads(message["Body"])
        return event if event["detail"]["durableExecutionArn"] in arns else None

    events = received("StatusChangesUrl", of, lambda found: len(found) == 2 * len(arns))
    details = [event["detail"] for event in events]
    assert {event["source"] for event in events} == {"aws.lambda"}
    assert {event["detail-type"] for event in events} == {"Durable Execution Status Change"}
    for arn, status in arns.items():
        running, ended = sorted(
            (detail for detail in details if detail["durableExecutionArn"] == arn),
            key=lambda detail: detail["status"] != "RUNNING",
        )
        assert (running["status"], ended["status"]) == ("RUNNING", status)
        assert "endTimestamp" not in running
        assert running["startTimestamp"] == ended["startTimestamp"] <= ended["endTimestamp"]
        assert ended["durableExecutionName"] == f"reported-{status}"
        assert ended["functionArn"] == arn.partition("/durable-execution/")[0]


def test_no_other_caller_may_publish_as_lambda(stack):
    entry = {"Source": "aws.lambda", "DetailType": "Durable Execution Status Change", "Detail": "{}"}
    answer = stack.client("events").put_events(Entries=[entry])
    assert answer["Entries"][0]["ErrorCode"] == "NotAuthorizedForSourceException"


def test_the_event_of_a_failed_execution_goes_to_its_dead_letter_queue(aws_lambda, stack, received):
    ends = {"SUCCEEDED": {"n": 1}, "FAILED": {"fail": True, "n": 2}, "TIMED_OUT": {"wait": 60, "n": 3}}
    for status, event in ends.items():
        start(aws_lambda, stack, f"lost-{status}", event)
    # A synchronous caller gets the error, so there is no dead letter.
    aws_lambda.invoke(FunctionName=stack.outputs["Brief"], Payload=b'{"fail": true, "n": 4}')

    def of(message):
        return (json.loads(message["Body"]), message) if '"n"' in message["Body"] else None

    letters = received("LostEventsUrl", of, lambda found: len(found) >= 2)
    assert sorted(event["n"] for event, _ in letters) == [2, 3]
    attributes = {event["n"]: message["MessageAttributes"] for event, message in letters}
    assert attributes[2]["ErrorMessage"]["StringValue"] == "as it was told"
    assert {"RequestID", "ErrorCode", "ErrorMessage"} == attributes[3].keys()
