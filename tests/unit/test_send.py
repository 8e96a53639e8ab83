"""Orders in batches and SQS's partial failures."""

import json

import pytest

from shared.orders.order import order_from, parse_order
from tests.unit.orders import order_of
from tools.operations.send import MAX_REQUEST_BYTES, Unsent, send
from tools.sample_data import generated_orders


class Queue:
    """A queue that counts requests and can refuse messages."""

    def __init__(self):
        self.requests = []
        self.refusals = []

    def send_message_batch(self, Entries, **_):  # noqa: N803
        self.requests.append(Entries)
        refused = self.refusals.pop(0) if self.refusals else {}
        return {
            "Failed": [
                {"Id": entry["Id"], "Code": code, "SenderFault": fault}
                for entry in Entries
                for code, fault in [refused.get(json.loads(entry["MessageBody"])["orderId"], (None, None))]
                if code
            ]
        }

    @property
    def sizes(self):
        return [len(request) for request in self.requests]


@pytest.fixture
def queue():
    return Queue()


def orders(*ids):
    return [parse_order(json.dumps({"orderId": order_id})) for order_id in ids]


def sent(queue, given, **options):
    results = list(send(given, queue, "url", sleep=lambda _: None, **options))
    return sum(count for count, _ in results), [one for _, unsent in results for one in unsent]


def test_orders_are_sent_ten_at_a_time(queue):
    assert sent(queue, generated_orders(25)) == (25, [])
    assert queue.sizes == [10, 10, 5]


def test_a_batch_is_at_most_one_mebibyte(queue):
    # Four bytes in UTF-8 and twelve in ASCII for each character.
    attributes = {f"{number}": "\N{PACKAGE}" * 256 for number in range(50)}
    large = [order_from({"orderId": f"L-{number}", "attributes": attributes}) for number in range(10)]
    assert sent(queue, large) == (10, [])
    sizes = [sum(len(entry["MessageBody"].encode()) for entry in request) for request in queue.requests]
    assert len(sizes) == 2
    assert max(sizes) <= MAX_REQUEST_BYTES


def test_the_message_is_the_same_order(queue):
    order = order_from(order_of(1_000) | {"attributes": {"name": "\N{PACKAGE}\uffff"}})
    sent(queue, [order])
    assert parse_order(queue.requests[0][0]["MessageBody"]) == order


def test_messages_that_sqs_did_not_take_are_sent_again_alone(queue):
    queue.refusals = [{"B": ("InternalError", False)}, {"B": ("InternalError", False)}]
    assert sent(queue, orders("A", "B", "C")) == (3, [])
    assert queue.sizes == [3, 1, 1]


def test_a_message_that_sqs_never_takes_is_listed(queue):
    queue.refusals = [{"B": ("InternalError", False)}] * 5
    assert sent(queue, orders("A", "B", "C")) == (2, [Unsent("B", "InternalError")])
    assert queue.sizes == [3, 1, 1, 1, 1]


def test_a_fault_of_the_sender_is_listed_and_not_sent_again(queue):
    queue.refusals = [{"A": ("InvalidMessageContents", True), "B": ("InternalError", False)}]
    assert sent(queue, orders("A", "B", "C")) == (2, [Unsent("A", "InvalidMessageContents")])
    assert queue.sizes == [3, 1]


def test_the_message_group_is_the_customer(queue):
    given = [order_from({"orderId": "A", "customerId": "C-1"}), order_from({"orderId": "B"})]
    sent(queue, given, group_by="customerId")
    assert [entry.get("MessageGroupId") for entry in queue.requests[0]] == ["C-1", None]
    sent(queue, given)
    assert "MessageGroupId" not in queue.requests[1][0]
