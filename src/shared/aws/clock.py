"""The time, as the pipeline writes it: UTC, ISO 8601, to the millisecond.

For people to read. What happened first is never decided by it: the ledger's `version` does that.
"""

from datetime import UTC, datetime


def utc_now() -> str:
    """The time now, such as `2026-02-08T20:58:24.548Z`."""
    return timestamp(datetime.now(UTC))


def timestamp(moment: datetime) -> str:
    """A moment with its zone, as the pipeline writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
