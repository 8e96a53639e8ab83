"""Dead-letter queue redrive, as SQS's API reference describes it."""

import json
import uuid

import pytest
from botocore.exceptions import ClientError


@pytest.fixture(scope="module")
def sqs(stack):
    return stack.client("sqs")


@pytest.fixture
def queue(sqs):
    """Makes a queue; its URL and ARN."""

    def make(**attributes):
        url = sqs.create_queue(QueueName=uuid.uuid4().hex, Attributes=attributes)["QueueUrl"]
        return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    return make


@pytest.fixture
def dead(sqs, queue):
    """A dead-letter queue and its source queue: the URL and ARN of each."""
    target = queue()
    policy = json.dumps({"deadLetterTargetArn": target[1], "maxReceiveCount": 1})
    return target, queue(RedrivePolicy=policy, VisibilityTimeout="0")


def die(sqs, source, dead, bodies):
    """Sends messages and receives them until they are in the dead-letter queue; their ids."""
    for body in bodies:
        sqs.send_message(
            QueueUrl=source, MessageBody=body, MessageAttributes={"a": {"DataType": "String", "StringValue": body}}
        )
    for _ in range(2 * len(bodies) + 2):
        sqs.receive_message(QueueUrl=source, MaxNumberOfMessages=10)
    assert count(sqs, dead) == len(bodies)


def count(sqs, url):
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    return int(found["Attributes"]["ApproximateNumberOfMessages"])


def received(sqs, url):
    found = sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], AttributeNames=["All"], VisibilityTimeout=0
    )
    return found.get("Messages", [])


@pytest.fixture
def ended(sqs, eventually):
    def task(source):
        def look():
            [found] = sqs.list_message_move_tasks(SourceArn=source)["Results"]
            return found if found["Status"] != "RUNNING" else None

        return eventually(look)

    return task


def test_dead_letters_return_to_the_queue_that_they_came_from(sqs, dead, ended):
    (dead_url, dead_arn), (source_url, _) = dead
    die(sqs, source_url, dead_url, ["one", "two"])
    before = {message["MessageId"] for message in received(sqs, dead_url)}
    assert sqs.start_message_move_task(SourceArn=dead_arn)["TaskHandle"]
    task = ended(dead_arn)
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 2)
    assert (task["SourceArn"], task["ApproximateNumberOfMessagesToMove"]) == (dead_arn, 2)
    assert not {"TaskHandle", "DestinationArn", "FailureReason"} & task.keys()
    assert count(sqs, dead_url) == 0
    returned = received(sqs, source_url)
    assert {(m["Body"], m["MessageAttributes"]["a"]["StringValue"]) for m in returned} == {
        ("one", "one"),
        ("two", "two"),
    }
    # A moved message is a new one.
    assert {message["Attributes"]["ApproximateReceiveCount"] for message in returned} == {"1"}
    assert not before & {message["MessageId"] for message in returned}


def test_dead_letters_move_to_the_destination_that_is_named(sqs, dead, queue, ended):
    (dead_url, dead_arn), (source_url, _) = dead
    other_url, other_arn = queue()
    die(sqs, source_url, dead_url, ["one"])
    sqs.start_message_move_task(SourceArn=dead_arn, DestinationArn=other_arn)
    assert ended(dead_arn)["DestinationArn"] == other_arn
    assert (count(sqs, source_url), count(sqs, other_url)) == (0, 1)


def test_a_cancelled_task_leaves_the_rest_where_it_is(sqs, dead, ended):
    (dead_url, dead_arn), (source_url, _) = dead
    die(sqs, source_url, dead_url, ["one", "two", "three"])
    handle = sqs.start_message_move_task(SourceArn=dead_arn, MaxNumberOfMessagesPerSecond=1)["TaskHandle"]
    [running] = sqs.list_message_move_tasks(SourceArn=dead_arn)["Results"]
    assert (running["Status"], running["TaskHandle"]) == ("RUNNING", handle)
    with pytest.raises(ClientError, match="There is already a task running"):
        sqs.start_message_move_task(SourceArn=dead_arn)
    moved = sqs.cancel_message_move_task(TaskHandle=handle)["ApproximateNumberOfMessagesMoved"]
    assert moved < 3
    assert ended(dead_arn)["Status"] == "CANCELLED"
    assert count(sqs, dead_url) == 3 - moved
    with pytest.raises(ClientError, match="Only active tasks can be cancelled"):
        sqs.cancel_message_move_task(TaskHandle=handle)


def test_a_message_that_was_sent_to_the_dead_letter_queue_has_no_queue_to_return_to(sqs, dead, ended):
    (dead_url, dead_arn), _ = dead
    sqs.send_message(QueueUrl=dead_url, MessageBody="by hand")
    sqs.start_message_move_task(SourceArn=dead_arn)
    task = ended(dead_arn)
    assert (task["Status"], task["FailureReason"]) == ("FAILED", "CouldNotDetermineMessageSource")
    assert count(sqs, dead_url) == 1


def test_only_a_dead_letter_queue_can_be_redriven(sqs, queue):
    _, arn = queue()
    with pytest.raises(ClientError, match="must be configured as a Dead Letter Queue"):
        sqs.start_message_move_task(SourceArn=arn)


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("start_message_move_task", {"SourceArn": "arn:aws:sqs:eu-central-2:000000000000:missing"}),
        ("list_message_move_tasks", {"SourceArn": "arn:aws:sqs:eu-central-2:000000000000:missing"}),
        ("cancel_message_move_task", {"TaskHandle": "missing"}),
    ],
)
def test_an_unknown_queue_or_task_is_not_found(sqs, operation, arguments):
    with pytest.raises(sqs.exceptions.ResourceNotFoundException):
        getattr(sqs, operation)(**arguments)


def test_a_rate_and_a_page_have_limits(sqs, dead):
    (_, dead_arn), _ = dead
    with pytest.raises(ClientError, match="between 1 and 500"):
        sqs.start_message_move_task(SourceArn=dead_arn, MaxNumberOfMessagesPerSecond=501)
    with pytest.raises(ClientError, match="between 1 and 10"):
        sqs.list_message_move_tasks(SourceArn=dead_arn, MaxResults=11)
