"""Times as the pipeline writes them: UTC, ISO 8601, milliseconds.

They are for people to read. The code never orders events by them; it uses the ledger's `version`.
"""

from datetime import UTC, datetime


def utc_now() -> str:
    """The time now, such as `2026-02-08T20:58:24.548Z`."""
    return timestamp(datetime.now(UTC))


def timestamp(moment: datetime) -> str:
    """A time-zone-aware moment in the pipeline's format."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
