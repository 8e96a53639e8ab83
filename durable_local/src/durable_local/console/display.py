"""How values look: times, durations, JSON, statuses. They are template filters."""

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

from markupsafe import Markup

from durable_local.executions import function_of

UNITS = (("d", 86_400), ("h", 3600), ("min", 60))
STATUS_MARKS = {
    "RUNNING": "●",
    "PAUSING": "◐",
    "PAUSED": "❚❚",
    "SUCCEEDED": "✓",
    "COMPLETED": "✓",
    "FAILED": "✕",
    "TIMED_OUT": "✕",
    "STOPPED": "■",
    "CANCELLED": "■",
    "DELETING": "■",
}


def duration(length: timedelta | float) -> str:
    """The two largest units: `1 d 4 h`, `3 min 5 s`, `2.4 s`, `35 ms`."""
    seconds = length.total_seconds() if isinstance(length, timedelta) else length
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 60:
        return f"{math.floor(seconds * 10) / 10:g} s"
    left = int(seconds)
    parts: list[str] = []
    for unit, size in (*UNITS, ("s", 1)):
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {unit}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(filter(None, parts))


def moment(time: datetime) -> Markup:
    """A time in UTC, which the page's script shows in the viewer's zone, with UTC on hover."""
    utc = time.astimezone(UTC)
    text = f"{utc:%Y-%m-%d %H:%M:%S} UTC"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(utc.isoformat(), text, text)


def pretty(value: Any) -> str:
    """JSON, or a text that has JSON in it, on many lines; any other text as it is."""
    text = str(value)
    try:
        content = json.loads(text) if isinstance(value, str) else value
        return json.dumps(content, indent=2, ensure_ascii=False, default=str)
    except ValueError:
        return text


def status(name: str) -> Markup:
    """A status as a badge: a mark, and the name in words."""
    words = name.replace("_", " ").lower()
    return Markup('<span class="status status-{}"><span aria-hidden="true">{}</span> {}</span>').format(
        name.lower().replace("_", "-"), STATUS_MARKS.get(name, "●"), words
    )


FILTERS = {"duration": duration, "moment": moment, "pretty": pretty, "status": status, "function_of": function_of}
