"""Reads the order in a message's body."""

from shared.errors import FieldError, InvalidOrder
from shared.orders.exact_json import parse_json
from shared.orders.order import Order, order_from

# Services that can send to a queue and wrap the message: the service, its envelope's fields, and how to turn that off.
_ENVELOPES: tuple[tuple[str, frozenset[str], str], ...] = (
    (
        "SNS",
        frozenset({"Type", "MessageId", "TopicArn", "Message"}),
        "enable raw message delivery on the subscription",
    ),
    (
        "EventBridge",
        frozenset({"detail-type", "source", "detail"}),
        'set the target\'s InputPath to "$.detail" for raw delivery',
    ),
)


def order_in(body: str) -> Order:
    """The order in a body. Raises `NotJson`, `InvalidOrder` or `OrderTooLarge`."""
    data = parse_json(body)
    if isinstance(data, dict):
        for service, fields, remedy in _ENVELOPES:
            if fields <= data.keys():
                raise InvalidOrder([FieldError("", f"the message is wrapped by {service}: {remedy}")])
    return order_from(data)
