"""Shifting the alias's traffic: off by default, and only CodeDeploy's resources are added by it."""

import pytest

from tools.template_check import lint
from tools.template_check import translated as translation_of

ALIAS = "DurableOrderProcessorAliasprod"
GROUP = "DurableOrderProcessorDeploymentGroup"


@pytest.fixture(scope="module")
def canary():
    """The translated template of a stack with a canary."""
    return translation_of(TrafficShifting="Canary10Percent10Minutes")


def codedeploy(resources):
    return {name for name, resource in resources.items() if resource["Type"].startswith("AWS::CodeDeploy::")}


def test_by_default_the_alias_moves_at_once_without_codedeploy(resources, parameters):
    assert parameters["TrafficShifting"]["Default"] == "AllAtOnce"
    assert codedeploy(resources) == set()
    assert "UpdatePolicy" not in resources[ALIAS]


def test_each_choice_but_the_default_is_a_canary(template, parameters):
    is_canary = template["Mappings"]["TrafficShifting"]
    choices = parameters["TrafficShifting"]["AllowedValues"]
    assert {name: its["IsCanary"] for name, its in is_canary.items()} == {
        name: "true" if name.startswith("Canary") else "false" for name in choices
    }


def test_a_canary_adds_only_codedeploy_and_the_aliass_policy(canary, translated, resources):
    """The version's name stays, so a canary that is turned on or off publishes no version."""
    added = codedeploy(canary["Resources"])
    assert added == {"ServerlessDeploymentApplication", GROUP}
    alias = dict(canary["Resources"][ALIAS])
    assert alias.pop("UpdatePolicy") == {
        "CodeDeployLambdaAliasUpdate": {
            "ApplicationName": {"Ref": "ServerlessDeploymentApplication"},
            "DeploymentGroupName": {"Ref": GROUP},
        }
    }
    others = {name: resource for name, resource in canary["Resources"].items() if name not in added}
    assert {**others, ALIAS: alias} == resources
    assert {**canary, "Resources": {}} == {**translated, "Resources": {}}


def test_an_alarm_of_failed_orders_takes_a_canary_back(canary):
    group = canary["Resources"][GROUP]["Properties"]
    assert group["DeploymentConfigName"] == {
        "Fn::Sub": ["CodeDeployDefault.Lambda${ConfigName}", {"ConfigName": "Canary10Percent10Minutes"}]
    }
    assert group["AlarmConfiguration"] == {
        "Enabled": True,
        "Alarms": [
            {"Name": {"Ref": alarm}}
            for alarm in ("OrdersFailedAlarm", "OrdersTimedOutAlarm", "DurableOrderProcessorErrorsAlarm")
        ],
    }
    rollback = group["AutoRollbackConfiguration"]
    assert rollback["Enabled"]
    assert {"DEPLOYMENT_STOP_ON_ALARM", "DEPLOYMENT_FAILURE"} <= set(rollback["Events"])


def test_codedeploy_may_only_move_this_alias_and_read_alarms(canary, resources):
    assert canary["Resources"][GROUP]["Properties"]["ServiceRoleArn"] == {"Fn::GetAtt": ["CanaryRole", "Arn"]}
    role = resources["CanaryRole"]
    assert role["Condition"] == "IsCanary"
    (trust,) = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "codedeploy.amazonaws.com"}
    (policy,) = role["Properties"]["Policies"]
    move, read = policy["PolicyDocument"]["Statement"]
    assert move["Resource"] == [
        {"Fn::GetAtt": ["DurableOrderProcessor", "Arn"]},
        {"Fn::Sub": "${DurableOrderProcessor.Arn}:prod"},
    ]
    assert move["Action"] == ["lambda:GetAlias", "lambda:GetProvisionedConcurrencyConfig", "lambda:UpdateAlias"]
    assert read["Action"] == "cloudwatch:DescribeAlarms"


@pytest.mark.slow
def test_a_canary_passes_the_linter(canary):
    """It would find a circle: the alarms, CodeDeploy's group and the alias refer to each other's resources."""
    # W1001, a role that may not exist: the linter does not know that SAM made the group because it does.
    lint(canary, "W1001")
