"""How long orders took and what they cost, over many orders in constant memory."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final

from shared.aws.metrics import NAMESPACE
from shared.ledger.entry import LedgerEntry
from shared.ledger.states import TERMINAL, State
from tools.operations.costs import ASSUMED, Assumptions, Deployment, charges, cost

PERCENTILES: Final = (50, 95, 99)

_GROWTH: Final = math.log(1.02)
"""A bucket of a histogram is 2 % wide, so a value read from its middle is off by at most 1 %."""

_MINUTE: Final = timedelta(minutes=1)

_MAX_PERIOD: Final = timedelta(days=1)
"""CloudWatch's longest period for one percentile."""


@dataclass
class Histogram:
    """Times in seconds, in buckets that grow by 2 %: about 1,300 from a millisecond to a year."""

    buckets: Counter[int] = field(default_factory=Counter)
    count: int = 0

    def add(self, seconds: float) -> None:
        """Count one time. Less than a millisecond counts as one."""
        self.buckets[round(math.log(max(seconds, 0.001)) / _GROWTH)] += 1
        self.count += 1

    def percentile(self, percent: float) -> float | None:
        """The smallest time that at least this part of the times do not exceed, within 1 %. None without times."""
        left = math.ceil(self.count * percent / 100)
        for bucket, number in sorted(self.buckets.items()):
            left -= number
            if left <= 0:
                return self.seconds(bucket)
        return None

    def seconds(self, bucket: int) -> float:
        """The middle of a bucket."""
        return math.exp(bucket * _GROWTH)

    def percentiles(self) -> dict[str, float | None]:
        """By name: `p50`, `p95` and `p99`."""
        return {f"p{percent}": self.percentile(percent) for percent in PERCENTILES}


@dataclass
class Statistics:
    """What the ended orders took. Times are those of the last attempt, in seconds; `usd` is the sum at list price.

    `total`: from the first transition to the end. `outside_steps`: between enrich and finalize, the wait included; only
    orders that reached FINALIZING have it. `complete`: no more orders were there to read.
    """

    read: int = 0
    complete: bool = True
    total: Histogram = field(default_factory=Histogram)
    outside_steps: Histogram = field(default_factory=Histogram)
    usd: float = 0.0

    @property
    def usd_per_order(self) -> float | None:
        """The mean, None without orders."""
        return self.usd / self.read if self.read else None


def statistics(
    entries: Iterable[LedgerEntry], limit: int, deployment: Deployment, assumed: Assumptions = ASSUMED
) -> Statistics:
    """The statistics of at most `limit` ended orders."""
    found = Statistics()
    remaining = iter(entries)
    for entry in islice(remaining, limit):
        found.read += 1
        found.usd += cost(charges(entry, deployment, assumed))
        times = {step.state: datetime.fromisoformat(step.at) for step in entry.history if step.attempt == entry.attempt}
        found.total.add((times[entry.state] - times[State.RECEIVED]).total_seconds())
        if State.FINALIZING in times:
            found.outside_steps.add((times[State.FINALIZING] - times[State.WAITING]).total_seconds())
    found.complete = next(remaining, None) is None
    return found


def queue_times(cloudwatch: Any, ingest: str, since: datetime, until: datetime) -> dict[str, float | None]:
    """The percentiles of the messages' times in the orders queue in seconds, from the metric that ingest emits.

    CloudWatch gives a percentile for at most one day. Of more days it is that of the worst day. `ingest` is the name of
    the function. Raises AWS's errors.
    """
    points = _points(
        cloudwatch,
        NAMESPACE,
        "QueueMilliseconds",
        {"FunctionName": ingest, "service": "ingest"},
        (since, until),
        ExtendedStatistics=[f"p{percent}" for percent in PERCENTILES],
    )
    return {
        f"p{percent}": max((point["ExtendedStatistics"][f"p{percent}"] / 1000 for point in points), default=None)
        for percent in PERCENTILES
    }


@dataclass(frozen=True)
class Flow:
    """What moved in a window, from the publisher's metrics.

    `minutes`: how many transitions led to each state, by the minute, oldest first, with zeros. `p50` and `p95`: seconds
    from the start to the end of the attempts that completed, None if none did.
    """

    since: datetime
    minutes: Mapping[State, Sequence[int]]
    p50: float | None
    p95: float | None

    def total(self, state: State) -> int:
        """How many orders reached a state in the window."""
        return sum(self.minutes[state])

    @property
    def ended(self) -> list[int]:
        """How many orders ended, by the minute."""
        return [sum(each) for each in zip(*(self.minutes[state] for state in TERMINAL), strict=True)]


def flow(cloudwatch: Any, publisher: str, since: datetime, until: datetime) -> Flow:
    """What moved in at most a day, by one request for each state. `publisher` is the function's name.

    The metrics are some seconds late, and on AWS up to a minute or two. Raises AWS's errors.
    """
    since = since.replace(second=0, microsecond=0)
    count = math.ceil((until - since) / _MINUTE)

    def dimensions(state: State) -> dict[str, str]:
        return {"FunctionName": publisher, "service": "publisher", "State": state}

    def by_minute(state: State) -> list[int]:
        minutes = [0] * count
        for point in _points(
            cloudwatch, NAMESPACE, "Transitions", dimensions(state), (since, until), period=_MINUTE, Statistics=["Sum"]
        ):
            place = (point["Timestamp"] - since) // _MINUTE
            if 0 <= place < count:
                minutes[place] += int(point["Sum"])
        return minutes

    times = _points(
        cloudwatch,
        NAMESPACE,
        "OrderMilliseconds",
        dimensions(State.COMPLETED),
        (since, until),
        ExtendedStatistics=["p50", "p95"],
    )
    # The window can touch two periods: the slower one counts.
    slowest: Mapping[str, float] = max(
        (point["ExtendedStatistics"] for point in times), key=lambda each: float(each["p95"]), default={}
    )
    p50, p95 = (slowest[name] / 1000 if name in slowest else None for name in ("p50", "p95"))
    return Flow(since, {state: by_minute(state) for state in (State.RECEIVED, *TERMINAL)}, p50, p95)


def measured(cloudwatch: Any, functions: Mapping[str, str], since: datetime, until: datetime) -> Assumptions:
    """The assumptions, with the mean duration of each function where CloudWatch has it. Raises AWS's errors.

    `functions` are the names of the functions, by `ingest`, `orchestrator`, `enricher`, `publisher` and `reconciler`.
    """
    means = {}
    for part, name in functions.items():
        points = _points(
            cloudwatch,
            "AWS/Lambda",
            "Duration",
            {"FunctionName": name},
            (since, until),
            Statistics=["Sum", "SampleCount"],
        )
        if count := sum(point["SampleCount"] for point in points):
            means[part] = sum(point["Sum"] for point in points) / count
    orchestrator = means.pop("orchestrator", None)
    found = {f"{part}_ms": mean for part, mean in means.items()}
    if orchestrator is not None:
        found |= {"first_invocation_ms": orchestrator, "next_invocation_ms": orchestrator}
    return replace(ASSUMED, **found)


def _points(
    cloudwatch: Any,
    namespace: str,
    metric: str,
    dimensions: Mapping[str, str],
    window: tuple[datetime, datetime],
    *,
    period: timedelta | None = None,
    **statistics: list[str],
) -> list[Any]:
    """One point for each period; without one, for each day of the window, or one for a shorter window."""
    since, until = window
    period = period or min(until - since, _MAX_PERIOD)
    found: list[Any] = cloudwatch.get_metric_statistics(
        Namespace=namespace,
        MetricName=metric,
        Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
        StartTime=since,
        EndTime=until,
        Period=math.ceil(period / _MINUTE) * 60,
        **statistics,
    )["Datapoints"]
    return found
