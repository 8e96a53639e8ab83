"""Looks into queues on moto: a sample is visible again at once, and a message leaves only after it was sent."""

import pytest
from botocore.exceptions import ClientError

from tools.operations.queues import Moved, Queue, redrive
from tools.operations.resend import resend


@pytest.fixture
def queue(sqs):
    return Queue(sqs, sqs.create_queue(QueueName="rejected", Attributes={"VisibilityTimeout": "240"})["QueueUrl"])


@pytest.fixture
def orders_queue(sqs):
    return sqs.create_queue(QueueName="orders")["QueueUrl"]


def put(queue, *bodies, **options):
    return [queue.sqs.send_message(QueueUrl=queue.url, MessageBody=body, **options)["MessageId"] for body in bodies]


def bodies(queue):
    with queue.sample(1_000) as found:
        return sorted(message.body for message in found)


def test_the_messages_of_a_sample_are_visible_again_at_once(queue):
    put(queue, *(str(number) for number in range(25)))
    with queue.sample(12) as found:
        assert len(found) == 12
        assert queue.count() == 13
    assert queue.count() == 25
    assert len(bodies(queue)) == 25


def test_the_messages_are_visible_again_after_an_interrupt(queue):
    put(queue, "A")
    with pytest.raises(KeyboardInterrupt), queue.sample(10):
        raise KeyboardInterrupt
    assert bodies(queue) == ["A"]


def test_a_message_shows_its_order_and_its_reason(queue):
    reason = {"reasonCode": {"DataType": "String", "StringValue": "INVALID_ORDER"}}
    put(queue, '{"orderId": "A"}', MessageAttributes=reason)
    with queue.sample(1) as [message]:
        assert (message.order_id, message.attribute("reasonCode")) == ("A", "INVALID_ORDER")


@pytest.mark.parametrize("body", ["x", "[1]", '{"orderId": 5}', "[" * 100_000])
def test_a_body_that_is_no_order_has_no_order_id(queue, body):
    put(queue, body)
    with queue.sample(1) as [message]:
        assert message.order_id is None


def test_a_message_is_found_by_its_id_behind_others(queue):
    *_, last = put(queue, *(str(number) for number in range(15)))
    with queue.find(last, most=100) as found:
        assert found.body == "14"
    with queue.find("unknown", most=100) as found:
        assert found is None
    assert queue.count() == 15


def test_a_search_ends_when_all_were_found_and_hides_none_of_what_it_received(queue):
    put(queue, *(str(number) for number in range(35)))
    with queue.sample(1) as [first]:
        wanted = first.message_id
    with queue.sample(35, [wanted]) as found:
        assert wanted in {message.message_id for message in found}
        assert len(found) < 35
    assert queue.count() == 35


def test_a_message_that_is_sent_again_leaves_the_queue(queue, orders_queue):
    first, _ = put(queue, "A", "B")
    with queue.find(first, most=10) as found:
        resend(queue.sqs, queue.url, orders_queue, found.message, "mended")
    assert bodies(queue) == ["B"]
    assert bodies(Queue(queue.sqs, orders_queue)) == ["mended"]


def test_a_message_that_could_not_be_sent_stays(queue):
    (only,) = put(queue, "A")
    with pytest.raises(ClientError), queue.find(only, most=10) as found:
        resend(queue.sqs, queue.url, queue.url + "-gone", found.message)
    assert bodies(queue) == ["A"]


def test_purge_deletes_every_message(queue):
    put(queue, "A", "B")
    queue.purge()
    assert bodies(queue) == []


class MoveTasks:
    """SQS's tasks that move messages, which moto does not have."""

    def __init__(self, *results):
        self.started = []
        self._results = list(results)

    def list_message_move_tasks(self, **_):
        result = self._results.pop(0)
        return {"Results": [] if result is None else [result]}

    def start_message_move_task(self, **parameters):
        self.started.append(parameters)

    def get_queue_attributes(self, QueueUrl, **_):  # noqa: N803
        return {"Attributes": {"QueueArn": f"arn:{QueueUrl}"}}


def test_a_redrive_starts_one_task_and_follows_it_to_its_end():
    sqs = MoveTasks(
        None,
        {"Status": "RUNNING", "ApproximateNumberOfMessagesMoved": 5},
        {"Status": "COMPLETED", "ApproximateNumberOfMessagesMoved": 9},
    )
    moved = list(redrive(Queue(sqs, "dead"), Queue(sqs, "alive"), 50, sleep=lambda _: None))
    assert moved == [Moved("RUNNING", 5), Moved("COMPLETED", 9)]
    assert sqs.started == [{"SourceArn": "arn:dead", "DestinationArn": "arn:alive", "MaxNumberOfMessagesPerSecond": 50}]


def test_a_redrive_follows_the_task_of_a_command_that_died():
    sqs = MoveTasks({"Status": "RUNNING"}, {"Status": "COMPLETED", "ApproximateNumberOfMessagesMoved": 9})
    assert list(redrive(Queue(sqs, "dead"), Queue(sqs, "alive"), 50)) == [Moved("COMPLETED", 9)]
    assert sqs.started == []
