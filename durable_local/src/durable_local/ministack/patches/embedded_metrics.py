"""Makes metrics of log events in CloudWatch's embedded metric format, whoever writes them.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .patching import Original, Patch

if TYPE_CHECKING:
    from collections.abc import Iterator

Metric = tuple[str, str, float, str, dict[str, str]]
"""Namespace, name, value, unit, dimensions."""

patch = Patch(__name__)
record = patch.uses("ministack.services.cloudwatch", "record_metric")


@patch.replaces("ministack.services.cloudwatch_logs", "_append_log_events")
def append(original: Original, stream: Any, events: list[dict[str, Any]]) -> None:
    """Stores the events, and then their metrics."""
    original(stream, events)
    for event in events:
        if '"_aws"' in event["message"]:
            for metric in metrics_in(event["message"]):
                record.call(*metric)


def metrics_in(text: str) -> Iterator[Metric]:
    """The metrics of an event. An event that breaks the format has none."""
    try:
        event = json.loads(text)
        yield from list(_declared(event))
    except (ValueError, KeyError, TypeError, AttributeError):
        return


def _declared(event: dict[str, Any]) -> Iterator[Metric]:
    for directive in event["_aws"]["CloudWatchMetrics"]:
        for names in directive["Dimensions"]:
            dimensions = {name: str(event[name]) for name in names}
            for metric in directive["Metrics"]:
                values = event[metric["Name"]]
                for value in values if isinstance(values, list) else [values]:
                    yield directive["Namespace"], metric["Name"], float(value), metric.get("Unit", "None"), dimensions
