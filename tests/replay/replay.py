"""Goes on with a recorded execution on today's code, from any of its invocations to its end."""

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
    """Stands where Lambda does for the orchestrator, as its client: keeps the checkpoints, and runs the enricher.

    What a checkpoint may say, and what it changes, is AWS's testing SDK's. No time passes but by `pass_time`.
    """

    def __init__(self, enricher):
        self._enricher = enricher

    def take_up(self, event):
        """Have this event's execution, as far as it had come by then."""
        given = DurableExecutionInvocationInput.from_json_dict({**event, "CheckpointToken": ""})
        self._execution = Execution(given.durable_execution_arn, None, given.initial_execution_state.operations)
        began = self._execution.operations[0].start_timestamp
        store = InMemoryExecutionStore()
        store.save(self._execution)
        self._checkpoints = CheckpointProcessor(store, scheduler=None, clock=SimpleNamespace(now=lambda: began))
        self.calls_of_enricher = 0

    @property
    def operations(self):
        """What is checkpointed, as Lambda gives it to the handler, without the execution itself."""
        return [operation.to_json_dict() for operation in self._execution.operations[1:]]

    def token(self):
        """What a new invocation needs to checkpoint."""
        self._execution.begin_new_invocation()
        return self._execution.get_new_checkpoint_token()

    def pass_time(self):
        """End every wait, and have every step ready that is to be tried again. Whether there was any."""
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
        except Exception as error:  # noqa: BLE001  # Lambda reports any
            report = {"errorType": type(error).__name__, "errorMessage": str(error)}
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(json.dumps(report).encode())}


class Replay:
    """Today's handler, between this Lambda and this ledger.

    `load` returns the orchestrator's handler for the settings of a version. `ledger` is the table, in moto. `requests`
    collects the names of the requests that the handler sends to DynamoDB.
    """

    def __init__(self, load, service, ledger, requests):
        self._load = load
        self._lambda = service
        self._ledger = ledger
        self._requests = requests

    def difference(self, history, invocation):
        """What is otherwise than recorded when the execution goes on from this invocation; None for nothing."""
        self._lambda.take_up(invocation.event)
        self._ledger.put(invocation.order_id, invocation.ledger)
        self._requests.clear()
        try:
            answer = self._to_its_end(self._load(history.settings), invocation.event)
        except Exception as error:  # noqa: BLE001  # whatever the changed code raises, Lambda would only see that it did
            return f"the invocation fails with {error!r}"
        return next(self._differences(history, invocation, answer), None)

    def _differences(self, history, invocation, answer):
        error = answer.get("Error", {})
        if error.get("ErrorType", "").endswith("NonDeterministicExecutionError"):
            yield f"the SDK refuses it: {error['ErrorMessage']}"
        made, recorded = kinds(self._lambda.operations), kinds(history.end.operations)
        if made != recorded:
            yield f"it makes the operations {', '.join(made)}; recorded are {', '.join(recorded)}"
        if str(invocation).startswith(ENRICHED) and self._lambda.calls_of_enricher:
            yield "it asks the enricher, whose answer is checkpointed"
        if invocation == history.end and self._requests:
            yield f"it sends {', '.join(self._requests)} to DynamoDB although every step has ended"
        states, then = states_of(self._ledger.get(invocation.order_id)), states_of(history.end.ledger)
        if states != then:
            yield f"the ledger says {', '.join(states)}; recorded is {', '.join(then)}"
        if known(answer, invocation) != known(history.outcome, invocation):
            yield f"it ends with {answer}; recorded is {history.outcome}"

    def _to_its_end(self, handler, event):
        """Invoke the handler, and again whenever Lambda would; its last answer."""
        answer = handler({**event, "CheckpointToken": self._lambda.token()}, CONTEXT)
        while answer["Status"] == "PENDING":
            assert self._lambda.pass_time(), "PENDING is answered, and there is nothing to wait for"
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
    """Each operation's type and name: `STEP enrich`."""
    return [f"{operation['Type']} {operation.get('Name')}" for operation in operations]


def states_of(item):
    return [entry["state"] for entry in item["history"]]


def known(answer, invocation):
    """The answer with every time that was not on record at the invocation as one word: it comes out anew."""
    on_record = set(TIME.findall(json.dumps([invocation.ledger, invocation.operations])))
    text = TIME.sub(lambda time: time[0] if time[0] in on_record else "later", json.dumps(answer))
    answer = json.loads(text)
    return {**answer, "Result": json.loads(answer.get("Result") or "null")}
