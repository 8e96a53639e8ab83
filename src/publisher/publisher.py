"""Publishes the events of a batch of stream records, in the stream's order.

Lambda delivers the records again from the first one that failed. So nothing after it is sent where that can be avoided,
and an event is published at least once. Consumers order an order's events by `version`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from publisher.events import entry_of
from publisher.transitions import NewTransition, new_transitions
from shared.errors import EntryUnreadable

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

MAX_ENTRIES: Final = 10
"""The limit of PutEvents. Its limit of 256 KB is far away: an event has about 1 KB at most."""


@dataclass(frozen=True)
class Published:
    """What became of a batch.

    `transitions` have their event on the bus and are not delivered again. `failed` is the sequence number of the first
    record to deliver again, None when there is none. `unreadable` counts the records that are skipped.
    """

    transitions: Sequence[NewTransition]
    failed: str | None
    unreadable: int


@dataclass(frozen=True)
class Publisher:
    """Publishes to the event bus with this name."""

    client: "EventBridgeClient"
    bus: str
    logger: Logger

    def publish(self, records: Sequence[Mapping[str, Any]]) -> Published:
        """Publish the events of the records until one fails."""
        events: list[tuple[int, NewTransition]] = []
        unreadable = 0
        for index, record in enumerate(records):
            try:
                events += [(index, transition) for transition in new_transitions(record["dynamodb"])]
            except EntryUnreadable as error:
                # Someone edited the item. To deliver the record again would stop all events behind it.
                unreadable += 1
                self.logger.error("event not published", reason=str(error))
        failed = self._first_failure(events)
        done = [transition for index, transition in events if failed is None or index < failed]
        sequence = None if failed is None else records[failed]["dynamodb"]["SequenceNumber"]
        return Published(done, sequence, unreadable)

    def _first_failure(self, events: Sequence[tuple[int, NewTransition]]) -> int | None:
        """Send the events, with the indexes of their records. Returns the first index whose event was not accepted."""
        for start in range(0, len(events), MAX_ENTRIES):
            group = events[start : start + MAX_ENTRIES]
            try:
                answer = self.client.put_events(Entries=[entry_of(transition, self.bus) for _, transition in group])
            except (ClientError, BotoCoreError) as error:
                index, transition = group[0]
                self._log_given_back(transition, f"{type(error).__name__}: {error}")
                return index
            for (index, transition), entry in zip(group, answer["Entries"], strict=True):
                if "ErrorCode" in entry:
                    self._log_given_back(transition, f"{entry['ErrorCode']}: {entry.get('ErrorMessage', '')}")
                    return index
        return None

    def _log_given_back(self, transition: NewTransition, reason: str) -> None:
        self.logger.warning(
            "event given back",
            orderId=transition.order_id,
            version=transition.version,
            attempt=transition.attempt,
            executionArn=transition.execution_arn,
            reason=reason,
        )
