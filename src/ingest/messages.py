"""From a message's body to the order in it."""

from shared.errors import FieldError, InvalidOrder
from shared.orders.exact_json import parse_json
from shared.orders.order import Order, order_from

# What the envelopes of services that can put messages on a queue look like, and how to take them off.
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
    """The order that the body is. Raises `NotJson`, `InvalidOrder` or `OrderTooLarge`."""
    data = parse_json(body)
    if isinstance(data, dict):
        for service, members, remedy in _ENVELOPES:
            if members <= data.keys():
                raise InvalidOrder([FieldError("", f"the message is wrapped by {service}: {remedy}")])
    return order_from(data)
