"""A queue's messages on the screen: a sample as a table, and one message whole."""

from datetime import UTC, datetime
from typing import Final

from shared.aws.clock import timestamp
from tools.operations.queues import Queue, QueueMessage
from tools.orders_cli.failure import CommandFailed
from tools.orders_cli.output import print_fields, print_json, print_line, print_notice, print_table

MOST: Final = 1_000
"""How many messages are received to find one by its id."""


def show_list(queue: Queue, limit: int, *, json: bool) -> None:
    """A sample of the messages."""
    with queue.sample(limit) as found:
        count = queue.count() + len(found)
    if json:
        print_json({"about": count, "messages": [_as_json(message) for message in found]})
        return
    print_table(
        ("message", "sent", "order", "reason", "errors"),
        (
            (
                message.message_id,
                sent_at(message),
                message.order_id,
                message.attribute("reasonCode"),
                message.attribute("fieldErrors"),
            )
            for message in found
        ),
    )
    print_notice(f"a sample of {len(found)} of about {count} messages: SQS cannot list a queue; all are visible again")


def show_one(queue: Queue, message_id: str, *, json: bool) -> None:
    """One message with its body."""
    with queue.find(message_id, MOST) as message:
        found = known(message, message_id)
    if json:
        print_json({**_as_json(found), "body": found.body})
        return
    print_fields(_as_json(found))
    print_line(found.body)


def known(message: QueueMessage | None, message_id: str | None) -> QueueMessage:
    """The message. Raises `CommandFailed` when it was not found."""
    if message is None:
        raise CommandFailed(f"message {message_id} is not among {MOST} received: list again, it may be hidden for now")
    return message


def sent_at(message: QueueMessage) -> str | None:
    """When the message was sent."""
    milliseconds = message.message.get("Attributes", {}).get("SentTimestamp")
    return None if milliseconds is None else timestamp(datetime.fromtimestamp(int(milliseconds) / 1000, UTC))


def _as_json(message: QueueMessage) -> dict[str, object]:
    return {
        "messageId": message.message_id,
        "sent": sent_at(message),
        "received": message.message.get("Attributes", {}).get("ApproximateReceiveCount"),
        "orderId": message.order_id,
        "reasonCode": message.attribute("reasonCode"),
        "fieldErrors": message.attribute("fieldErrors"),
        "sourceMessageId": message.attribute("sourceMessageId"),
    }
