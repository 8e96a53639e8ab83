"""Each alarm has a section of the runbook and a metric that exists: one of AWS's, or one that the code emits."""

import json
import re
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tools.template_check import TEMPLATE

# Each entry says which page of AWS has its names, and which has its dimensions: null where AWS does not say them.
LISTED = json.loads((Path(__file__).parent / "aws_metrics.json").read_text())
AWS_METRICS = {
    (group["namespace"], name, tuple(group["dimensions"])): group for group in LISTED for name in group["names"]
}
OF_FUNCTION = {"service", "FunctionName"}
# By the function that emits the metric. tests/e2e/test_on_call.py sees most of them on a stack.
EMITTED = {
    "OrderIngest": {"OrdersAccepted", "MessagesRejected", "MessagesGivenBack", "QueueMilliseconds"},
    "OrderSweep": {"PublisherOff", "ExecutionsEndedBadly", "StuckOrders", "SweepEnded", "SweepFailed", "SweepLeft"},
    "OrderPublisher": {"Transitions", "OrderMilliseconds", "EventsUnreadable"},
}
SERVICES = {"OrderIngest": "ingest", "OrderSweep": "reconciler", "OrderPublisher": "publisher"}
BY_STATE = {"Transitions", "OrderMilliseconds"}
RUNBOOK = (ROOT / "docs/runbook.md").read_text()
WEEK_SECONDS = 7 * 24 * 3600


@pytest.fixture(scope="session")
def alarms(resources):
    return {
        name: resource["Properties"]
        for name, resource in resources.items()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    }


def sections():
    """The anchors of the runbook's sections, as GitHub makes them."""
    return {heading.lower().replace(" ", "-") for heading in re.findall(r"^## (.+)$", RUNBOOK, re.MULTILINE)}


def section_of(alarm):
    return re.search(r"docs/runbook\.md#([a-z0-9-]+)$", alarm["AlarmDescription"])[1]


def dimensions_of(alarm):
    """The dimensions' values by their names: a resource's name in the template, or a text."""
    return {
        dimension["Name"]: dimension["Value"]["Ref"] if "Ref" in dimension["Value"] else dimension["Value"]
        for dimension in alarm.get("Dimensions", [])
    }


def assert_exists(namespace, name, dimensions):
    """The metric is one of AWS's list, or one that the function in its dimensions emits."""
    if namespace != "Orders":
        assert (namespace, name, tuple(dimensions)) in AWS_METRICS
        return
    function = dimensions["FunctionName"]
    assert name in EMITTED[function]
    assert dimensions["service"] == SERVICES[function]
    assert dimensions.keys() == OF_FUNCTION | ({"State"} if name in BY_STATE else set())


def test_each_alarm_names_a_section_of_the_runbook(alarms):
    assert len(alarms) >= 30
    assert {section_of(alarm) for alarm in alarms.values()} == sections()


def test_each_section_says_what_it_means_where_to_see_more_and_what_to_do():
    for section in RUNBOOK.split("\n## ")[1:]:
        labels = re.findall(r"^\*\*(.+?)\.\*\*", section, re.MULTILINE)
        assert labels == ["Meaning", "See more", "Do"], section
        assert re.search(r"^\*\*See more\.\*\* `orders [a-z -]+`$", section, re.MULTILINE)


def test_each_alarm_is_on_a_metric_that_exists(alarms):
    for alarm in alarms.values():
        assert_exists(alarm["Namespace"], alarm["MetricName"], dimensions_of(alarm))


def test_the_quota_alarm_is_on_lambdas_metric_of_the_whole_account(alarms):
    """A percentage of the account's quota, for which AWS proposes 80 % (durable-monitoring.html)."""
    alarm = alarms["RunningExecutionsNearQuotaAlarm"]
    assert (alarm["Namespace"], alarm["MetricName"]) == ("AWS/Lambda", "ApproximateRunningDurableExecutionsUtilization")
    assert (dimensions_of(alarm), alarm["Threshold"], alarm["Statistic"]) == ({}, 80, "Maximum")


def test_only_the_quota_alarm_has_dimensions_that_aws_does_not_document(alarms):
    known = {key for key, group in AWS_METRICS.items() if group["dimensionsSource"]}
    unknown = {
        name
        for name, alarm in alarms.items()
        if alarm["Namespace"] != "Orders"
        and (alarm["Namespace"], alarm["MetricName"], tuple(dimensions_of(alarm))) not in known
    }
    assert unknown == {"RunningExecutionsNearQuotaAlarm"}
    assert all(("unverified" in group) != bool(group["dimensionsSource"]) for group in LISTED)


def test_throttles_of_the_ledger_are_watched_on_the_table_and_on_the_index_that_is_read(alarms):
    """The metric of a table does not count its indexes (metrics-dimensions.html)."""
    watched = {
        (alarm["MetricName"], dimensions_of(alarm).get("GlobalSecondaryIndexName"))
        for alarm in alarms.values()
        if alarm["Namespace"] == "AWS/DynamoDB"
    }
    metrics = ("ReadThrottleEvents", "WriteThrottleEvents")
    assert watched == {(metric, index) for metric in metrics for index in (None, "OrdersIndex")}


def test_the_runbook_has_each_threshold_with_its_reason(alarms):
    rows = [line.strip("| ").split(" | ") for line in RUNBOOK.splitlines() if line.startswith("| `")]
    for name, alarm in alarms.items():
        [(_, limit, reason)] = [row for row in rows if is_in(row, name.removesuffix("Alarm"))]
        threshold = alarm["Threshold"]
        told = re.sub("^fewer than ", "", limit)
        assert told.startswith(f"`{threshold['Ref']}` " if isinstance(threshold, dict) else f"{threshold:,} "), name
        assert "Sum" not in alarm["Statistic"] or f" in {alarm['Period'] // 60} minute" in limit, name
        assert reason
    assert all(any(is_in(row, name.removesuffix("Alarm")) for name in alarms) for row in rows)


def is_in(row, name):
    return any(fnmatchcase(name, pattern) for pattern in re.findall(r"`([^`]+)`", row[0]))


def test_each_alarm_notifies_the_topic_of_the_parameter_or_no_one(alarms, parameters):
    assert parameters["AlarmTopicArn"]["Default"] == ""
    actions = {json.dumps(alarm["AlarmActions"], sort_keys=True) for alarm in alarms.values()}
    (action,) = map(json.loads, actions)
    assert action == {"Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]}


def test_only_the_sweep_that_does_not_run_is_an_alarm_without_data(alarms):
    missing = {name for name, alarm in alarms.items() if alarm["TreatMissingData"] != "notBreaching"}
    assert missing == {"SweepNotRunningAlarm"}
    assert alarms["SweepNotRunningAlarm"]["TreatMissingData"] == "breaching"


def test_each_function_has_alarms_of_errors_and_throttles(alarms, resources):
    functions = {name for name, resource in resources.items() if resource["Type"] == "AWS::Lambda::Function"}
    for metric in ("Errors", "Throttles"):
        watched = {alarm["Dimensions"][0]["Value"]["Ref"] for alarm in alarms.values() if alarm["MetricName"] == metric}
        assert watched == functions


def test_each_queue_that_people_read_has_an_alarm_a_week_before_a_message_is_deleted(alarms):
    watched = {
        alarm["Dimensions"][0]["Value"]["Fn::GetAtt"][0]
        for alarm in alarms.values()
        if alarm["MetricName"] == "ApproximateAgeOfOldestMessage" and alarm["Threshold"] == WEEK_SECONDS
    }
    assert watched == {"OrdersDlq", "StatusChangesDlq", "EventsDlq", "RejectedOrders"}


def test_the_dashboard_shows_metrics_that_exist_from_the_queue_to_the_ledger(properties):
    text = properties("Dashboard")["DashboardBody"]["Fn::Sub"]
    widgets = json.loads(text)["widgets"]
    for widget in widgets:
        for namespace, name, *rest in widget["properties"]["metrics"]:
            pairs = zip(rest[::2], rest[1::2], strict=True)
            dimensions = {key: re.sub(r"^\$\{(\w+)(\.\w+)?\}$", r"\1", value) for key, value in pairs}
            assert_exists(namespace, name, dimensions)
    flow = [widget for widget in widgets if widget["y"] == 0]
    assert [widget["properties"]["title"][0] for widget in flow] == ["1", "2", "3", "4"]
    assert all(left["x"] < right["x"] for left, right in pairwise(flow))


def test_a_saved_query_reads_only_logs_of_the_stack(resources):
    queries = [resource for resource in resources.values() if resource["Type"] == "AWS::Logs::QueryDefinition"]
    assert len(queries) == 5
    for query in queries:
        for group in query["Properties"]["LogGroupNames"]:
            assert resources[group["Ref"]]["Type"] == "AWS::Logs::LogGroup"


def test_the_template_is_within_cloudformations_limits(resources):
    """500 resources and 1 MB: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html"""
    assert len(resources) <= 500
    assert TEMPLATE.stat().st_size <= 1_000_000
