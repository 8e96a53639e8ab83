"""Checks a deployed stack: what an operator must correct before the pipeline works as promised."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from tools.operations.why import ENABLED

DEAD_LETTERS: Final = {
    "OrdersDlqUrl": "orders dlq list",
    "StatusChangesDlqUrl": "orders dlq list --queue status-changes",
    "EventsDlqUrl": "orders dlq list --queue events",
}
"""Each dead-letter queue, and what to do when it has messages."""


@dataclass(frozen=True)
class Finding:
    """One check. `problem` says what is wrong and what to do; None: it is ok."""

    check: str
    problem: str | None = None


@dataclass(frozen=True)
class Stack:
    """The stack to check. `client` makes a client of a service."""

    client: Callable[[str], Any]
    outputs: dict[str, str]


def check_stack(stack: Stack) -> Iterator[Finding]:
    """All checks, one after the other. A check that AWS refuses is a problem, and the others still run."""
    checks = {
        "alias": _alias,
        "durable configuration": _durable,
        "event sources": _event_sources,
        "queue policies": _queue_policies,
        "dead letters": _dead_letters,
        "rules": _rules,
        "alarms": _alarms,
    }
    for name, check in checks.items():
        try:
            problems = list(check(stack))
        except (ClientError, BotoCoreError) as error:
            problems = [f"AWS does not tell: {error}; your role needs the permission to read it"]
        if problems:
            yield from (Finding(name, problem) for problem in problems)
        else:
            yield Finding(name)


def _alias(stack: Stack) -> Iterator[str]:
    function, _, alias = stack.outputs["DurableOrderProcessorArn"].rpartition(":")
    found = stack.client("lambda").get_alias(FunctionName=function, Name=alias)
    if found["FunctionVersion"] == "$LATEST":
        yield f"the alias {alias} points to $LATEST, which changes under running orders: deploy the template again"


def _durable(stack: Stack) -> Iterator[str]:
    found = stack.client("lambda").get_function_configuration(FunctionName=stack.outputs["DurableOrderProcessorArn"])
    durable = found.get("DurableConfig")
    if durable is None:
        yield "the alias's version is not a durable function: deploy the template again"
        return
    wanted = int(found["Environment"]["Variables"]["EXECUTION_TIMEOUT_SECONDS"])
    if durable["ExecutionTimeout"] != wanted:
        yield f"the execution timeout is {durable['ExecutionTimeout']} s and the code assumes {wanted} s: deploy again"


def _event_sources(stack: Stack) -> Iterator[str]:
    for output in ("OrderIngestArn", "OrderReconcilerArn", "OrderPublisherArn"):
        function = stack.outputs[output]
        found = stack.client("lambda").list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
        if not found:
            yield f"{function} has no event source mapping: deploy the template again"
        for mapping in found:
            if mapping["State"] not in ENABLED:
                enable = f"aws lambda update-event-source-mapping --uuid {mapping['UUID']} --enabled"
                remedy = "orders resume --intake" if output == "OrderIngestArn" else enable
                yield f"the event source of {function} is {mapping['State']}: {remedy}"
            if mapping.get("FunctionResponseTypes") != ["ReportBatchItemFailures"]:
                yield f"the event source mapping of {function} does not report batch item failures: deploy again"


def _queue_policies(stack: Stack) -> Iterator[str]:
    found = stack.client("sqs").get_queue_attributes(
        QueueUrl=stack.outputs["StatusChangesQueueUrl"], AttributeNames=["Policy"]
    )
    policy = json.loads(found.get("Attributes", {}).get("Policy", '{"Statement": []}'))
    if not any("events.amazonaws.com" in json.dumps(statement) for statement in policy["Statement"]):
        yield "EventBridge may not send status changes to their queue: deploy the template again"


def _dead_letters(stack: Stack) -> Iterator[str]:
    for output, then in DEAD_LETTERS.items():
        url = stack.outputs[output]
        names = ["ApproximateNumberOfMessages"]
        found = stack.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        if count := int(found["ApproximateNumberOfMessages"]):
            yield f"{url.rpartition('/')[2]} has {count} messages: {then}"


def _rules(stack: Stack) -> Iterator[str]:
    events = stack.client("events")
    unqualified = stack.outputs["DurableOrderProcessorArn"].rpartition(":")[0]
    status_changes = _queue_arn(stack, "StatusChangesQueueUrl")
    is_reported = False
    for page in events.get_paginator("list_rules").paginate():
        for rule in page["Rules"]:
            targets = [target["Arn"] for target in events.list_targets_by_rule(Rule=rule["Name"])["Targets"]]
            if unqualified in targets:
                yield f"the rule {rule['Name']} invokes the orchestrator unqualified: let it invoke the alias prod"
            is_needed = status_changes in targets or stack.outputs["OrderSweepArn"] in targets
            if is_needed and rule["State"] == "DISABLED":
                yield f"the rule {rule['Name']} is disabled: aws events enable-rule --name {rule['Name']}"
            is_reported = is_reported or status_changes in targets
    if not is_reported:
        yield "no rule sends status changes to their queue: deploy the template again"


def _queue_arn(stack: Stack, output: str) -> str:
    found = stack.client("sqs").get_queue_attributes(QueueUrl=stack.outputs[output], AttributeNames=["QueueArn"])
    return str(found["Attributes"]["QueueArn"])


def _alarms(stack: Stack) -> Iterator[str]:
    for name, description in ringing(stack.client("cloudwatch"), stack.outputs):
        yield f"the alarm {name} is in ALARM: {description}"


def ringing(cloudwatch: Any, outputs: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The names of the stack's alarms that are in ALARM, each with its description."""
    prefix = outputs["OrderIngestArn"].rpartition(":")[2].removesuffix("-OrderIngest")
    for page in cloudwatch.get_paginator("describe_alarms").paginate(AlarmNamePrefix=f"{prefix}-"):
        for alarm in page["MetricAlarms"]:
            if alarm["StateValue"] == "ALARM":
                yield alarm["AlarmName"], alarm.get("AlarmDescription", "see its metric")
