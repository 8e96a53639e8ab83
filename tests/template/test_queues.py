"""No order is lost in a queue: the limits of size, receives and retention are large enough."""

import pytest

from shared.executions.client import UNSUCCESSFUL

FOURTEEN_DAYS = 14 * 24 * 60 * 60
MIB = 1024 * 1024
CUSTOMERS_KEY = {"Fn::If": ["HasKmsKey", {"Ref": "KmsKeyArn"}, {"Ref": "AWS::NoValue"}]}
QUEUES = ["OrdersQueue", "OrdersDlq", "RejectedOrders", "StatusChangesQueue", "StatusChangesDlq", "EventsDlq"]


def test_an_order_moves_to_the_dead_letter_queue_after_five_or_more_receives(properties):
    policy = properties("OrdersQueue")["RedrivePolicy"]
    assert policy["maxReceiveCount"] >= 5
    assert policy["deadLetterTargetArn"] == {"Fn::GetAtt": ["OrdersDlq", "Arn"]}


@pytest.mark.parametrize("queue", QUEUES)
def test_a_message_has_the_longest_retention_of_sqs(properties, queue):
    assert properties(queue)["MessageRetentionPeriod"] == FOURTEEN_DAYS


@pytest.mark.parametrize("queue", QUEUES)
def test_a_message_is_encrypted_at_rest(properties, queue):
    """By SQS's key or by the customer's: SQS refuses both at once."""
    assert properties(queue)["SqsManagedSseEnabled"] == {"Fn::If": ["HasKmsKey", {"Ref": "AWS::NoValue"}, True]}
    assert properties(queue)["KmsMasterKeyId"] == CUSTOMERS_KEY


@pytest.mark.parametrize("queue", QUEUES)
def test_a_queue_has_one_policy_which_denies_requests_without_tls(resources, queue):
    """SQS keeps one policy for a queue: a second resource for it would replace the first."""
    (policy,) = [
        resource["Properties"]
        for resource in resources.values()
        if resource["Type"] == "AWS::SQS::QueuePolicy" and {"Ref": queue} in resource["Properties"]["Queues"]
    ]
    assert policy["Queues"] == [{"Ref": queue}]
    assert policy["PolicyDocument"]["Statement"][0] == {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "sqs:*",
        "Resource": {"Fn::GetAtt": [queue, "Arn"]},
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def test_every_queue_of_the_template_is_in_this_list_and_it_has_no_topic(resources):
    types = {name: resource["Type"] for name, resource in resources.items()}
    assert {name for name, kind in types.items() if kind == "AWS::SQS::Queue"} == set(QUEUES)
    assert "AWS::SNS::Topic" not in types.values()


def test_the_largest_message_leaves_16_kib_for_a_reason(properties):
    assert properties("OrdersQueue")["MaximumMessageSize"] <= MIB - 16 * 1024


def test_the_largest_order_fits_into_a_message_even_when_escaped(properties):
    from shared.orders.fields import MAX_CANONICAL_BYTES

    assert properties("OrdersQueue")["MaximumMessageSize"] >= 6 * MAX_CANONICAL_BYTES  # every character as \uXXXX


def test_a_rejected_message_of_any_size_fits(properties):
    assert properties("RejectedOrders")["MaximumMessageSize"] == MIB


def test_a_message_of_any_size_fits_into_the_dead_letter_queue(properties):
    # Without a value SQS uses its default, which is the largest.
    assert properties("OrdersDlq").get("MaximumMessageSize", MIB) >= properties("OrdersQueue")["MaximumMessageSize"]


def test_no_queue_that_people_read_has_a_dead_letter_queue(properties):
    for queue in ("OrdersDlq", "RejectedOrders", "StatusChangesDlq", "EventsDlq"):
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


def test_ingest_reads_only_the_orders_queue_with_partial_batch_responses(resources):
    mapping = mapping_of(resources, "OrderIngest")
    assert mapping["EventSourceArn"] == {"Fn::GetAtt": ["OrdersQueue", "Arn"]}
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["BatchSize"] == {"Ref": "BatchSize"}
    assert mapping["MaximumBatchingWindowInSeconds"] == {"Ref": "BatchWindowSeconds"}
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": {"Ref": "IngestConcurrency"}}
    assert mapping.get("Enabled", True) is True


def test_the_publisher_reads_the_ledgers_stream_from_its_start_and_gives_up_late(resources, properties):
    assert properties("LedgerTable")["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}
    mapping = mapping_of(resources, "OrderPublisher")
    assert mapping["EventSourceArn"] == {"Fn::GetAtt": ["LedgerTable", "StreamArn"]}
    assert mapping["StartingPosition"] == "TRIM_HORIZON"
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["BisectBatchOnFunctionError"] is True
    # No limit of retries, and less than the stream's 24 hours: what is given up is described in the queue.
    assert mapping.get("MaximumRetryAttempts", -1) == -1
    assert 3600 <= mapping["MaximumRecordAgeInSeconds"] < 24 * 3600
    assert mapping["DestinationConfig"]["OnFailure"]["Destination"] == {"Fn::GetAtt": ["EventsDlq", "Arn"]}


# ── status changes ────────────────────────────────────────────────────────────────────────────────


def test_a_status_change_is_retried_for_hours_before_the_dead_letter_queue(properties):
    queue = properties("StatusChangesQueue")
    policy = queue["RedrivePolicy"]
    assert policy["deadLetterTargetArn"] == {"Fn::GetAtt": ["StatusChangesDlq", "Arn"]}
    assert policy["maxReceiveCount"] * queue["VisibilityTimeout"] >= 8 * 3600


def test_the_reconciler_reads_slowly_with_partial_batch_responses(resources):
    mapping = mapping_of(resources, "OrderReconciler")
    assert mapping["EventSourceArn"] == {"Fn::GetAtt": ["StatusChangesQueue", "Arn"]}
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    # Reads of executions are limited to 30 a second in an account.
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 2}


def test_the_rule_matches_each_unsuccessful_end_of_every_orchestrator_version(resources, properties):
    pattern = properties("StatusChangesRule")["EventPattern"]
    assert pattern["source"] == ["aws.lambda"]
    assert pattern["detail-type"] == ["Durable Execution Status Change"]
    assert sorted(pattern["detail"]["status"]) == sorted(UNSUCCESSFUL)
    (function,) = pattern["detail"]["functionArn"]
    name = properties("DurableOrderProcessor")["FunctionName"]["Fn::Sub"]
    # With the colon, so that functions whose names only have the same beginning do not match.
    assert function["prefix"]["Fn::Sub"].endswith(f":function:{name}:")
    (target,) = properties("StatusChangesRule")["Targets"]
    assert target["Arn"] == {"Fn::GetAtt": ["StatusChangesQueue", "Arn"]}


def test_only_that_rule_may_send_to_the_queue_of_status_changes(properties):
    policy = properties("StatusChangesPolicy")
    assert policy["Queues"] == [{"Ref": "StatusChangesQueue"}]
    _, statement = policy["PolicyDocument"]["Statement"]
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
