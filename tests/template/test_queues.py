"""No order is lost in a queue: not for its size, nor for lack of tries or of time to look at it."""

import pytest

FOURTEEN_DAYS = 14 * 24 * 60 * 60
MIB = 1024 * 1024


def test_an_order_is_tried_five_times_and_then_kept_in_the_dead_letter_queue(properties):
    policy = properties("OrdersQueue")["RedrivePolicy"]
    assert policy["maxReceiveCount"] >= 5
    assert policy["deadLetterTargetArn"] == {"Fn::GetAtt": ["OrdersDlq", "Arn"]}


@pytest.mark.parametrize("queue", ["OrdersQueue", "OrdersDlq", "RejectedOrders"])
def test_a_message_is_kept_for_as_long_as_sqs_keeps_any(properties, queue):
    assert properties(queue)["MessageRetentionPeriod"] == FOURTEEN_DAYS


@pytest.mark.parametrize("queue", ["OrdersQueue", "OrdersDlq", "RejectedOrders"])
def test_a_message_is_encrypted_at_rest(properties, queue):
    assert properties(queue)["SqsManagedSseEnabled"] is True


def test_the_largest_message_leaves_16_kib_for_the_reason_it_may_be_rejected_with(properties):
    assert properties("OrdersQueue")["MaximumMessageSize"] <= MIB - 16 * 1024


def test_the_largest_message_holds_the_largest_order_in_any_spelling_but_a_wasteful_one(properties):
    from shared.order import MAX_CANONICAL_BYTES

    assert properties("OrdersQueue")["MaximumMessageSize"] >= 6 * MAX_CANONICAL_BYTES  # every character as \uXXXX


def test_a_rejected_message_of_any_size_fits(properties):
    assert properties("RejectedOrders")["MaximumMessageSize"] == MIB


def test_a_message_that_died_fits_into_the_dead_letter_queue(properties):
    # Not set, it is SQS's own default, which is its largest.
    assert properties("OrdersDlq").get("MaximumMessageSize", MIB) >= properties("OrdersQueue")["MaximumMessageSize"]


def test_only_the_orders_queue_has_a_dead_letter_queue(properties):
    for queue in ("OrdersDlq", "RejectedOrders"):
        assert "RedrivePolicy" not in properties(queue)


def test_ingest_is_fed_from_the_orders_queue_alone_and_may_give_back_part_of_a_batch(resources):
    (mapping,) = [
        resource["Properties"]
        for resource in resources.values()
        if resource["Type"] == "AWS::Lambda::EventSourceMapping"
    ]
    assert mapping["FunctionName"] == {"Ref": "OrderIngest"}
    assert mapping["EventSourceArn"] == {"Fn::GetAtt": ["OrdersQueue", "Arn"]}
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["BatchSize"] == {"Ref": "BatchSize"}
    assert mapping["MaximumBatchingWindowInSeconds"] == {"Ref": "BatchWindowSeconds"}
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": {"Ref": "IngestConcurrency"}}
    assert mapping.get("Enabled", True) is True
