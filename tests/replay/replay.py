"""Resumes a recorded execution on the current code, from any of its invocations to its end."""

import io
import json
import re
from datetime import UTC, datetime
from types import SimpleNamespace

from aws_durable_execution_sdk_python.execution import DurableExecutionInvocationInput
from aws_durable_execution_sdk_python.lambda_service import OperationUpdate
from aws_durable_execution_sdk_python_testing.checkpoint.processor import CheckpointProcessor
from aws_durable_execution_sdk_python_testing.execution import Execution
from aws_durable_execution_sdk_python_testing.stores.memory import InMemoryExecutionStore

LONG_AFTER = datetime(9999, 1, 1, tzinfo=UTC)
CONTEXT = SimpleNamespace(aws_request_id="00000000-0000-4000-8000-000000000000")
TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z")
ENRICHED = ("enrich SUCCEEDED", "enrich FAILED")


class Lambda:
    """Replaces the orchestrator's Lambda client: stores the checkpoints and runs the enricher.

    AWS's testing SDK validates and applies the checkpoints. Time passes only in `pass_time`.
    """

    def __init__(self, enricher):
        self._enricher = enricher

    def resume(self, event):
        """Load the execution of this event, with its progress at that time."""
        given = DurableExecutionInvocationInput.from_json_dict({**event, "CheckpointToken": ""})
        self._execution = Execution(given.durable_execution_arn, None, given.initial_execution_state.operations)
        began = self._execution.operations[0].start_timestamp
        store = InMemoryExecutionStore()
        store.save(self._execution)
        self._checkpoints = CheckpointProcessor(store, scheduler=None, clock=SimpleNamespace(now=lambda: began))
        self.calls_of_enricher = 0

    @property
    def operations(self):
        """The checkpointed operations, as in an event, without the execution itself."""
        return [operation.to_json_dict() for operation in self._execution.operations[1:]]

    def token(self):
        """Return the checkpoint token of a new invocation."""
        self._execution.begin_new_invocation()
        return self._execution.get_new_checkpoint_token()

    def pass_time(self):
        """End each wait and make each step that waits for a retry ready. Return whether there was one."""
        return self._execution.complete_due_operations(LONG_AFTER)

    def checkpoint_durable_execution(self, *, DurableExecutionArn, CheckpointToken, Updates, ClientToken=None):  # noqa: ARG002, N803  # boto3's
        updates = [OperationUpdate.from_dict(update) for update in Updates]
        applied = self._checkpoints.process_checkpoint(CheckpointToken, updates, ClientToken)
        operations = [operation.to_dict() for operation in applied.new_execution_state.operations]
        return {"CheckpointToken": applied.checkpoint_token, "NewExecutionState": {"Operations": operations}}

    def invoke(self, *, FunctionName, Payload):  # noqa: ARG002, N803  # boto3's
        self.calls_of_enricher += 1
        try:
            return {"Payload": io.BytesIO(json.dumps(self._enricher(json.loads(Payload), None)).encode())}
        except Exception as error:  # noqa: BLE001  # Lambda reports any error
            report = {"errorType": type(error).__name__, "errorMessage": str(error)}
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(json.dumps(report).encode())}


class Replay:
    """Runs the current handler with this Lambda client and this ledger.

    `load` returns the orchestrator's handler for the settings of a version. `ledger` is the table, in moto. `requests`
    collects the names of the requests that the handler sends to DynamoDB.
    """

    def __init__(self, load, service, ledger, requests):
        self._load = load
        self._lambda = service
        self._ledger = ledger
        self._requests = requests

    def difference(self, history, invocation):
        """Resume the execution from this invocation. Return how it differs from the recording, or None."""
        self._lambda.resume(invocation.event)
        self._ledger.put(invocation.order_id, invocation.ledger)
        self._requests.clear()
        try:
            answer = self._run_to_end(self._load(history.settings), invocation.event)
        except Exception as error:  # noqa: BLE001  # Lambda treats any error as a failed invocation
            return f"the invocation fails with {error!r}"
        return next(self._differences(history, invocation, answer), None)

    def _differences(self, history, invocation, answer):
        error = answer.get("Error", {})
        if error.get("ErrorType", "").endswith("NonDeterministicExecutionError"):
            yield f"the SDK refuses it: {error['ErrorMessage']}"
        made, recorded = kinds(self._lambda.operations), kinds(history.end.operations)
        if made != recorded:
            yield f"it runs the operations {', '.join(made)}; recorded are {', '.join(recorded)}"
        if str(invocation).startswith(ENRICHED) and self._lambda.calls_of_enricher:
            yield "it calls the enricher again, although the answer is checkpointed"
        if invocation == history.end and self._requests:
            yield f"it sends {', '.join(self._requests)} to DynamoDB although every step has ended"
        states, then = states_of(self._ledger.get(invocation.order_id)), states_of(history.end.ledger)
        if states != then:
            yield f"the states in the ledger are {', '.join(states)}; recorded are {', '.join(then)}"
        if known(answer, invocation) != known(history.outcome, invocation):
            yield f"it ends with {answer}; recorded is {history.outcome}"

    def _run_to_end(self, handler, event):
        """Invoke the handler as often as Lambda would, and return its last response."""
        answer = handler({**event, "CheckpointToken": self._lambda.token()}, CONTEXT)
        while answer["Status"] == "PENDING":
            assert self._lambda.pass_time(), "the handler returned PENDING, but no operation is pending"
            operations = [event["InitialExecutionState"]["Operations"][0], *self._lambda.operations]
            answer = handler(
                {
                    **event,
                    "CheckpointToken": self._lambda.token(),
                    "InitialExecutionState": {"Operations": operations, "NextMarker": ""},
                },
                CONTEXT,
            )
        return answer


def kinds(operations):
    """Return the type and name of each operation: `STEP enrich`."""
    return [f"{operation['Type']} {operation.get('Name')}" for operation in operations]


def states_of(item):
    return [entry["state"] for entry in item["history"]]


def known(answer, invocation):
    """Return the response, with each time that was not recorded at the invocation replaced by one word."""
    on_record = set(TIME.findall(json.dumps([invocation.ledger, invocation.operations])))
    text = TIME.sub(lambda time: time[0] if time[0] in on_record else "later", json.dumps(answer))
    answer = json.loads(text)
    return {**answer, "Result": json.loads(answer.get("Result") or "null")}
