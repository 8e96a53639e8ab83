"""Pausing intake and executions while Lambda changes them."""

from datetime import UTC, datetime

import pytest

from reconciler.pace import Pace
from tools.operations.pause import Executions, Intake, PauseFailed, Selection, pause_executions

ARN = "arn:aws:lambda:eu-central-2:000000000000:function:orders:1/durable-execution/other/{}"


class Lambda:
    """Lambda with one event source mapping, whose states come one after the other, and executions that pause slowly."""

    def __init__(self, *states):
        self.states = list(states)
        self.changes = []
        self.statuses = {}

    def list_event_source_mappings(self, **_):
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return {"EventSourceMappings": [{"UUID": "mapping", "State": state}]}

    def update_event_source_mapping(self, Enabled, **_):  # noqa: N803
        self.changes.append(Enabled)
        self.states = ["Enabling", "Enabled"] if Enabled else ["Disabling", "Disabled"]

    def get_queue_attributes(self, **_):
        return {"Attributes": {"ApproximateNumberOfMessagesNotVisible": "0"}}

    def get_paginator(self, _):
        return self

    def paginate(self, Statuses, **_):  # noqa: N803
        found = [
            {"DurableExecutionArn": arn, "Status": status, "StartTimestamp": datetime.now(UTC)}
            for arn, status in self.statuses.items()
            if status in Statuses
        ]
        return [{"DurableExecutions": found}]

    def pause_durable_execution(self, DurableExecutionArn, **_):  # noqa: N803
        self.statuses[DurableExecutionArn] = "PAUSING"

    def stop_invocations(self, _seconds):
        for arn, status in self.statuses.items():
            self.statuses[arn] = "PAUSED" if status == "PAUSING" else status


def intake(aws_lambda):
    return Intake(aws_lambda, aws_lambda, None, "function", "queue", sleep=lambda _: None)


def test_intake_resumes_after_a_pause_that_died_while_lambda_disabled_the_mapping():
    aws_lambda = Lambda("Disabling", "Disabling", "Disabled")
    intake(aws_lambda).resume()
    assert aws_lambda.changes == [True]


def test_a_pause_of_intake_runs_again_after_it_died_while_lambda_disabled_the_mapping():
    aws_lambda = Lambda("Disabling", "Disabled")
    intake(aws_lambda).pause()
    assert aws_lambda.changes == []


def test_intake_pauses_after_lambda_has_enabled_the_mapping():
    aws_lambda = Lambda("Enabling", "Enabled")
    intake(aws_lambda).pause()
    assert aws_lambda.changes == [False]


def test_intake_whose_mapping_does_not_settle_is_not_resumed():
    with pytest.raises(PauseFailed, match="Disabling: run this again"):
        intake(Lambda("Disabling")).resume()


def test_a_pause_ends_when_each_invocation_has_stopped():
    aws_lambda = Lambda("Enabled")
    aws_lambda.statuses = {ARN.format("1"): "RUNNING", ARN.format("2"): "PAUSING", ARN.format("3"): "PAUSED"}
    executions = Executions(aws_lambda, "function", "stack", Pace(1_000_000))
    assert pause_executions(executions, None, Selection(), "job", aws_lambda.stop_invocations) == 1
    assert set(aws_lambda.statuses.values()) == {"PAUSED"}
