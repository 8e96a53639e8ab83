"""The metrics of log events in CloudWatch's embedded metric format."""

import json

import pytest

from durable_local.ministack.patches.embedded_metrics import metrics_in

EVENT = {
    "_aws": {
        "Timestamp": 1,
        "CloudWatchMetrics": [
            {
                "Namespace": "N",
                "Dimensions": [["a"], ["a", "b"]],
                "Metrics": [{"Name": "Count", "Unit": "Count"}, {"Name": "Times"}],
            }
        ],
    },
    "a": "1",
    "b": "2",
    "Count": 3,
    "Times": [4, 5.5],
}


def test_each_value_of_each_set_of_dimensions_is_a_metric():
    one, both = {"a": "1"}, {"a": "1", "b": "2"}
    assert list(metrics_in(json.dumps(EVENT))) == [
        (
            "N",
            name,
            value,
            unit,
            dimensions,
        )
        for dimensions in (one, both)
        for name, value, unit in (("Count", 3.0, "Count"), ("Times", 4.0, "None"), ("Times", 5.5, "None"))
    ]


@pytest.mark.parametrize("text", ["no json", "[]", '{"_aws": {}}', json.dumps({**EVENT, "Times": "a while"})])
def test_an_event_that_breaks_the_format_has_no_metrics(text):
    assert list(metrics_in(text)) == []
