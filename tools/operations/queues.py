"""Looks into the rejected-orders queue and the dead-letter queues, and takes messages out of them.

SQS has no list of a queue's messages. A receive returns some of them and hides them for a while, so each look is a
sample, and each message that is not taken is made visible again at once. Every receive counts as one.
"""

import json
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

_HIDDEN_SECONDS: Final = 120
"""How long a received message is hidden, should the process die before it makes the message visible again."""

_BATCH: Final = 10
_EMPTY_RECEIVES: Final = 3
"""A receive can be empty though there are messages, because SQS asks a part of its servers."""


@dataclass(frozen=True)
class QueueMessage:
    """A message of a queue, as SQS returned it."""

    message: "MessageTypeDef"

    @property
    def message_id(self) -> str:
        """SQS's id of the message."""
        return self.message["MessageId"]

    @property
    def body(self) -> str:
        """The body, unchanged."""
        return self.message["Body"]

    def attribute(self, name: str) -> str | None:
        """A message attribute that is a string."""
        found = self.message.get("MessageAttributes", {}).get(name)
        return None if found is None else found.get("StringValue")

    @property
    def order_id(self) -> str | None:
        """The order id in the body, if the body has one."""
        try:
            data = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        order_id = data.get("orderId") if isinstance(data, dict) else None
        return order_id if isinstance(order_id, str) else None


@dataclass(frozen=True)
class Queue:
    """A queue, by its URL. Every method raises botocore's errors."""

    sqs: "SQSClient"
    url: str

    def count(self) -> int:
        """About how many messages are visible."""
        return int(self._attribute("ApproximateNumberOfMessages"))

    @property
    def arn(self) -> str:
        """The queue's ARN."""
        return self._attribute("QueueArn")

    @contextmanager
    def sample(self, limit: int, wanted: Collection[str] = ()) -> Iterator[list[QueueMessage]]:
        """Up to `limit` messages, which are hidden inside the `with` block and visible again after it.

        `wanted`: ids of messages. No more are received once these were found.
        """
        found: dict[str, QueueMessage] = {}
        try:
            for batch in self._received(limit):
                found |= {message.message_id: message for message in batch}
                if wanted and found.keys() >= {*wanted}:
                    break
            yield list(found.values())
        finally:
            self._show_again(list(found.values()))

    @contextmanager
    def find(self, message_id: str, most: int) -> Iterator[QueueMessage | None]:
        """The message with this id among up to `most`, or None. It is hidden inside the `with` block."""
        with self.sample(most, [message_id]) as found:
            yield next((message for message in found if message.message_id == message_id), None)

    def purge(self) -> None:
        """Delete every message. SQS takes up to a minute."""
        self.sqs.purge_queue(QueueUrl=self.url)

    def _received(self, limit: int) -> Iterator[list[QueueMessage]]:
        empty = count = 0
        while count < limit and empty < _EMPTY_RECEIVES:
            response = self.sqs.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=min(_BATCH, limit - count),
                VisibilityTimeout=_HIDDEN_SECONDS,
                WaitTimeSeconds=0,
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["All"],
            )
            messages = response.get("Messages", [])
            empty = 0 if messages else empty + 1
            count += len(messages)
            yield [QueueMessage(message) for message in messages]

    def _show_again(self, messages: Sequence[QueueMessage]) -> None:
        # A message that was deleted meanwhile is among the failed entries, which need nothing.
        for first in range(0, len(messages), _BATCH):
            self.sqs.change_message_visibility_batch(
                QueueUrl=self.url,
                Entries=[
                    {"Id": str(number), "ReceiptHandle": one.message["ReceiptHandle"], "VisibilityTimeout": 0}
                    for number, one in enumerate(messages[first : first + _BATCH])
                ],
            )

    def _attribute(self, name: str) -> str:
        response = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=[name])  # type: ignore[list-item]
        return response["Attributes"][name]  # type: ignore[index]


@dataclass(frozen=True)
class Moved:
    """A move of dead letters: SQS's status and about how many messages are moved."""

    status: str
    messages: int


def redrive(
    source: Queue, destination: Queue, per_second: int, sleep: Callable[[float], None] = time.sleep
) -> Iterator[Moved]:
    """Move a dead-letter queue's visible messages to another queue by SQS's task, and say each second how far it is.

    The task goes on in SQS when this process dies, and each message is in one of the two queues. Raises botocore's
    errors.
    """
    source_arn = source.arn
    tasks = source.sqs.list_message_move_tasks(SourceArn=source_arn, MaxResults=1)["Results"]
    if not tasks or tasks[0].get("Status") != "RUNNING":
        source.sqs.start_message_move_task(
            SourceArn=source_arn, DestinationArn=destination.arn, MaxNumberOfMessagesPerSecond=per_second
        )
    while True:
        (task,) = source.sqs.list_message_move_tasks(SourceArn=source_arn, MaxResults=1)["Results"]
        moved = Moved(task.get("Status", "RUNNING"), task.get("ApproximateNumberOfMessagesMoved", 0))
        yield moved
        if moved.status not in {"RUNNING", "CANCELLING"}:
            return
        sleep(1)
