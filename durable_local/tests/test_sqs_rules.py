"""The stack refuses messages that SQS refuses, with the same exceptions."""

import pytest
from botocore.exceptions import ClientError


@pytest.fixture(scope="module")
def queue(stack):
    return stack.client("sqs").create_queue(QueueName="rules", Attributes={"MaximumMessageSize": "2048"})["QueueUrl"]


def text(value="value", kind="String"):
    return {"DataType": kind, "StringValue": value}


@pytest.mark.parametrize(
    "attributes",
    [
        {f"a{number}": text() for number in range(11)},
        {"empty": text("")},
        {"control": text("a\u0001b")},
        {"number": text("seven", "Number")},
        {"type": text(kind="Text")},
        {"aws.name": text()},
        {".name": text()},
        {"na me": text()},
        {"binary": {"DataType": "Binary", "BinaryValue": b""}},
        {"large": text("x" * 2048)},
    ],
    ids=lambda attributes: next(iter(attributes)),
)
def test_a_message_that_sqs_refuses_is_refused(stack, queue, attributes):
    sqs = stack.client("sqs")
    with pytest.raises(ClientError) as refused:
        sqs.send_message(QueueUrl=queue, MessageBody="body", MessageAttributes=attributes)
    assert refused.value.response["Error"]["Code"] == "InvalidParameterValue"


def test_attributes_that_sqs_accepts_are_accepted(stack, queue):
    attributes = {f"a-{number}.b_c": text("tab\tünï 🎉") for number in range(8)}
    attributes |= {"n": text("-1.5e3", "Number.float"), "b": {"DataType": "Binary", "BinaryValue": b"\0"}}
    sent = stack.client("sqs").send_message(QueueUrl=queue, MessageBody="body", MessageAttributes=attributes)
    assert sent["MD5OfMessageAttributes"]


def test_one_bad_entry_of_a_batch_fails_alone(stack, queue):
    entries = [
        {"Id": "good", "MessageBody": "body"},
        {"Id": "bad", "MessageBody": "body", "MessageAttributes": {"empty": text("")}},
    ]
    answer = stack.client("sqs").send_message_batch(QueueUrl=queue, Entries=entries)
    assert [entry["Id"] for entry in answer["Successful"]] == ["good"]
    assert [entry["Id"] for entry in answer["Failed"]] == ["bad"]


def test_a_batch_has_one_mebibyte_with_its_attributes(stack):
    sqs = stack.client("sqs")
    queue = sqs.create_queue(QueueName="batches")["QueueUrl"]
    entries = [{"Id": str(n), "MessageBody": "x" * 262_144, "MessageAttributes": {"a": text()}} for n in range(4)]
    with pytest.raises(sqs.exceptions.BatchRequestTooLong):
        sqs.send_message_batch(QueueUrl=queue, Entries=entries)
