"""What each function's role allows, and what the functions of a running stack have called.

A call and a permission are both an action with the name of a resource in the template: `("dynamodb:GetItem",
"LedgerTable")`. Together they prove that a role allows what its function needs, and nothing else.
"""

from durable_local.deploy import deployment

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
        ("dynamodb:GetItem", "LedgerTable"),
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
    "OrderPublisherRole": {
        ("dynamodb:DescribeStream", "LedgerTable/stream"),
        ("dynamodb:GetRecords", "LedgerTable/stream"),
        ("dynamodb:GetShardIterator", "LedgerTable/stream"),
        ("dynamodb:ListStreams", "LedgerTable/stream"),
        ("events:PutEvents", "OrderEvents"),
        ("sqs:SendMessage", "EventsDlq"),
        *((action, "OrderPublisherLogs") for action in LOGS),
    },
    "OrderSweepRole": {
        ("lambda:ListDurableExecutionsByFunction", "DurableOrderProcessor"),
        ("lambda:ListDurableExecutionsByFunction", "DurableOrderProcessor:*"),
        ("dynamodb:Query", "LedgerTable/index/OrdersIndex"),
        ("lambda:GetEventSourceMapping", "OrderPublisherLedger"),
        *RECONCILES,
        *((action, "OrderSweepLogs") for action in LOGS),
    },
}

BY_EVENT_SOURCE = "Lambda's event source mapping reads the queue in the role's name"
BY_STREAM_READER = "Lambda's event source mapping reads the stream in the role's name"
BY_RUNTIME = "Lambda writes the function's log in the role's name"
BY_THE_SERVICE = {
    role: {
        (action, where): reason
        for action, where in allowed
        for actions, reason in (
            (("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"), BY_EVENT_SOURCE),
            (
                ("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"),
                BY_STREAM_READER,
            ),
            (LOGS, BY_RUNTIME),
        )
        if action in actions
    }
    for role, allowed in ALLOWED.items()
}
"""The permissions of each role that the service uses and not the function's code, each with the reason."""
BY_THE_SERVICE["OrderPublisherRole"]["sqs:SendMessage", "EventsDlq"] = (
    "Lambda's event source mapping describes given up records there, in the role's name"
)

NOT_IN_THE_TESTS = {
    "DurableOrderProcessorRole": {
        ("lambda:GetDurableExecutionState", "DurableOrderProcessor:*"): (
            "the SDK calls it only for an execution whose operations do not fit into the invocation: an order's do"
        )
    },
    "OrderSweepRole": {
        ("lambda:ListDurableExecutionsByFunction", "DurableOrderProcessor:*"): (
            "AWS's references disagree whether a list over all versions is authorised on the function or its versions"
        )
    },
}
"""The permissions that no request of the tests shows to be used, each with the reason."""

# The IAM actions that have another name than their operation.
ACTIONS = {"lambda:Invoke": "lambda:InvokeFunction"}


def calls_of(stack):
    """The calls of each of the pipeline's functions on a stack that was started with `faults`, by its role."""
    names = {
        physical.rpartition("/")[2]: logical
        for kind in (
            "AWS::DynamoDB::Table",
            "AWS::SQS::Queue",
            "AWS::Events::EventBus",
            "AWS::Lambda::Function",
            "AWS::Lambda::EventSourceMapping",
        )
        for logical, physical in deployment.physical_names(stack.settings, kind).items()
    }
    calls = {role: set() for role in ALLOWED}
    for call in stack.faults.calls():
        if call.function not in names:  # another stack, which a test has deployed beside the pipeline
            continue
        action = f"{call.service}:{call.operation}"
        calls[f"{names[call.function]}Role"].add((ACTIONS.get(action, action), _target(call.resource, names)))
    return calls


def _target(resource, names):
    """The resource by its name in the template. One that is not of this stack keeps its own name."""
    table, *index = resource.split("/", 1)
    if "/durable-execution/" in resource:
        return f"{names[resource.split(':')[6]]}:*"
    if resource.startswith("arn:") and ":function:" in resource:
        function, *qualifier = resource.split(":")[6:]
        return names.get(function, function) + "".join(f"Alias{alias}" for alias in qualifier)
    return "/".join([names.get(table, table), *index])


def refused(calls):
    """The calls that the roles do not allow: on AWS they would fail."""
    return {role: made - ALLOWED[role] for role, made in calls.items() if made - ALLOWED[role]}


def unused(calls):
    """The permissions that nothing uses: neither these calls, nor the service, nor code that no test reaches."""
    left = {
        role: allowed - calls[role] - BY_THE_SERVICE[role].keys() - NOT_IN_THE_TESTS.get(role, {}).keys()
        for role, allowed in ALLOWED.items()
    }
    return {role: permissions for role, permissions in left.items() if permissions}


def table(calls):
    """Each permission of each role, with who uses it, as lines of text."""
    for role, allowed in ALLOWED.items():
        yield role
        reasons = BY_THE_SERVICE[role] | NOT_IN_THE_TESTS.get(role, {})
        for action, where in sorted(allowed | calls[role]):
            used = "called" if (action, where) in calls[role] else reasons.get((action, where), "NOT USED")
            granted = used if (action, where) in allowed else "NOT ALLOWED"
            yield f"  {action:38} {where:32} {granted}"
