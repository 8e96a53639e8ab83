"""The deployed pipeline, as the end-to-end tests use it."""

import json
import time
from contextlib import contextmanager
from uuid import uuid4

import pytest

from durable_local.faults import Hold, Rule
from shared.ledger.states import TERMINAL, State
from tools.demo import Demo

COMPLETED = ["RECEIVED", "ENRICHING", "ENRICHED", "WAITING", "FINALIZING", "COMPLETED"]
TIMEOUT_SECONDS = 120
POLL_SECONDS = 0.2
ORCHESTRATOR = "DurableOrderProcessor"


def new_id(prefix="E2E"):
    return f"{prefix}-{uuid4().hex[:12]}"


def states(entry):
    return [step.state.value for step in entry.history]


class DeployedPipeline(Demo):
    """The deployed pipeline as its users see it: queues, a table and an alias."""

    def __init__(self, stack):
        super().__init__(stack)
        self.stack = stack
        self.outputs = stack.outputs
        self.sqs = stack.client("sqs")
        self.functions = stack.client("lambda")
        self.dynamodb = stack.client("dynamodb")
        self.logs = stack.client("logs")

    def until(self, look, what):
        """Call `look` until it returns something true, and return that. Fails after `TIMEOUT_SECONDS`."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            if found := look():
                return found
            time.sleep(POLL_SECONDS)
        pytest.fail(f"waited {TIMEOUT_SECONDS} s for {what}")

    def entry_when(self, order_id, condition, what):
        def look():
            entry = self.ledger.get(order_id)
            return entry if entry is not None and condition(entry) else None

        return self.until(look, f"{order_id} {what}")

    def ended(self, order_id, attempt=1):
        """The order's entry when it has ended in this attempt, or in a later one."""
        return self.entry_when(
            order_id, lambda entry: entry.state in TERMINAL and entry.attempt >= attempt, f"to end attempt {attempt}"
        )

    def drained(self):
        return self.until(lambda: self.messages_left() == 0, "the queues to be empty")

    def rejected(self, body):
        """The attributes of the reject with exactly this body. The reject is deleted from the queue."""

        def look():
            found = self.sqs.receive_message(
                QueueUrl=self.outputs["RejectedOrdersQueueUrl"],
                MaxNumberOfMessages=10,
                VisibilityTimeout=0,
                MessageAttributeNames=["All"],
            )
            for message in found.get("Messages", []):
                if message["Body"] == body:
                    self.sqs.delete_message(
                        QueueUrl=self.outputs["RejectedOrdersQueueUrl"], ReceiptHandle=message["ReceiptHandle"]
                    )
                    return {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
            return None

        return self.until(look, "the reject")

    def execution(self, entry):
        """The order's owner, as Lambda describes it after its end, which is later than its last ledger write."""

        def look():
            execution = self.functions.get_durable_execution(DurableExecutionArn=entry.execution_arn)
            return execution if execution["Status"] != "RUNNING" else None

        return self.until(look, f"the execution of {entry.order_id} to end")

    def executions(self, **filters):
        name = self.outputs["DurableOrderProcessorArn"].rpartition(":")[0]
        pages = self.functions.get_paginator("list_durable_executions_by_function").paginate(
            FunctionName=name, **filters
        )
        return [execution for page in pages for execution in page["DurableExecutions"]]

    def fail_by_three_causes(self, away, damaged, stopped, customer, send):
        """Let orders of this customer fail: without the customers table, by a damaged customer, and stopped in WAITING.

        `away`, `damaged` and `stopped` are order ids. `send` sends a list of messages.
        """

        def sends(order_ids):
            send([json.dumps({"orderId": order_id, "customerId": customer}) for order_id in order_ids])

        table = self.outputs["CustomersTableName"]
        with self.without_customers():
            sends(away)
            assert {self.ended(order_id).state for order_id in away} == {State.FAILED}
        self.dynamodb.put_item(TableName=table, Item={"customerId": {"S": customer}, "tier": {"N": "1"}})
        sends(damaged)
        assert {self.ended(order_id).state for order_id in damaged} == {State.FAILED}
        self.dynamodb.delete_item(TableName=table, Key={"customerId": {"S": customer}})
        sends(stopped)
        for order_id in stopped:
            entry = self.entry_when(order_id, lambda entry: entry.state is State.WAITING, "to wait")
            self.functions.stop_durable_execution(
                DurableExecutionArn=entry.execution_arn, Error={"ErrorType": "Maintenance", "ErrorMessage": "stopped"}
            )
        assert {self.ended(order_id).state for order_id in stopped} == {State.STOPPED}

    @contextmanager
    def without_finalize(self, order_id=""):
        """Let this order, or all, come as far as WAITING, and no further before the end of the block.

        The write of FINALIZING waits on its way. Needs a stack with `faults`.
        """
        text = (order_id, f'"{State.FINALIZING}"')
        rule = self.stack.faults.add(Rule(Hold(), "dynamodb", "UpdateItem", ORCHESTRATOR, text, times=None))
        try:
            yield
        finally:
            self.stack.faults.release(rule)

    @contextmanager
    def without_customers(self):
        """Delete the customers table, so the enricher fails for orders with a customer. Create it again at the end."""
        name = self.outputs["CustomersTableName"]
        described = self.dynamodb.describe_table(TableName=name)["Table"]
        self.dynamodb.delete_table(TableName=name)
        try:
            yield
        finally:
            schema = {key: described[key] for key in ("KeySchema", "AttributeDefinitions")}
            self.dynamodb.create_table(TableName=name, BillingMode="PAY_PER_REQUEST", **schema)
