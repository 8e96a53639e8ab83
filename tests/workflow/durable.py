"""The real workflow, ledger and enricher in one process, on AWS's durable test runner, which skips waits.

Only AWS is replaced: DynamoDB by moto, and Lambda's Invoke of the enricher by a call of its handler. Tests inject
faults there. To kill a process they raise an error that our code never catches.
"""

import io
import itertools
import json
from dataclasses import replace

from aws_durable_execution_sdk_python_testing.runner import DurableFunctionTestRunner
from botocore.exceptions import ClientError

from shared.executions.names import ExecutionName
from shared.ledger.table import LedgerReader, LedgerTable, Written, unchanged

STACK_ID = "arn:aws:cloudformation:us-east-1:123456789012:stack/orders/0a1b2c3d"
ORDER = {"orderId": "ORDER-123", "items": [{"sku": "CD", "quantity": 3, "unitPrice": "9.99"}], "currency": "USD"}
COMPLETED = ["RECEIVED", "ENRICHING", "ENRICHED", "WAITING", "FINALIZING", "COMPLETED"]


def answer(result):
    """Return the result of a successful execution."""
    assert result.status.value == "SUCCEEDED", result.error
    return json.loads(result.result)


def failure(result):
    """Return the error type, without its module, and the message of a failed execution."""
    assert result.status.value == "FAILED", result.result
    return result.error.type.rpartition(".")[2], result.error.message


def dynamodb_error(code):
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 400}}, "UpdateItem")


class Killed(BaseException):
    """The process dies: SIGKILL, out of memory or a function timeout."""


class EnricherFunction:
    """Lambda's Invoke of the enricher: returns or raises the next of `answers`, then calls the handler."""

    def __init__(self, handler):
        self._handler = handler
        self.calls = 0
        self.answers = iter(())

    def invoke(self, *, FunctionName, Payload):  # noqa: N803, ARG002 (boto3's names)
        self.calls += 1
        answer = next(self.answers, None)
        if isinstance(answer, BaseException):
            raise answer
        error = {"FunctionError": "Unhandled"} if isinstance(answer, dict) and "errorType" in answer else {}
        if answer is None:
            answer = self._handler(json.loads(Payload), None)
        return {"Payload": io.BytesIO(json.dumps(answer).encode())} | error


class Pipeline:
    """Runs orders and reads their ledger entries."""

    def __init__(self, handler_module, dynamodb, enricher, monkeypatch):
        self.module = handler_module
        self.dynamodb = dynamodb
        self.enricher = enricher
        self._monkeypatch = monkeypatch

    def set(self, **settings):
        """Change settings, as in another version of the function."""
        self._monkeypatch.setattr(self.module, "PIPELINE", replace(self.module.PIPELINE, **settings))

    def run(self, order, *, name="direct", execution_timeout=900):
        """Run one execution with this name to its end."""
        payload = order if isinstance(order, str) else json.dumps(order)
        with DurableFunctionTestRunner(handler=self._killable()) as runner:
            return runner.run(input=payload, execution_name=name, execution_timeout=execution_timeout)

    def run_attempt(self, order, attempt):
        """Run the execution that ingest or a retry would start for this attempt."""
        return self.run(order, name=str(ExecutionName.of(STACK_ID, order["orderId"], attempt)))

    def mark_for_finalize(self, order_id):
        """The first write of a retry from FINALIZING."""
        ledger = LedgerTable(self.dynamodb, "LedgerTable")
        assert ledger.update(order_id, {"resumeFrom": "FINALIZING"}, unchanged(ledger.get(order_id))) == Written()

    def entry(self, order_id):
        return LedgerReader(self.dynamodb, "LedgerTable").get(order_id)

    def states(self, order_id):
        return [step.state.value for step in self.entry(order_id).history]

    def on_write(self, act):
        """Call `act(number, moment)` before and after each UpdateItem request. Numbers start at 1."""
        client = self.module.PIPELINE.ledger._writer._client
        numbers = itertools.count(1)
        real = client.update_item

        def update_item(**arguments):
            number = next(numbers)
            act(number, "before")
            response = real(**arguments)
            act(number, "after")
            return response

        self._monkeypatch.setattr(client, "update_item", update_item)

    def kill_at(self, number, moment):
        """Kill the process at its nth UpdateItem, before or after DynamoDB applies it."""

        def kill(*reached):
            if reached == (number, moment):
                raise Killed(number, moment)

        self.on_write(kill)

    def _killable(self):
        def handler(event, context):
            try:
                return self.module.handler(event, context)
            except Killed as death:
                # For Lambda, and so for the runner, a dead process is a failed invocation.
                raise RuntimeError("the process died") from death

        return handler
