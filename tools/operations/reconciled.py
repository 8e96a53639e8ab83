"""What the reconciler and its sweep found and did: the sweep's metrics, and the lines of both in their logs."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final

from shared.aws.metrics import NAMESPACE

METRICS: Final = ("ExecutionsEndedBadly", "StuckOrders", "SweepEnded", "SweepFailed", "SweepLeft")
_MAX_LOG_PAGES: Final = 20
_SWEPT: Final = "swept"
_PATTERN: Final = f'{{ ($.message = "{_SWEPT}") || ($.level = "WARNING") || ($.level = "ERROR") }}'
_KNOWN: Final = frozenset(
    "level message timestamp service cold_start function_name function_memory_size function_arn function_request_id "
    "xray_trace_id correlation_id orderId executionArn exception exception_name stack_trace messageId".split()
)
"""Fields of a line that are shown elsewhere, or that are the same for all lines of a function."""


@dataclass(frozen=True)
class Sweeps:
    """The sum of each metric of METRICS over a window, and how many sweeps ran."""

    count: int
    sums: Mapping[str, int]


@dataclass(frozen=True)
class Line:
    """A line of a log. `facts`: its other fields."""

    at: datetime
    part: str
    level: str
    message: str
    order_id: str | None
    execution_arn: str | None
    facts: Mapping[str, Any]

    @property
    def is_idle(self) -> bool:
        """Whether it is of a sweep that found nothing."""
        return self.message == _SWEPT and not self.facts.get("cases")


@dataclass(frozen=True)
class Lines:
    """The newest lines, newest first, and the last sweep. `complete`: the window has no more log pages."""

    lines: list[Line]
    last_sweep: Line | None
    complete: bool


def sweeps(cloudwatch: Any, sweep: str, since: datetime, until: datetime) -> Sweeps:
    """What the sweeps of at most a day counted. `sweep` is the function's name. Raises AWS's errors."""
    count, sums = 0, {}
    for metric in METRICS:
        points = cloudwatch.get_metric_statistics(
            Namespace=NAMESPACE,
            MetricName=metric,
            Dimensions=[{"Name": "FunctionName", "Value": sweep}, {"Name": "service", "Value": "reconciler"}],
            StartTime=since,
            EndTime=until,
            Period=3600,
            Statistics=["Sum", "SampleCount"],
        )["Datapoints"]
        sums[metric] = int(sum(point["Sum"] for point in points))
        count = max(count, int(sum(point["SampleCount"] for point in points)))
    return Sweeps(count, sums)


def lines(logs: Any, functions: Mapping[str, str], since: datetime, most: int) -> Lines:
    """What the functions found and did, from their logs: at most `most` lines. `functions`: names by part.

    Sweeps that found nothing are left out. Raises AWS's errors.
    """
    found: list[Line] = []
    complete = True
    for part, function in functions.items():
        pages = iter(
            logs.get_paginator("filter_log_events").paginate(
                logGroupName=f"/aws/lambda/{function}",
                startTime=int(since.timestamp() * 1000),
                filterPattern=_PATTERN,
            )
        )
        found += (line for page in islice(pages, _MAX_LOG_PAGES) for line in _lines_of(page, part))
        complete = complete and next(pages, None) is None
    found.sort(key=lambda line: line.at, reverse=True)
    last_sweep = next((line for line in found if line.message == _SWEPT), None)
    return Lines([line for line in found if not line.is_idle][:most], last_sweep, complete)


def _lines_of(page: Any, part: str) -> Iterator[Line]:
    for event in page["events"]:
        try:
            fields = json.loads(event["message"])
        except ValueError:
            continue
        if isinstance(fields, dict) and isinstance(fields.get("message"), str):
            yield Line(
                datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=event["timestamp"]),
                part,
                str(fields.get("level", "")),
                fields["message"],
                _text(fields.get("orderId")),
                _text(fields.get("executionArn")),
                {name: value for name, value in fields.items() if name not in _KNOWN and value is not None},
            )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
