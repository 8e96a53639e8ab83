"""The domain event of each transition, as docs/events/order-event-1.schema.json describes it.

An event contains ids and times, and no value of an order.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from publisher.transitions import NewTransition
from shared.ledger.states import RETRYABLE, State

if TYPE_CHECKING:
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

SOURCE: Final = "orders"
SCHEMA_VERSION: Final = 1

DETAIL_TYPES: Final[Mapping[State, str]] = {
    State.RECEIVED: "OrderReceived",
    State.ENRICHING: "OrderEnriching",
    State.ENRICHED: "OrderEnriched",
    State.WAITING: "OrderWaiting",
    State.FINALIZING: "OrderFinalizing",
    State.COMPLETED: "OrderCompleted",
    State.FAILED: "OrderFailed",
    State.TIMED_OUT: "OrderFailed",
    State.STOPPED: "OrderFailed",
    State.CANCELLED: "OrderCancelled",
}
"""The event's type by the state that the order has reached."""


def detail_of(transition: NewTransition) -> dict[str, Any]:
    """The event's detail. `reason` is the state of an order that failed: FAILED, TIMED_OUT or STOPPED."""
    detail = {
        "schemaVersion": SCHEMA_VERSION,
        "orderId": transition.order_id,
        "version": transition.version,
        "attempt": transition.attempt,
        "at": transition.at,
        "executionArn": transition.execution_arn,
    }
    return {**detail, "reason": transition.state.value} if transition.state in RETRYABLE else detail


def entry_of(transition: NewTransition, bus: str) -> "PutEventsRequestEntryTypeDef":
    """The event as an entry of PutEvents. `bus` is the event bus's name."""
    return {
        "EventBusName": bus,
        "Source": SOURCE,
        "DetailType": DETAIL_TYPES[transition.state],
        "Detail": json.dumps(detail_of(transition)),
        "Time": transition.at,
    }
