"""The pipeline's events and counts, as a consumer of the bus and CloudWatch have them."""

import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from publisher.events import DETAIL_TYPES
from shared.ledger.entry import LedgerEntry

NAMESPACE = "Orders"
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Event:
    """The event of an order's transition."""

    order_id: str
    version: int
    detail_type: str


def of_ledger(entries: Iterable[LedgerEntry]) -> set[Event]:
    """The events of all transitions in the ledger."""
    return {
        Event(entry.order_id, version, DETAIL_TYPES[step.state])
        for entry in entries
        for version, step in enumerate(entry.history, 1)
    }


def states_of_ledger(entries: Iterable[LedgerEntry]) -> Counter[str]:
    """How often the orders reached each state."""
    return Counter(step.state.value for entry in entries for step in entry.history)


class Consumer:
    """A queue that gets every event of the bus."""

    def __init__(self, stack: Any) -> None:
        self._sqs = stack.client("sqs")
        self._cloudwatch = stack.client("cloudwatch")
        events, bus = stack.client("events"), stack.outputs["OrderEventsBusName"]
        self._queue = self._sqs.create_queue(QueueName="events-of-orders")["QueueUrl"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])["Attributes"]
        events.put_rule(Name="all", EventBusName=bus, EventPattern=json.dumps({"source": ["orders"]}))
        target = {"Id": "queue", "Arn": attributes["QueueArn"]}
        events.put_targets(Rule="all", EventBusName=bus, Targets=[target])
        self._events: list[Event] = []

    def events(self) -> Sequence[Event]:
        """All events so far, repeats too."""
        received = {"QueueUrl": self._queue, "MaxNumberOfMessages": 10}
        while messages := self._sqs.receive_message(**received).get("Messages"):
            for message in messages:
                event = json.loads(message["Body"])
                detail = event["detail"]
                self._events.append(Event(detail["orderId"], detail["version"], event["detail-type"]))
            receipts = [{"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate(messages)]
            self._sqs.delete_message_batch(QueueUrl=self._queue, Entries=receipts)
        return self._events

    def counted(self) -> Counter[str]:
        """The sum of the metric `Transitions` by state."""
        now, counted = datetime.now(UTC), Counter[str]()
        for metric in self._cloudwatch.list_metrics(Namespace=NAMESPACE, MetricName="Transitions")["Metrics"]:
            points = self._cloudwatch.get_metric_statistics(
                **metric,
                StartTime=now - timedelta(hours=3),
                EndTime=now + timedelta(minutes=1),
                Period=3600,
                Statistics=["Sum"],
            )["Datapoints"]
            (state,) = [pair["Value"] for pair in metric["Dimensions"] if pair["Name"] == "State"]
            counted[state] += round(sum(point["Sum"] for point in points))
        return counted

    def wait_for(self, entries: Sequence[LedgerEntry], timeout_seconds: float) -> None:
        """Wait until each transition has its event and is counted, or until the timeout."""
        wanted, states = of_ledger(entries), states_of_ledger(entries)
        deadline = time.monotonic() + timeout_seconds
        while not (wanted <= set(self.events()) and states <= self.counted()) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
