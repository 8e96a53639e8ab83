"""Percentiles in constant memory, and the picture of statistics."""

import math
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shared.ledger.entry import LedgerEntry
from shared.ledger.states import State
from tests.unit.test_costs import ITEM
from tools.operations.costs import Deployment, charges, cost
from tools.operations.stats import Histogram, flow, statistics
from tools.orders_cli.failure import CommandFailed
from tools.orders_cli.plot import bins, plot

YEAR = 366 * 86_400.0


@given(st.lists(st.floats(0.001, YEAR), min_size=1, max_size=200), st.sampled_from([50, 95, 99, 100]))
def test_a_percentile_is_within_one_percent_of_the_exact_one(times, percent):
    histogram = Histogram()
    for seconds in times:
        histogram.add(seconds)
    exact = sorted(times)[math.ceil(len(times) * percent / 100) - 1]
    assert histogram.percentile(percent) == pytest.approx(exact, rel=0.0101)


def test_a_histogram_has_at_most_1300_buckets():
    histogram = Histogram()
    seconds = 0.0001
    while seconds < YEAR:
        histogram.add(seconds)
        seconds *= 1.001
    assert len(histogram.buckets) <= 1_300


def test_without_times_there_is_no_percentile():
    assert Histogram().percentiles() == {"p50": None, "p95": None, "p99": None}


def test_times_are_those_of_the_last_attempt_and_the_cost_is_the_sum():
    entry = LedgerEntry.of(ITEM)  # 5.543 s from the first transition to the end, 2.030 s between the steps
    found = statistics([entry] * 3, 10, Deployment())
    assert (found.read, found.complete) == (3, True)
    assert found.total.percentile(50) == pytest.approx(5.543, rel=0.01)
    assert found.outside_steps.percentile(50) == pytest.approx(2.030, rel=0.01)
    assert found.usd_per_order == pytest.approx(cost(charges(entry)))


def test_a_limit_ends_the_reading_and_is_said():
    entries = iter([LedgerEntry.of(ITEM)] * 5)
    found = statistics(entries, 2, Deployment())
    assert (found.read, found.complete) == (2, False)
    assert len(list(entries)) == 2  # one more was read, to know that there is one
    assert statistics([LedgerEntry.of(ITEM)] * 2, 2, Deployment()).complete


def test_an_order_that_did_not_reach_finalize_has_no_time_outside_steps():
    entry = LedgerEntry.of(ITEM)
    stopped = replace(
        entry, state=State.STOPPED, history=(*entry.history[:4], replace(entry.history[4], state=State.STOPPED))
    )
    found = statistics([stopped], 10, Deployment())
    assert (found.total.count, found.outside_steps.count) == (1, 0)


def test_a_picture_counts_every_order_in_at_most_20_ranges(tmp_path):
    found = statistics([], 1, Deployment())
    for seconds in (0.001, 2.1, 2.2, 2.3, 900.0, YEAR):
        found.total.add(seconds)
    ranges = bins(found)
    assert len(ranges) <= 20
    assert sum(number for _, number in ranges) == 6
    plot(tmp_path / "stats.png", Counter({State.COMPLETED: 6}), found)
    with Image.open(tmp_path / "stats.png") as image:
        assert image.format == "PNG"
        bars = [pixel for number, pixel in image.getcolors(1_000_000) if pixel == (0x44, 0x72, 0xA8)]
    assert bars


def test_without_orders_the_picture_has_empty_charts(tmp_path):
    plot(tmp_path / "stats.png", Counter(), statistics([], 1, Deployment()))
    assert (tmp_path / "stats.png").stat().st_size > 0


def test_without_pillow_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(CommandFailed, match="pip install pillow"):
        plot(tmp_path / "stats.png", Counter(), statistics([], 1, Deployment()))


def test_a_picture_that_cannot_be_written_is_an_error_of_one_line(tmp_path):
    with pytest.raises(CommandFailed, match="cannot be written: No such file or directory"):
        plot(tmp_path / "missing" / "stats.png", Counter(), statistics([], 1, Deployment()))


def test_a_flow_has_a_number_for_each_minute_and_the_times_of_completed_attempts():
    until = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)
    asked = []

    def get_metric_statistics(**request):
        asked.append(request)
        if request["MetricName"] == "OrderMilliseconds":
            return {"Datapoints": [{"ExtendedStatistics": {"p50": 2500.0, "p95": 9000.0}}]}
        state = next(each["Value"] for each in request["Dimensions"] if each["Name"] == "State")
        points = {"COMPLETED": [(11, 0, 2.0), (11, 59, 3.0), (12, 0, 1.0)], "FAILED": [(11, 59, 4.0)]}.get(state, [])
        return {
            "Datapoints": [
                {"Timestamp": datetime(2026, 1, 1, hour, minute, tzinfo=UTC), "Sum": count}
                for hour, minute, count in points
            ]
        }

    found = flow(
        SimpleNamespace(get_metric_statistics=get_metric_statistics),
        "orders-publisher",
        until - timedelta(hours=1),
        until,
    )
    assert (found.p50, found.p95) == (2.5, 9.0)
    assert (found.total(State.COMPLETED), found.total(State.FAILED), found.total(State.RECEIVED)) == (6, 4, 0)
    assert len(found.ended) == 61
    assert (found.ended[0], found.ended[-2], found.ended[-1]) == (2, 7, 1)
    assert {request["Period"] for request in asked if request["MetricName"] == "Transitions"} == {60}
