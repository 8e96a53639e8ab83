"""Events, metrics and alarms on a stack of their own: what on-call sees, without faults and then with one of each."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from shared.aws.clock import timestamp
from shared.executions.names import OrderExecution
from shared.ledger.states import State
from shared.ledger.table import LedgerTable, unchanged
from shared.orders.order import parse_order
from tests.e2e.deployed_pipeline import TIMEOUT_SECONDS, DeployedPipeline, new_id
from tests.faults.events import NAMESPACE, Consumer, of_ledger, states_of_ledger
from tools.pipeline import local_stack


@pytest.fixture(scope="module")
def pipeline():
    with local_stack(parameters={"WaitSeconds": "1"}) as stack:
        yield OnCall(stack)


class OnCall(DeployedPipeline):
    """The deployed pipeline with its bus read by a queue."""

    def __init__(self, stack):
        super().__init__(stack)
        self.cloudwatch = stack.client("cloudwatch")
        self.table = LedgerTable(self.dynamodb, self.outputs["LedgerTableName"])
        self.consumer = Consumer(stack)

    def in_alarm(self):
        """The logical ids of the alarms of our own metrics that are in ALARM."""
        alarms = self.cloudwatch.get_paginator("describe_alarms").paginate(StateValue="ALARM")
        found = [alarm for page in alarms for alarm in page["MetricAlarms"] if alarm["Namespace"] == NAMESPACE]
        return {alarm["AlarmName"].split("-")[1] for alarm in found}

    def sweep(self):
        self.functions.invoke(FunctionName=self.outputs["OrderSweepArn"])["Payload"].read()


def test_without_faults_events_and_counts_equal_the_ledger(pipeline):
    orders = [{"orderId": new_id("EVENT")} for _ in range(12)]
    pipeline.send([json.dumps(order) for order in orders])
    entries = [pipeline.ended(order["orderId"]) for order in orders]
    assert {entry.state for entry in entries} == {State.COMPLETED}
    pipeline.consumer.wait_for(entries, TIMEOUT_SECONDS)
    assert Counter(pipeline.consumer.events()) == Counter(of_ledger(entries))
    assert pipeline.consumer.counted() == states_of_ledger(entries)
    assert pipeline.in_alarm() == set()


def reject_a_message(pipeline):
    pipeline.sqs.send_message(QueueUrl=pipeline.outputs["OrdersQueueUrl"], MessageBody="no order")


def end_an_order(state):
    def act(pipeline):
        entry = begin(pipeline, timedelta())
        pipeline.table.move(entry.order_id, 1, (state,), unchanged(entry))

    return act


def begin(pipeline, age):
    """An order that has been RECEIVED for this long by an execution that does not exist."""
    table = LedgerTable(
        pipeline.dynamodb, pipeline.outputs["LedgerTableName"], now=lambda: timestamp(datetime.now(UTC) - age)
    )
    order = parse_order(json.dumps({"orderId": new_id("ALARM")}))
    arn = pipeline.outputs["DurableOrderProcessorArn"].replace(":prod", f":1/durable-execution/{new_id()}/{new_id()}")
    table.begin(
        order, OrderExecution(order.order_id, arn, 1, named=False), (State.RECEIVED,), None, fields={"enrichStarts": 0}
    )
    return table.get(order.order_id)


def lose_an_order(pipeline):
    """Its execution is gone, so the sweep finds it stuck and ends it."""
    begin(pipeline, timedelta(minutes=6))
    pipeline.sweep()


def damage_an_item(pipeline):
    """The sweep lists it and cannot read it, and its event cannot be published."""
    item = {"orderId": {"S": new_id("DAMAGED")}, "stateShard": {"S": "WAITING#0"}, "updatedAt": {"S": "2026-01-01"}}
    pipeline.dynamodb.put_item(TableName=pipeline.outputs["LedgerTableName"], Item=item)
    pipeline.sweep()


def turn_the_publisher_off(pipeline):
    """The last fault: from here on nothing is published."""
    [mapping] = pipeline.functions.list_event_source_mappings(FunctionName=pipeline.outputs["OrderPublisherArn"])[
        "EventSourceMappings"
    ]
    pipeline.functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    pipeline.sweep()


@pytest.mark.parametrize(
    ("fault", "alarms"),
    [
        (reject_a_message, {"MessagesRejectedAlarm"}),
        (end_an_order(State.TIMED_OUT), {"OrdersTimedOutAlarm"}),
        (end_an_order(State.FAILED), {"OrdersFailedAlarm"}),
        (lose_an_order, {"OrdersStuckAlarm", "SweepFoundOrdersAlarm"}),
        (damage_an_item, {"SweepFailedCasesAlarm", "EventsUnreadableAlarm"}),
        (turn_the_publisher_off, {"PublisherOffAlarm"}),
    ],
    ids=["reject", "timed out", "failed", "lost", "damaged", "publisher off"],
)
def test_a_fault_moves_the_codes_own_alarm(pipeline, fault, alarms):
    assert not pipeline.in_alarm() & alarms
    fault(pipeline)
    pipeline.until(lambda: pipeline.in_alarm() >= alarms, f"{', '.join(sorted(alarms))} to be in ALARM")
