"""Evaluates an alarm on its own metric, as CloudWatch does, whenever alarms are described.

MiniStack takes every metric of the alarm's name, whatever its dimensions, evaluates only at PutMetricData, and has no
effect of TreatMissingData. Here the last EvaluationPeriods are one window: DatapointsToAlarm has no effect.
"""

from __future__ import annotations

import time
from typing import Any

from .patching import Original, Patch

CLOUDWATCH = "ministack.services.cloudwatch"
MISSING = {"breaching": "ALARM", "notBreaching": "OK"}

patch = Patch(__name__)
metrics = patch.uses(CLOUDWATCH, "_metrics")
key_of = patch.uses(CLOUDWATCH, "_dims_key")
dimensions_of = patch.uses(CLOUDWATCH, "_dims_from_list")
statistics_of = patch.uses(CLOUDWATCH, "_calc_stats")
statistic_of = patch.uses(CLOUDWATCH, "_stat_value")
evaluate_all = patch.uses(CLOUDWATCH, "_evaluate_all_alarms")
record = patch.uses(CLOUDWATCH, "_record_history")
act = patch.uses(CLOUDWATCH, "_dispatch_alarm_actions")
tell_composites = patch.uses(CLOUDWATCH, "_evaluate_parent_alarms")

COMPARED = {
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
    "LessThanOrEqualToThreshold": lambda value, threshold: value <= threshold,
}


@patch.replaces(CLOUDWATCH, "_describe_alarms")
def describe(original: Original, *arguments: Any, **named: Any) -> Any:
    """DescribeAlarms, after all alarms are evaluated."""
    evaluate_all.call()
    return original(*arguments, **named)


@patch.replaces(CLOUDWATCH, "_evaluate_alarm")
def evaluate(original: Original, alarm: dict[str, Any]) -> None:
    """Moves the alarm to the state that its metric gives."""
    operator = alarm.get("ComparisonOperator", "")
    if not alarm.get("MetricName") or operator not in COMPARED:
        original(alarm)
        return
    old = alarm["StateValue"]
    new, reason = _state_of(alarm, operator)
    if new == old:
        return
    alarm.update(StateValue=new, StateReason=reason, StateUpdatedTimestamp=int(time.time()))
    record.call(alarm["AlarmName"], old, new, reason)
    act.call(alarm, old, new, reason)
    tell_composites.call(alarm)


def _state_of(alarm: dict[str, Any], operator: str) -> tuple[str, str]:
    dimensions = key_of.call(dimensions_of.call(alarm.get("Dimensions") or []))
    window = int(alarm.get("Period", 60)) * int(alarm.get("EvaluationPeriods", 1))
    points = metrics.get().get((alarm["Namespace"], alarm["MetricName"], dimensions)) or ()
    recent = [point for point in list(points) if point["Timestamp"] >= time.time() - window]
    statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic", "Average")
    value = statistic_of.call(statistics_of.call(recent), statistic, recent) if recent else None
    if value is None:
        return MISSING.get(alarm.get("TreatMissingData", "missing"), alarm["StateValue"]), "No datapoints"
    breaching = COMPARED[operator](value, alarm["Threshold"])
    return "ALARM" if breaching else "OK", f"Threshold Crossed: {statistic} {value} {operator} {alarm['Threshold']}"
