"""Each function has exactly the permissions that it needs.

`tests/faults/test_every_point_of_recovery.py` shows that it uses them.
"""

import pytest

from tests.roles import ALLOWED, BY_THE_SERVICE, NOT_IN_THE_TESTS, refused, unused
from tools.template_check import TEMPLATE

# The only ARN with a pattern: executions of any version, with any id.
EXECUTIONS = (
    "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:${AWS::StackName}-DurableOrderProcessor:*"
)


# Each action of the policy with its resources, and the operation of a command that needs it.
OPERATOR = {
    ("cloudformation:DescribeStacks", "AWS::StackId"),
    ("cloudformation:ListStackResources", "AWS::StackId"),
    *(("sqs:SendMessage", queue) for queue in ("OrdersQueue", "StatusChangesQueue", "RejectedOrders")),
    *(
        (f"sqs:{action}", queue)
        for action in ("ChangeMessageVisibility", "DeleteMessage", "GetQueueAttributes", "PurgeQueue", "ReceiveMessage")
        for queue in ("RejectedOrders", "OrdersDlq", "StatusChangesDlq", "EventsDlq")
    ),
    *(
        (f"sqs:{action}", queue)
        for action in ("ListMessageMoveTasks", "StartMessageMoveTask")
        for queue in ("OrdersDlq", "StatusChangesDlq")
    ),
    *(("sqs:GetQueueAttributes", queue) for queue in ("OrdersQueue", "StatusChangesQueue")),
    *((f"dynamodb:{action}", "LedgerTable") for action in ("BatchGetItem", "GetItem", "PutItem", "Scan", "UpdateItem")),
    ("dynamodb:Query", "LedgerTable/index/OrdersIndex"),
    ("dynamodb:Scan", "restored*"),
    *(
        (f"dynamodb:{action}", "OperationsTable")
        for action in ("BatchGetItem", "BatchWriteItem", "GetItem", "PutItem", "Query", "UpdateItem")
    ),
    ("lambda:InvokeFunction", "DurableOrderProcessorAliasprod"),
    ("lambda:InvokeFunction", "OrderSweep"),
    *(
        (f"lambda:{action}DurableExecution", "DurableOrderProcessor:*")
        for action in ("Delete", "Get", "Pause", "Resume", "Stop")
    ),
    ("lambda:GetDurableExecutionHistory", "DurableOrderProcessor:*"),
    *(
        (f"lambda:{action}", "DurableOrderProcessor")
        for action in ("GetAlias", "GetFunctionConfiguration", "ListVersionsByFunction")
    ),
    ("lambda:GetFunctionConfiguration", "DurableOrderProcessor:*"),
    *((f"lambda:{action}EventSourceMapping", "mapping") for action in ("Get", "Update")),
    ("logs:FilterLogEvents", "OrderIngestLogs"),
    ("logs:FilterLogEvents", "OrderReconcilerLogs"),
    ("logs:FilterLogEvents", "OrderSweepLogs"),
    *((f"cloudwatch:{action}", "*") for action in ("DescribeAlarms", "GetMetricStatistics")),
    *((f"events:{action}", "*") for action in ("ListRules", "ListTargetsByRule")),
    ("lambda:ListEventSourceMappings", "*"),
    ("lambda:ListFunctions", "*"),
    ("lambda:ListDurableExecutionsByFunction", "DurableOrderProcessor"),
    ("lambda:ListDurableExecutionsByFunction", "DurableOrderProcessor:*"),
}
RESTORED = "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/${AWS::StackName}-restored*"
MAPPINGS = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:event-source-mapping:*"


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
        case {"Fn::GetAtt": ["LedgerTable", "StreamArn"]}:
            return "LedgerTable/stream"
        case {"Fn::Sub": text} if text == EXECUTIONS:
            return "DurableOrderProcessor:*"
        case {"Fn::Sub": "${LedgerTable.Arn}/index/OrdersIndex"}:
            return "LedgerTable/index/OrdersIndex"
        case {"Fn::Sub": text} if text.endswith(":event-source-mapping:${OrderPublisherLedger}"):
            return "OrderPublisherLedger"
    raise AssertionError(f"a resource that this test does not know: {resource}")


def test_each_function_has_a_role_of_its_own(resources, properties):
    roles = {name for name, resource in resources.items() if resource["Type"] == "AWS::IAM::Role"}
    assert roles == ALLOWED.keys() | {"CanaryRole"}
    for function in (
        "OrderIngest",
        "DurableOrderProcessor",
        "OrderEnricher",
        "OrderReconciler",
        "OrderSweep",
        "OrderPublisher",
    ):
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
def test_no_role_has_a_managed_policy(properties, role):
    """AWS can change a managed policy, and it allows access to all resources."""
    assert "ManagedPolicyArns" not in properties(role)


@pytest.mark.parametrize("role", ALLOWED)
def test_only_lambda_may_assume_a_role(properties, role):
    (statement,) = properties(role)["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}
    assert statement["Action"] == "sts:AssumeRole"


def statements_in(part):
    """Every policy statement in a part of the template: of roles, queues, and whatever else has a policy."""
    if isinstance(part, dict):
        if "Effect" in part:
            yield part
        part = list(part.values())
    if isinstance(part, list):
        for member in part:
            yield from statements_in(member)


def texts_in(part):
    """Every text in a part of a statement. A log group's ARN ends in a star that the template does not show."""
    match part:
        case {"Fn::GetAtt": [name, "Arn"]} if name.endswith("Logs"):
            yield f"{name}:*"
        case dict():
            yield from (text for member in part.values() for text in texts_in(member))
        case list():
            yield from (text for member in part for text in texts_in(member))
        case str():
            yield part


EXECUTION_ID = "an execution's ARN contains its version and its own id, which are not known in the template"
STREAM_NAME = "Lambda chooses the names of the log streams"
TLS = "a Deny: it is for everyone and every action, on the queue that has the policy"
# Every star of the translated template's policies, with its reason.
STARS = {
    **{
        (role, EXECUTIONS): EXECUTION_ID
        for role in ("DurableOrderProcessorRole", "OrderReconcilerRole", "OrderSweepRole", "OrdersOperatorPolicy")
    },
    **{(role, f"{role.removesuffix('Role')}Logs:*"): STREAM_NAME for role in ALLOWED},
    ("OrdersOperatorPolicy", "OrderIngestLogs:*"): STREAM_NAME,
    ("OrdersOperatorPolicy", "OrderReconcilerLogs:*"): STREAM_NAME,
    ("OrdersOperatorPolicy", "OrderSweepLogs:*"): STREAM_NAME,
    ("CanaryRole", "*"): "IAM has no resources for cloudwatch:DescribeAlarms",
    ("OrdersOperatorPolicy", RESTORED): "the operator chooses the end of a restored table's name",
    ("OrdersOperatorPolicy", MAPPINGS): "a mapping's id is not known; the condition names the function",
    ("OrdersOperatorPolicy", "*"): "IAM has no resources for these reads, or the name is not known before the list",
    **{
        (f"{queue}Policy", star): TLS
        for queue in ("OrdersQueue", "OrdersDlq", "RejectedOrders", "StatusChanges", "StatusChangesDlq", "EventsDlq")
        for star in ("*", "sqs:*")
    },
}


def test_every_star_of_a_policy_is_in_the_list_with_its_reason(resources):
    found = {
        (name, text)
        for name, resource in resources.items()
        for statement in statements_in(resource)
        for part in ("Principal", "Action", "Resource")
        for text in texts_in(statement.get(part, []))
        if "*" in text
    }
    assert found == STARS.keys()


def test_no_statement_is_about_everything_but_what_it_names(resources):
    parts = {part for statement in statements_in(resources) for part in statement}
    assert parts <= {"Effect", "Action", "Resource", "Principal", "Condition", "Sid"}


def test_only_a_deny_and_the_operators_reads_are_about_every_resource(resources):
    """A star alone is not the end of an ARN."""
    alone = {
        statement["Effect"]: set(several(statement["Action"]))
        for statement in statements_in(resources)
        if "*" in texts_in([statement.get("Resource", []), statement.get("Principal", [])])
    }
    assert alone["Allow"] == {action for action, where in OPERATOR if where == "*"}
    assert alone["Deny"] == {"sqs:*"}


def test_a_call_without_a_permission_and_a_permission_without_a_call_are_found():
    calls = {role: allowed - BY_THE_SERVICE[role].keys() for role, allowed in ALLOWED.items()}
    assert (refused(calls), unused(calls)) == ({}, {})
    another = ("dynamodb:PutItem", "LedgerTable")
    calls["OrderIngestRole"] = calls["OrderIngestRole"] - {("dynamodb:GetItem", "LedgerTable")} | {another}
    assert refused(calls) == {"OrderIngestRole": {another}}
    assert unused(calls) == {"OrderIngestRole": {("dynamodb:GetItem", "LedgerTable")}}


@pytest.mark.parametrize("role", ALLOWED)
def test_a_permission_that_no_code_uses_is_granted_and_has_a_reason(role):
    for listed in (BY_THE_SERVICE[role], NOT_IN_THE_TESTS.get(role, {})):
        assert listed.keys() <= ALLOWED[role]
        assert all(listed.values())


def test_no_arn_is_tied_to_a_partition_a_region_or_an_account():
    assert "arn:aws" not in TEMPLATE.read_text()


def test_an_operator_may_do_exactly_what_the_orders_command_needs(properties):
    named = {str({"Fn::Sub": RESTORED}): "restored*", str({"Fn::Sub": MAPPINGS}): "mapping", "*": "*"}
    allowed = {
        (action, named.get(str(resource)) or target(resource))
        for statement in properties("OrdersOperatorPolicy")["PolicyDocument"]["Statement"]
        for action in several(statement["Action"])
        for resource in several(statement["Resource"])
    }
    assert allowed == OPERATOR
