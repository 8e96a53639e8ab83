"""Executions that end without success: their orders end in the ledger too. The stack's clock runs 30 times as fast."""

import json
from collections import Counter
from contextlib import contextmanager

import pytest

from shared.errors import IllegalTransition
from shared.executions.client import ExecutionsClient
from shared.ledger.states import State
from shared.ledger.table import LedgerTable
from tests.e2e.deployed_pipeline import COMPLETED, DeployedPipeline, new_id, states
from tools.operations.cancel import cancel
from tools.operations.retry import retry
from tools.pipeline import local_stack

TIME_SCALE = 30
WAIT_SECONDS = 300
"""Ten seconds on this stack: long enough to stop an order while it waits, even on a busy machine."""
EXECUTION_TIMEOUT_SECONDS = 400

LONG_AGO = "2026-01-01T00:00:00.000Z"


class Endings(DeployedPipeline):
    """The pipeline, and what an operator can do to its executions."""

    def __init__(self, stack):
        super().__init__(stack)
        (described,) = stack.client("cloudformation").describe_stacks()["Stacks"]
        self.orders = ExecutionsClient(self.functions, self.outputs["DurableOrderProcessorArn"], described["StackId"])
        self.events = stack.client("events")
        self.ledger = LedgerTable(self.dynamodb, self.outputs["LedgerTableName"])

    def waiting(self):
        """Send an order and return its entry when it is WAITING."""
        order_id = new_id("ENDS")
        self.send([json.dumps({"orderId": order_id, "attributes": {"channel": "web"}})])
        return self.entry_when(order_id, lambda entry: entry.state == State.WAITING, "to wait")

    def rejects_of(self, execution_arn):
        """The number of rejects of an execution in the queue. All of them stay in the queue."""
        found = self.sqs.receive_message(
            QueueUrl=self.outputs["RejectedOrdersQueueUrl"],
            MaxNumberOfMessages=10,
            VisibilityTimeout=0,
            MessageAttributeNames=["All"],
        )
        sources = (message["MessageAttributes"]["sourceMessageId"] for message in found.get("Messages", []))
        return Counter(source["StringValue"] for source in sources)[execution_arn]

    def sweep(self):
        """Run a sweep now and return its answer."""
        response = self.functions.invoke(FunctionName=self.outputs["OrderSweepArn"], Payload=b"{}")
        assert "FunctionError" not in response
        return json.loads(response["Payload"].read())

    def sweeps_log(self):
        """The log lines of all sweeps so far."""
        group = f"/aws/lambda/{self.outputs['OrderSweepArn'].rpartition(':')[2]}"
        pages = self.logs.get_paginator("filter_log_events").paginate(logGroupName=group)
        messages = (event["message"] for page in pages for event in page["events"])
        return [json.loads(message) for message in messages if message.startswith("{")]

    def status_changes_left(self):
        counts = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        left = self.sqs.get_queue_attributes(
            QueueUrl=self.outputs["StatusChangesQueueUrl"], AttributeNames=list(counts)
        )
        return sum(int(left["Attributes"][count]) for count in counts)

    def age(self, order_id):
        """Set the time of the order's last transition to long ago."""
        self.dynamodb.update_item(
            TableName=self.outputs["LedgerTableName"],
            Key={"orderId": {"S": order_id}},
            UpdateExpression="SET updatedAt = :then",
            ExpressionAttributeValues={":then": {"S": LONG_AGO}},
        )

    @contextmanager
    def status_changes_lost(self):
        """Lose all status changes: the rule that sends them to the queue is disabled."""
        (rule,) = [rule["Name"] for rule in self.events.list_rules()["Rules"] if "EventPattern" in rule]
        self.events.disable_rule(Name=rule)
        try:
            yield
        finally:
            self.events.enable_rule(Name=rule)

    def delete(self, execution_arn):
        """Delete an execution and wait until Lambda no longer has it."""
        self.functions.delete_durable_execution(DurableExecutionArn=execution_arn)
        self.until(lambda: self.orders.get(execution_arn) is None, f"{execution_arn} to be deleted")


@pytest.fixture(scope="module")
def pipeline():
    parameters = {"WaitSeconds": str(WAIT_SECONDS), "ExecutionTimeoutSeconds": str(EXECUTION_TIMEOUT_SECONDS)}
    with local_stack(parameters=parameters, time_scale=TIME_SCALE) as stack:
        yield Endings(stack)


def test_a_stopped_order_is_stopped_in_the_ledger_with_the_operators_reason(pipeline):
    order = pipeline.waiting()
    pipeline.orders.stop(order.execution_arn, "Recall", "the goods are faulty")
    entry = pipeline.ended(order.order_id)
    assert states(entry) == [*COMPLETED[:4], "STOPPED"]
    assert entry.error == {"type": "Recall", "message": "the goods are faulty"}


def test_an_order_that_timed_out_in_its_wait_completes_after_a_retry(pipeline):
    order = pipeline.waiting()
    pipeline.functions.pause_durable_execution(DurableExecutionArn=order.execution_arn, ExecutionTimeoutPaused=False)
    entry = pipeline.ended(order.order_id)
    assert states(entry) == [*COMPLETED[:4], "TIMED_OUT"]
    retried = retry(order.order_id, pipeline.ledger, pipeline.orders)
    entry = pipeline.entry_when(order.order_id, lambda entry: entry.state == State.COMPLETED, "to complete")
    assert states(entry) == [*COMPLETED[:4], "TIMED_OUT", *COMPLETED]
    assert (entry.attempt, entry.execution_arn) == (2, retried.execution_arn)
    assert (entry.error, entry.history[5].detail) == (None, "retried")
    assert pipeline.execution(entry)["Status"] == "SUCCEEDED"


def test_a_cancel_in_the_wait_stops_the_execution(pipeline):
    order = pipeline.waiting()
    assert cancel(order.order_id, pipeline.ledger, pipeline.orders, "changed his mind").state is State.CANCELLED
    entry = pipeline.entry_when(
        order.order_id, lambda entry: entry.execution_status, "to have the status of its execution"
    )
    assert states(entry) == [*COMPLETED[:4], "CANCELLED"]
    assert (entry.execution_status, entry.history[-1].detail) == ("STOPPED", "changed his mind")
    execution = pipeline.execution(entry)
    assert (execution["Status"], execution["Error"]["ErrorType"]) == ("STOPPED", "OrderCancelled")
    with pytest.raises(IllegalTransition, match="CANCELLED"):
        retry(order.order_id, pipeline.ledger, pipeline.orders)


def test_a_conflict_that_only_the_orchestrator_sees_is_rejected_once(pipeline):
    order = pipeline.waiting()
    other = json.dumps({"orderId": order.order_id, "currency": "EUR"})
    answer = pipeline.functions.invoke(
        FunctionName=pipeline.outputs["DurableOrderProcessorArn"], InvocationType="Event", Payload=other.encode()
    )
    arn = answer["DurableExecutionArn"]
    entry = pipeline.entry_when(order.order_id, lambda entry: entry.has_conflict(arn), "to have its conflict noted")
    assert [conflict["executionArn"] for conflict in entry.conflicts] == [arn]
    # Send the status change a second time, and let a sweep find the same execution.
    event = {"detail": {"durableExecutionArn": arn, "status": "FAILED"}}
    pipeline.sqs.send_message(QueueUrl=pipeline.outputs["StatusChangesQueueUrl"], MessageBody=json.dumps(event))
    assert pipeline.sweep()["failed"] == 0
    pipeline.until(lambda: pipeline.status_changes_left() == 0, "the status changes to be processed")
    assert pipeline.rejects_of(arn) == 1
    reject = pipeline.rejected('{"currency":"EUR","orderId":"' + order.order_id + '"}')
    assert (reject["reasonCode"], reject["sourceMessageId"]) == ("ORDER_CONFLICT", arn)
    assert pipeline.ledger.get(order.order_id).order == order.order


def test_a_bad_asynchronous_invoke_is_rejected_by_exactly_one_sweep(pipeline):
    with pipeline.status_changes_lost():
        answer = pipeline.functions.invoke(
            FunctionName=pipeline.outputs["DurableOrderProcessorArn"], InvocationType="Event", Payload=b'"no order"'
        )
        arn = answer["DurableExecutionArn"]
        pipeline.until(lambda: pipeline.orders.get(arn).status == "FAILED", f"{arn} to fail")
        ended_before = sum(line.get("message") == "swept" for line in pipeline.sweeps_log())
        for _ in range(2):
            assert pipeline.sweep()["failed"] == 0

        def both():
            lines = pipeline.sweeps_log()
            ended = sum(line.get("message") == "swept" for line in lines)
            return lines if ended >= ended_before + 2 else None

        lines = pipeline.until(both, "the last lines of both sweeps")
    assert [line["message"] for line in lines if line.get("executionArn") == arn] == ["order rejected"]
    assert pipeline.rejects_of(arn) == 1
    reject = pipeline.rejected('"no order"')
    assert (reject["reasonCode"], reject["sourceMessageId"]) == ("INVALID_ORDER", arn)


def test_the_sweep_ends_orders_whose_status_changes_were_lost(pipeline):
    with pipeline.status_changes_lost():
        stopped, deleted = pipeline.waiting(), pipeline.waiting()
        for order in (stopped, deleted):
            pipeline.orders.stop(order.execution_arn, "Recall", "the goods are faulty")
        pipeline.delete(deleted.execution_arn)
        pipeline.age(deleted.order_id)
        assert pipeline.ledger.get(stopped.order_id).state == State.WAITING
        assert pipeline.sweep()["failed"] == 0
    assert states(pipeline.ledger.get(stopped.order_id)) == [*COMPLETED[:4], "STOPPED"]
    entry = pipeline.ledger.get(deleted.order_id)
    assert states(entry) == [*COMPLETED[:4], "FAILED"]
    assert entry.error["type"] == "ExecutionLost"
