"""Lambda, the enricher and the rejected-orders queue, with the behaviour of the model.

The executions on Lambda are the model's executions: each start or stop that the pipeline's code requests is a move of
the model.
"""

import io
import json

from botocore.exceptions import ClientError

from shared.errors import EnrichmentRejected
from shared.executions.names import ExecutionName
from shared.orders.enrichment import Enrichment
from shared.orders.order import parse_order
from tests.integration.executions import response_of
from tests.protocol.paused import before_request
from tests.protocol.pipeline_model import ANOTHERS, DELETED, DELETES, RUNNING, STOPPED, SUCCEEDED

STACK_ID = "arn:aws:cloudformation:us-east-1:123456789012:stack/orders/0a1b2c3d"
ORCHESTRATOR = "arn:aws:lambda:us-east-1:123456789012:function:orders-DurableOrderProcessor"


class LambdaStandIn:
    """boto3's Lambda client for the model's executions of one order."""

    def __init__(self, followed):
        self._followed = followed

    def invoke(self, *, FunctionName, InvocationType, DurableExecutionName, Payload):  # noqa: N803, ARG002 (boto3's names)
        before_request("Invoke")
        attempt = ExecutionName.parse(DurableExecutionName).attempt
        body = self._followed.body_of(parse_order(Payload.decode()))
        if self._followed.take(f"retry: attempt {attempt} of {body}") == "refused":
            raise _error("DurableExecutionAlreadyStartedException", 409)
        executions = self._followed.world.executions
        i = max(i for i, execution in enumerate(executions) if execution.name == attempt and not execution.forgotten)
        return {"Payload": io.BytesIO(), "DurableExecutionArn": self._followed.arn(i)}

    def stop_durable_execution(self, *, DurableExecutionArn, Error):  # noqa: N803, ARG002 (boto3's names)
        before_request("StopDurableExecution")
        i = self._followed.number(DurableExecutionArn)
        if i in self._followed.world.stopping:
            self._followed.take("operator stops", i)
        elif self._found(i).status == RUNNING:  # a repeated cancel
            self._followed.take(STOPPED, i)
        self._found(i)

    def get_durable_execution(self, *, DurableExecutionArn):  # noqa: N803 (boto3's names)
        before_request("GetDurableExecution")
        execution = self._found(self._followed.number(DurableExecutionArn))
        payload = self._followed.orders[execution.body].canonical_bytes().decode()
        found = {"DurableExecutionArn": DurableExecutionArn, "Status": execution.status, "InputPayload": payload}
        if execution.status == SUCCEEDED:
            found["Result"] = json.dumps(response_of(self._followed.order_id))
        if execution.how == ANOTHERS:
            found["Error"] = {"ErrorType": "shared.errors.OrderInProgress", "ErrorMessage": "another runs it"}
        return found

    def delete_durable_execution(self, *, DurableExecutionArn):  # noqa: N803 (boto3's names)
        before_request("DeleteDurableExecution")
        i = self._followed.number(DurableExecutionArn)
        if self._found(i).status == RUNNING:
            raise _error("ResourceConflictException", 409)
        self._followed.take(DELETES, i)

    def _found(self, i):
        execution = self._followed.world.executions[i]
        if execution.status == DELETED:
            raise _error("ResourceNotFoundException", 404)
        return execution


class MarksStandIn:
    """The marks of examined executions."""

    def __init__(self):
        self._marks = {}

    def of(self, arns):
        before_request("marks?")
        return {arn: self._marks[arn] for arn in arns if arn in self._marks}

    def put(self, arn, mark):
        before_request("mark")
        self._marks[arn] = mark


class QueueStandIn:
    """boto3's SQS client for the rejected-orders queue. `sent` has (body, reason, the execution's ARN)."""

    def __init__(self):
        self.sent = []

    def send_message(self, *, QueueUrl, MessageBody, MessageAttributes):  # noqa: N803, ARG002 (boto3's names)
        before_request("SendMessage")
        reason, source = (MessageAttributes[name]["StringValue"] for name in ("reasonCode", "sourceMessageId"))
        self.sent.append((MessageBody, reason, source))


class EnricherStandIn:
    """The enricher. It gives each process another answer, or fails if `fails` is set."""

    def __init__(self, process):
        self._process = process
        self.fails = False

    def enrich(self, order, calls):
        before_request("enricher")
        if self.fails:
            raise EnrichmentRejected("no such customer")
        data = {
            "customerId": f"CUST-{self._process}",
            "timestamp": "2026-01-01T00:00:00.000Z",
            "profile": {"kind": "GUEST"},
            "totals": {"lines": 0, "units": calls, "amount": "0"},
        }
        return Enrichment.model_validate({"statusCode": 200, "orderId": order.order_id, "enrichedData": data})


def _error(code, status):
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Lambda")
