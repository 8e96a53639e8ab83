"""Metrics in the embedded metric format."""

import json

import pytest

from shared.aws.metrics import FunctionMetrics


@pytest.fixture
def emitted(capsys):
    def emit(values, **dimensions):
        FunctionMetrics("ingest").emit("orders-OrderIngest", values, **dimensions)
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return emit


def test_a_line_has_every_value_of_a_metric(emitted):
    [line] = emitted({"OrdersAccepted": [100], "QueueMilliseconds": list(range(100))}, ReasonCode="NOT_JSON")
    assert line["OrdersAccepted"] == [100]
    assert line["QueueMilliseconds"] == list(range(100))
    assert (line["service"], line["FunctionName"], line["ReasonCode"]) == ("ingest", "orders-OrderIngest", "NOT_JSON")
    [described] = line["_aws"]["CloudWatchMetrics"]
    assert {metric["Name"]: metric["Unit"] for metric in described["Metrics"]} == {
        "OrdersAccepted": "Count",
        "QueueMilliseconds": "Milliseconds",
    }


def test_more_than_a_hundred_values_are_in_several_lines(emitted):
    first, second = emitted({"OrdersAccepted": [101], "QueueMilliseconds": list(range(101))})
    assert first["OrdersAccepted"] == [101]
    assert first["QueueMilliseconds"] + second["QueueMilliseconds"] == list(range(101))
    assert "OrdersAccepted" not in second


def test_a_metric_without_values_is_left_out(emitted):
    assert emitted({"OrderMilliseconds": []}) == []
    [line] = emitted({"OrderMilliseconds": [], "Transitions": [2]})
    assert "OrderMilliseconds" not in line
