"""Each function may do what it does, to what it does it to, and nothing else."""

import json

import pytest

from tools.template_check import TEMPLATE

LOGS = {"logs:CreateLogStream", "logs:PutLogEvents"}
RECONCILES = {
    ("lambda:GetDurableExecution", "DurableOrderProcessor:*"),
    ("dynamodb:GetItem", "LedgerTable"),
    ("dynamodb:UpdateItem", "LedgerTable"),
    ("dynamodb:BatchGetItem", "OperationsTable"),
    ("dynamodb:PutItem", "OperationsTable"),
    ("sqs:SendMessage", "RejectedOrders"),
}
ALLOWED = {
    "OrderIngestRole": {
        ("sqs:ReceiveMessage", "OrdersQueue"),
        ("sqs:DeleteMessage", "OrdersQueue"),
        ("sqs:GetQueueAttributes", "OrdersQueue"),
        ("sqs:SendMessage", "RejectedOrders"),
        ("lambda:InvokeFunction", "DurableOrderProcessorAliasprod"),
        *((action, "OrderIngestLogs") for action in LOGS),
    },
    "DurableOrderProcessorRole": {
        ("lambda:CheckpointDurableExecution", "DurableOrderProcessor:*"),
        ("lambda:GetDurableExecutionState", "DurableOrderProcessor:*"),
        ("lambda:InvokeFunction", "OrderEnricher"),
        ("dynamodb:UpdateItem", "LedgerTable"),
        *((action, "DurableOrderProcessorLogs") for action in LOGS),
    },
    "OrderEnricherRole": {
        ("dynamodb:GetItem", "CustomersTable"),
        *((action, "OrderEnricherLogs") for action in LOGS),
    },
    "OrderReconcilerRole": {
        ("sqs:ReceiveMessage", "StatusChangesQueue"),
        ("sqs:DeleteMessage", "StatusChangesQueue"),
        ("sqs:GetQueueAttributes", "StatusChangesQueue"),
        *RECONCILES,
        *((action, "OrderReconcilerLogs") for action in LOGS),
    },
    "OrderSweepRole": {
        ("lambda:ListDurableExecutionsByFunction", "DurableOrderProcessor"),
        ("lambda:ListDurableExecutionsByFunction", "DurableOrderProcessor:*"),
        ("dynamodb:Query", "LedgerTable/index/StateIndex"),
        *RECONCILES,
        *((action, "OrderSweepLogs") for action in LOGS),
    },
}
# The one ARN that is written out: executions of whatever version, with whatever id.
EXECUTIONS = (
    "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:${AWS::StackName}-DurableOrderProcessor:*"
)


def several(value):
    return value if isinstance(value, list) else [value]


def statements(properties, role):
    for policy in properties(role)["Policies"]:
        yield from policy["PolicyDocument"]["Statement"]


def target(resource):
    """The resource by its name in the template."""
    match resource:
        case {"Ref": name} | {"Fn::GetAtt": [name, "Arn"]}:
            return name
        case {"Fn::Sub": text} if text == EXECUTIONS:
            return "DurableOrderProcessor:*"
        case {"Fn::Sub": "${LedgerTable.Arn}/index/StateIndex"}:
            return "LedgerTable/index/StateIndex"
    raise AssertionError(f"a resource that this test does not know: {resource}")


def test_each_function_has_a_role_of_its_own(resources, properties):
    roles = {name for name, resource in resources.items() if resource["Type"] == "AWS::IAM::Role"}
    assert roles == ALLOWED.keys()
    for function in ("OrderIngest", "DurableOrderProcessor", "OrderEnricher", "OrderReconciler", "OrderSweep"):
        assert properties(function)["Role"] == {"Fn::GetAtt": [f"{function}Role", "Arn"]}


@pytest.mark.parametrize("role", ALLOWED)
def test_a_function_may_do_exactly_what_it_needs(properties, role):
    allowed = set()
    for statement in statements(properties, role):
        assert statement.keys() == {"Effect", "Action", "Resource"}
        assert statement["Effect"] == "Allow"
        allowed |= {
            (action, target(resource))
            for action in several(statement["Action"])
            for resource in several(statement["Resource"])
        }
    assert allowed == ALLOWED[role]


@pytest.mark.parametrize("role", ALLOWED)
def test_no_role_takes_in_a_managed_policy(properties, role):
    """AWS changes those, and they name every resource."""
    assert "ManagedPolicyArns" not in properties(role)


@pytest.mark.parametrize("role", ALLOWED)
def test_no_action_or_resource_has_a_star_but_at_the_end_of_an_arn(properties, role):
    for statement in statements(properties, role):
        assert "*" not in json.dumps(statement["Action"])
        for resource in several(statement["Resource"]):
            text = resource.get("Fn::Sub", "")
            assert "*" not in text.removesuffix(":*")


@pytest.mark.parametrize("role", ALLOWED)
def test_only_lambda_may_take_on_a_role(properties, role):
    (statement,) = properties(role)["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}
    assert statement["Action"] == "sts:AssumeRole"


def test_a_star_in_the_template_has_its_reason_above_it():
    lines = TEMPLATE.read_text().splitlines()
    starred = [
        number
        for number, line in enumerate(lines)
        if line.strip().startswith("Resource:") and ("*" in line or "Logs.Arn" in line)
    ]
    assert len(starred) == 8
    for number in starred:
        assert lines[number - 1].strip().startswith("#"), lines[number]


def test_no_arn_is_tied_to_a_partition_a_region_or_an_account():
    assert "arn:aws" not in TEMPLATE.read_text()
