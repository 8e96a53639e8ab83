"""CloudWatch metrics in the namespace `Orders`, written to the log in the embedded metric format.

Each has the dimensions `service` and `FunctionName`. Lambda drops these lines if the log level is above INFO.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

NAMESPACE: Final = "Orders"

MAX_VALUES: Final = 100
"""The most values of a metric in one line, by the embedded metric format."""

# Units by the end of a metric's name; every other metric is a count.
_DURATION_SUFFIX: Final = "Milliseconds"


class FunctionMetrics:
    """The metrics of one function."""

    def __init__(self, service: str) -> None:
        self._service = service

    def emit(self, function_name: str, values: Mapping[str, Sequence[float]], **dimensions: str) -> None:
        """Write the values of each metric, with `dimensions` beside the two that every metric has.

        A name that ends in `Milliseconds` is a time, every other a count. A metric without values is left out.
        """
        for start in range(0, max(map(len, values.values())), MAX_VALUES):
            part = {name: series[start : start + MAX_VALUES] for name, series in values.items()}
            self._write(function_name, {name: series for name, series in part.items() if series}, dimensions)

    def _write(self, function_name: str, values: Mapping[str, Sequence[float]], dimensions: Mapping[str, str]) -> None:
        metrics = EphemeralMetrics(namespace=NAMESPACE, service=self._service)
        metrics.add_dimension("FunctionName", function_name)
        for dimension, named in dimensions.items():
            metrics.add_dimension(dimension, named)
        for name, (first, *others) in values.items():
            unit = MetricUnit.Milliseconds if name.endswith(_DURATION_SUFFIX) else MetricUnit.Count
            metrics.add_metric(name, unit, first)
            # Each `add_metric` formats all values so far for a line at the level DEBUG.
            metrics.metric_set[name]["Value"] += map(float, others)
        metrics.flush_metrics()
