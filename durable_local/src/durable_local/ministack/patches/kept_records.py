"""What MiniStack keeps of each write, event and metric, in less memory: an order of 140 KB was 93 KB of these.

- DynamoDB keeps a stream's records for 24 hours, and so does MiniStack: as dicts, with two whole items in each. Here a
  record is compressed text until it is read.
- MiniStack keeps every event of EventBridge in a list that nothing reads. Archives have their own.
- A metric's values each have a copy of the dimensions, which are the same for all values of a metric.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Sequence
from typing import Any, overload

from .patching import Original, Patch

Record = dict[str, Any]

DYNAMODB = "ministack.services.dynamodb"
CLOUDWATCH = "ministack.services.cloudwatch"
FASTEST = 1

patch = Patch(__name__)
streams = patch.uses(DYNAMODB, "_stream_records")
live_records = patch.uses(DYNAMODB, "_live_stream_records")
retention_seconds = patch.uses(DYNAMODB, "_STREAM_RETENTION_SECONDS")
values_of = patch.uses(CLOUDWATCH, "_metric_bucket")
key_of = patch.uses(CLOUDWATCH, "_dims_key")


class PackedRecords(Sequence[Record]):
    """The records of a stream, oldest first: each a new dict when it is read. Has what MiniStack uses of a list."""

    def __init__(self) -> None:
        self._packed: list[tuple[float, bytes]] = []

    def append(self, record: Record) -> None:
        """Adds the newest record."""
        created = record["dynamodb"]["ApproximateCreationDateTime"]
        self._packed.append((created, zlib.compress(json.dumps(record).encode(), FASTEST)))

    def begin_after(self, moment: float) -> bool:
        """Whether no record was created before it, in seconds since 1970."""
        return all(created >= moment for created, _ in self._packed[:1])

    @overload
    def __getitem__(self, place: int) -> Record: ...
    @overload
    def __getitem__(self, place: slice) -> list[Record]: ...
    def __getitem__(self, place: int | slice) -> Record | list[Record]:
        if isinstance(place, slice):
            return [_unpacked(packed) for _, packed in self._packed[place]]
        return _unpacked(self._packed[place][1])

    def __delitem__(self, place: slice) -> None:
        del self._packed[place]

    def __len__(self) -> int:
        return len(self._packed)


def _unpacked(packed: bytes) -> Record:
    record: Record = json.loads(zlib.decompress(packed))
    return record


@patch.replaces(DYNAMODB, "_emit_stream_event")
def emit(original: Original, table: str, *change: Any, **named: Any) -> None:
    """Adds the record of a write to the table's stream, if it has one."""
    streams.get().setdefault(table, PackedRecords())
    original(table, *change, **named)


@patch.replaces(DYNAMODB, "_trim_stream_records")
def trim(original: Original, table: str, *, account_id: str | None = None, region: str | None = None) -> None:
    """Looks at the age of records only when the oldest has expired: MiniStack asks at each write and each read."""
    records = live_records.call(table, account_id, region)
    if not isinstance(records, PackedRecords) or not records.begin_after(time.time() - retention_seconds.get()):
        original(table, account_id=account_id, region=region)


@patch.replaces("ministack.services.eventbridge", "_events_log_list")
def events_log(_original: Original) -> list[Record]:
    """A list that is not kept."""
    return []


@patch.replaces(CLOUDWATCH, "record_metric")
def record_metric(  # noqa: PLR0917 - MiniStack's signature
    original: Original,
    namespace: str,
    name: str,
    value: float,
    unit: str = "None",
    dimensions: dict[str, str] | None = None,
) -> None:
    """Adds a value, with the dimensions of the first one."""
    original(namespace, name, value, unit, dimensions)
    # Without any, another thread has just dropped the old ones.
    if values := values_of.call((namespace, name, key_of.call(dimensions or {}))):
        values[-1]["Dimensions"] = values[0]["Dimensions"]
