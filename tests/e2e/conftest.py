"""One local stack for all end-to-end tests: template.yaml on a free port, deployed as `make up` deploys it."""

import time
from contextlib import contextmanager

import pytest

from shared.ledger.states import TERMINAL
from tools.demo import Demo
from tools.pipeline import local_stack
from tools.sample_data import load_samples

WAIT_SECONDS = 5
"""Long enough for a test to read an order while it waits, even on a busy machine."""

TIMEOUT_SECONDS = 120


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
            time.sleep(0.05)
        pytest.fail(f"waited {TIMEOUT_SECONDS} s for {what}")

    def entry_when(self, order_id, condition, what):
        def look():
            entry = self.ledger.get(order_id)
            return entry if entry is not None and condition(entry) else None

        return self.until(look, f"{order_id} {what}")

    def ended(self, order_id):
        return self.entry_when(order_id, lambda entry: entry.state in TERMINAL, "to end")

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


@pytest.fixture(scope="session")
def stack():
    with local_stack(parameters={"WaitSeconds": str(WAIT_SECONDS)}) as running:
        load_samples(running)
        yield running


@pytest.fixture(scope="session")
def pipeline(stack):
    return DeployedPipeline(stack)
