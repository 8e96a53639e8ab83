"""A stand-in for Lambda's executions of the orchestrator, behind boto3's own requests."""

import json
import re
import uuid
from datetime import UTC, datetime
from urllib.parse import parse_qs, unquote, urlsplit

from orchestrator.result import order_result
from reconciler.pace import Pace
from shared.executions.client import ExecutionsClient
from tests.unit.executions import ALIAS, EXECUTION, STACK_ID
from tests.unit.transport import client, refusal, response
from tools.operations.pause import Executions

_ARN = re.compile(r"/durable-executions/(.+?)(?:/stop)?$")


ENRICHMENT = {
    "statusCode": 200,
    "orderId": "ORDER-1",
    "enrichedData": {"customerId": "CUST-1", "totals": {"lines": 2, "amount": "14.37"}},
}
FINALIZATION = {"finalizedAt": "2026-01-01T00:01:00.000Z", "processedAt": "2026-01-01T00:01:00.001Z"}


def response_of(order_id):
    """What the workflow returns for a completed order."""
    return order_result(order_id, ENRICHMENT | {"orderId": order_id}, FINALIZATION)


class ExecutionsOnLambda:
    """Starts, stores, stops and lists executions. `asked` has the operation name of each request, in order."""

    def __init__(self):
        self.client = client("lambda")
        self.orders = ExecutionsClient(self.client, ALIAS, STACK_ID)
        self.running = Executions(self.client, ALIAS.rpartition(":")[0], STACK_ID, Pace(1_000_000))
        self.asked = []
        self.records = {}
        self._failures = {}
        for operation, answer in {
            "Invoke": self._invoke,
            "GetDurableExecution": self._get,
            "StopDurableExecution": self._stop,
            "ListDurableExecutionsByFunction": self._list,
            "DeleteDurableExecution": self._delete,
            "GetEventSourceMapping": lambda _request: (200, {}, b'{"State": "Enabled"}'),
        }.items():
            self.client.meta.events.register(f"before-send.lambda.{operation}", self._answering(operation, answer))

    def begin(self, order, name=None):
        """Start an execution of an order or of any text. Returns its ARN."""
        arn = f"{EXECUTION}/{name or uuid.uuid4()}/{uuid.uuid4()}"
        text = order if isinstance(order, str) else order.canonical_bytes().decode()
        self.records[arn] = {
            "DurableExecutionArn": arn,
            "DurableExecutionName": arn.split("/")[2],
            "FunctionArn": ALIAS.replace(":prod", ":7"),
            "Status": "RUNNING",
            "StartTimestamp": datetime.now(UTC).timestamp(),
            "InputPayload": text,
        }
        return arn

    def succeed(self, order, name=None):
        """Run an execution to its success, which has no trace in the ledger. Returns its ARN."""
        return self.end(self.begin(order, name), "SUCCEEDED", result=json.dumps(response_of(order.order_id)))

    def end(self, arn, status, error_type=None, message=None, at=None, result=None):
        """End an execution."""
        self.records[arn] |= {"Status": status, "EndTimestamp": (at or datetime.now(UTC)).timestamp()}
        if error_type:
            self.records[arn]["Error"] = {"ErrorType": error_type, "ErrorMessage": message}
        if result is not None:
            self.records[arn]["Result"] = result
        return arn

    def forget(self, arn):
        del self.records[arn]

    def fail(self, operation, *answers):
        """Give an operation's next requests these responses; an exception is raised."""
        self._failures[operation] = list(answers)

    def count(self, operation):
        return self.asked.count(operation)

    def _answering(self, operation, answer):
        def answered(request, **_):
            self.asked.append(operation)
            if self._failures.get(operation):
                failure = self._failures[operation].pop(0)
                if isinstance(failure, Exception):
                    raise failure
                status, headers, body = failure
            else:
                status, headers, body = answer(request)
            return response(request, status, headers, body)

        return answered

    def _invoke(self, request):
        name = request.headers["X-Amz-Durable-Execution-Name"].decode()
        taken = [record for record in self.records.values() if record["DurableExecutionName"] == name]
        if taken and taken[0]["InputPayload"].encode() != request.body:
            return refusal(409, "DurableExecutionAlreadyStartedException")
        arn = taken[0]["DurableExecutionArn"] if taken else self.begin(request.body.decode(), name)
        return 202, {"X-Amz-Durable-Execution-Arn": arn}, b""

    def _get(self, request):
        arn = _arn_in(request)
        if not arn.startswith(EXECUTION):
            return refusal(400, "InvalidParameterValueException")
        return (200, {}, json.dumps(self.records[arn]).encode()) if arn in self.records else _gone()

    def _stop(self, request):
        record = self.records.get(_arn_in(request))
        if record is None:
            return _gone()
        if record["Status"] == "RUNNING":
            self.end(record["DurableExecutionArn"], "STOPPED")
            record["Error"] = json.loads(request.body)
        return 200, {}, json.dumps({"StopTimestamp": record["EndTimestamp"]}).encode()

    def _delete(self, request):
        record = self.records.get(_arn_in(request))
        if record is None:
            return _gone()
        if record["Status"] == "RUNNING":
            return refusal(409, "ResourceConflictException")
        self.forget(record["DurableExecutionArn"])
        return 200, {}, b"{}"

    def _list(self, request):
        query = parse_qs(urlsplit(request.url).query)
        after = datetime.fromisoformat(query["StartedAfter"][0]).timestamp()
        found = [
            {name: value for name, value in record.items() if name not in ("InputPayload", "Error", "Result")}
            for record in self.records.values()
            if record["Status"] in query["Statuses"] and record["StartTimestamp"] > after
        ]
        return 200, {}, json.dumps({"DurableExecutions": found}).encode()


def _arn_in(request):
    return _ARN.search(unquote(urlsplit(request.url).path))[1]


def _gone():
    return refusal(404, "ResourceNotFoundException")
