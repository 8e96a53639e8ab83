"""No order is lost in a queue: not for its size, nor for lack of tries or of time to look at it."""

import pytest

from shared.executions.client import ENDED_BADLY

FOURTEEN_DAYS = 14 * 24 * 60 * 60
MIB = 1024 * 1024
QUEUES = ["OrdersQueue", "OrdersDlq", "RejectedOrders", "StatusChangesQueue", "StatusChangesDlq"]


def test_an_order_is_tried_five_times_and_then_kept_in_the_dead_letter_queue(properties):
    policy = properties("OrdersQueue")["RedrivePolicy"]
    assert policy["maxReceiveCount"] >= 5
    assert policy["deadLetterTargetArn"] == {"Fn::GetAtt": ["OrdersDlq", "Arn"]}


@pytest.mark.parametrize("queue", QUEUES)
def test_a_message_is_kept_for_as_long_as_sqs_keeps_any(properties, queue):
    assert properties(queue)["MessageRetentionPeriod"] == FOURTEEN_DAYS


@pytest.mark.parametrize("queue", QUEUES)
def test_a_message_is_encrypted_at_rest(properties, queue):
    assert properties(queue)["SqsManagedSseEnabled"] is True


def test_the_largest_message_leaves_16_kib_for_the_reason_it_may_be_rejected_with(properties):
    assert properties("OrdersQueue")["MaximumMessageSize"] <= MIB - 16 * 1024


def test_the_largest_message_holds_the_largest_order_in_any_spelling_but_a_wasteful_one(properties):
    from shared.orders.fields import MAX_CANONICAL_BYTES

    assert properties("OrdersQueue")["MaximumMessageSize"] >= 6 * MAX_CANONICAL_BYTES  # every character as \uXXXX


def test_a_rejected_message_of_any_size_fits(properties):
    assert properties("RejectedOrders")["MaximumMessageSize"] == MIB


def test_a_message_that_died_fits_into_the_dead_letter_queue(properties):
    # Not set, it is SQS's own default, which is its largest.
    assert properties("OrdersDlq").get("MaximumMessageSize", MIB) >= properties("OrdersQueue")["MaximumMessageSize"]


def test_no_queue_that_people_read_has_a_dead_letter_queue(properties):
    for queue in ("OrdersDlq", "RejectedOrders", "StatusChangesDlq"):
        assert "RedrivePolicy" not in properties(queue)


def mapping_of(resources, function):
    """The one event source mapping of a function."""
    (mapping,) = [
        resource["Properties"]
        for resource in resources.values()
        if resource["Type"] == "AWS::Lambda::EventSourceMapping"
        and resource["Properties"]["FunctionName"] == {"Ref": function}
    ]
    return mapping


def test_ingest_is_fed_from_the_orders_queue_alone_and_may_give_back_part_of_a_batch(resources):
    mapping = mapping_of(resources, "OrderIngest")
    assert mapping["EventSourceArn"] == {"Fn::GetAtt": ["OrdersQueue", "Arn"]}
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["BatchSize"] == {"Ref": "BatchSize"}
    assert mapping["MaximumBatchingWindowInSeconds"] == {"Ref": "BatchWindowSeconds"}
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": {"Ref": "IngestConcurrency"}}
    assert mapping.get("Enabled", True) is True


# ── status changes ────────────────────────────────────────────────────────────────────────────────


def test_a_status_change_outlasts_hours_of_an_unreachable_ledger_before_it_is_set_aside(properties):
    queue = properties("StatusChangesQueue")
    policy = queue["RedrivePolicy"]
    assert policy["deadLetterTargetArn"] == {"Fn::GetAtt": ["StatusChangesDlq", "Arn"]}
    assert policy["maxReceiveCount"] * queue["VisibilityTimeout"] >= 8 * 3600


def test_the_reconciler_is_fed_slowly_and_may_give_back_part_of_a_batch(resources):
    mapping = mapping_of(resources, "OrderReconciler")
    assert mapping["EventSourceArn"] == {"Fn::GetAtt": ["StatusChangesQueue", "Arn"]}
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    # Reads of executions are limited to 30 a second in an account.
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 2}


def test_the_rule_takes_every_end_that_is_not_success_of_every_version_of_the_orchestrator(resources, properties):
    pattern = properties("StatusChangesRule")["EventPattern"]
    assert pattern["source"] == ["aws.lambda"]
    assert pattern["detail-type"] == ["Durable Execution Status Change"]
    assert sorted(pattern["detail"]["status"]) == sorted(ENDED_BADLY)
    (function,) = pattern["detail"]["functionArn"]
    name = properties("DurableOrderProcessor")["FunctionName"]["Fn::Sub"]
    # With the colon: a function whose name only begins alike is another's.
    assert function["prefix"]["Fn::Sub"].endswith(f":function:{name}:")
    (target,) = properties("StatusChangesRule")["Targets"]
    assert target["Arn"] == {"Fn::GetAtt": ["StatusChangesQueue", "Arn"]}


def test_only_that_rule_may_send_to_the_queue_of_status_changes(properties):
    policy = properties("StatusChangesPolicy")
    assert policy["Queues"] == [{"Ref": "StatusChangesQueue"}]
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert statement["Action"] == "sqs:SendMessage"
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": ["StatusChangesRule", "Arn"]}}}


def test_the_sweep_runs_every_few_minutes(resources):
    (schedule,) = [
        resource["Properties"]
        for resource in resources.values()
        if resource["Type"] == "AWS::Events::Rule" and "ScheduleExpression" in resource["Properties"]
    ]
    assert schedule["ScheduleExpression"] == "rate(5 minutes)"
    (target,) = schedule["Targets"]
    assert target["Arn"] == {"Fn::GetAtt": ["OrderSweep", "Arn"]}
