"""Sends orders to the orders queue in batches. An order that is sent twice starts once, so a send can be repeated."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from shared.orders.order import Order

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

MAX_MESSAGES: Final = 10
MAX_REQUEST_BYTES: Final = 1024 * 1024
"""SQS's limits for one SendMessageBatch."""

_MAX_ROUNDS: Final = 5
"""How often a message is sent that SQS did not take."""

GroupBy = Literal["customerId"]


@dataclass(frozen=True)
class Unsent:
    """An order that SQS did not take, with SQS's error code."""

    order_id: str
    code: str


@dataclass(frozen=True)
class _Message:
    order_id: str
    body: str
    group_id: str | None

    def entry(self, number: int) -> dict[str, Any]:
        group = {} if self.group_id is None else {"MessageGroupId": self.group_id}
        return {"Id": str(number), "MessageBody": self.body, **group}


def send(
    orders: Iterable[Order],
    sqs: "SQSClient",
    queue_url: str,
    group_by: GroupBy | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[tuple[int, list[Unsent]]]:
    """Send the orders; for each batch, how many SQS took, and those that it did not take in five rounds.

    `group_by` sets the message group to the order's customer, for SQS's fair queues. Raises botocore's errors.
    """
    for batch in _batches(_message(order, group_by) for order in orders):
        left, refused = list(batch), list[Unsent]()
        for round_ in range(_MAX_ROUNDS):
            if round_:
                sleep(0.1 * 2**round_)
            response = sqs.send_message_batch(
                QueueUrl=queue_url,
                Entries=[message.entry(number) for number, message in enumerate(left)],  # type: ignore[misc]
            )
            failures = [(left[int(failure["Id"])].order_id, failure) for failure in response.get("Failed", [])]
            # The sender's fault stays the same in every round.
            refused += [Unsent(order_id, failure["Code"]) for order_id, failure in failures if failure["SenderFault"]]
            throttled = [
                Unsent(order_id, failure["Code"]) for order_id, failure in failures if not failure["SenderFault"]
            ]
            left = [left[int(failure["Id"])] for _, failure in failures if not failure["SenderFault"]]
            if not left:
                break
        unsent = [*refused, *throttled]
        yield len(batch) - len(unsent), unsent


def _message(order: Order, group_by: GroupBy | None) -> _Message:
    # In ASCII: SQS refuses some characters, such as U+FFFE.
    body = json.dumps(order.canonical(), separators=(",", ":"))
    return _Message(order.order_id, body, order.customer_id if group_by else None)


def _batches(messages: Iterable[_Message]) -> Iterator[Sequence[_Message]]:
    batch: list[_Message] = []
    size = 0
    for message in messages:
        if len(batch) == MAX_MESSAGES or size + len(message.body) > MAX_REQUEST_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += len(message.body)
    if batch:
        yield batch
