"""The actions of a trial's script on the running stack, and its waits.

One thread reads the ledger and the injections for all scripts: fifty scripts that each polled would overload the stack.
"""

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Self, TypeVar

from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

from durable_local import LocalStack
from durable_local.faults import Hold, Injection, Request, Rule
from shared.aws.clients import client_config
from shared.errors import ExecutionUnavailable, LedgerUnavailable, StartUnavailable
from shared.executions.client import ExecutionsClient
from shared.executions.names import ExecutionName
from shared.ledger.entry import LedgerEntry
from shared.ledger.states import TERMINAL, State
from shared.ledger.table import LedgerTable
from shared.orders.order import order_from
from tests.faults.invariants import Sent
from tests.faults.observed import COUNTS, NOT_ENDED
from tests.faults.seeded.sources import Clocks
from tests.faults.seeded.trial import Trial
from tools.operations import cancel as cancelling
from tools.operations import retry as retrying

ORCHESTRATOR: Final = "DurableOrderProcessor"
INGEST: Final = "OrderIngest"
ENRICHER: Final = "OrderEnricher"
PUBLISHER: Final = "OrderPublisher"
LOOK_SECONDS: Final = 0.3
OPERATOR_TIMEOUT_SECONDS: Final = 60

T = TypeVar("T")


class Stuck(Exception):
    """A script's wait timed out."""


def writes(state: State) -> str:
    """The text that identifies a ledger write of this state."""
    return f'"state": {{"S": "{state}"}}'


class World:
    """The stack under test. Its methods are thread-safe."""

    def __init__(self, stack: LocalStack, clocks: Clocks, timeout_seconds: float) -> None:
        many = Config(max_pool_connections=100)
        self.stack = stack
        self._timeout_seconds = timeout_seconds
        self.faults = stack.faults
        self.clocks = clocks
        self.sent = Sent()
        self.sqs = stack.client("sqs", many)
        self.functions = stack.client("lambda", many)
        [described] = stack.client("cloudformation").describe_stacks(StackName=stack.settings.stack_name)["Stacks"]
        self.stack_id: str = described["StackId"]
        self.executions = ExecutionsClient(self.functions, stack.outputs["DurableOrderProcessorArn"], self.stack_id)
        self.dynamodb = stack.client("dynamodb", many)
        self.ledger = LedgerTable(self.dynamodb, stack.outputs["LedgerTableName"])
        # An operator's program sends a request once, so that it ends where a fault is injected.
        once = client_config(OPERATOR_TIMEOUT_SECONDS, 1, 100)
        self.operator_ledger = LedgerTable(stack.client("dynamodb", once), stack.outputs["LedgerTableName"])
        self.operator_executions = ExecutionsClient(
            stack.client("lambda", once), stack.outputs["DurableOrderProcessorArn"], self.stack_id
        )
        self.operator_sqs = stack.client("sqs", once)
        self.rules: dict[int, Rule] = {}
        self.happened: Counter[str] = Counter()
        self.deployed = threading.Event()
        self._look = threading.Condition()
        self._entries: dict[str, LedgerEntry] = {}
        self._injections: list[Injection] = []
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._over.is_set():
            self.look()
            self._over.wait(LOOK_SECONDS)

    def look(self) -> None:
        """Reads the ledger and the injections once."""
        pages = self.dynamodb.get_paginator("scan").paginate(
            TableName=self.stack.outputs["LedgerTableName"], ConsistentRead=True
        )
        found = {entry.order_id: entry for page in pages for entry in map(LedgerEntry.of, page["Items"])}
        new = self.faults.injected(after=len(self._injections))
        with self._look:
            self._entries = found
            self._injections += new
            self._look.notify_all()

    # -- waiting --------------------------------------------------------------------------------------------

    def until(self, ask: Callable[[], T | None], what: str) -> T:
        """Calls `ask` after each look and returns its first true answer. Raises Stuck after the timeout."""
        deadline = time.monotonic() + self._timeout_seconds
        while not (answer := ask()):
            if time.monotonic() > deadline:
                raise Stuck(f"after {self._timeout_seconds:g} s still waiting for {what}")
            with self._look:
                self._look.wait(LOOK_SECONDS * 2)
        return answer

    def entry(self, trial: Trial) -> LedgerEntry | None:
        """The order as the last look saw it."""
        return self._entries.get(trial.order_id)

    def entries(self) -> dict[str, LedgerEntry]:
        """All orders as the last look saw them, by order id."""
        return self._entries

    def injections(self) -> Sequence[Injection]:
        """The injections up to the last look."""
        return self._injections

    def until_state(self, trial: Trial, *states: State, attempt: int = 1) -> LedgerEntry:
        """Waits until the order is in one of the states, in that attempt or a later one, and returns it."""

        def look() -> LedgerEntry | None:
            entry = self.entry(trial)
            return entry if entry and entry.attempt >= attempt and entry.state in states else None

        return self.until(look, f"{trial.order_id} to be {' or '.join(states)}")

    def until_ended(self, trial: Trial, attempt: int = 1) -> LedgerEntry:
        """Waits until the order is in a terminal state, and returns it."""
        return self.until_state(trial, *TERMINAL, attempt=attempt)

    def execution_of(self, trial: Trial, attempt: int = 1) -> str | None:
        """The ARN of the execution that has the name of this attempt."""
        function = self.stack.physical_name(ORCHESTRATOR)
        name = str(ExecutionName.of(self.stack_id, trial.order_id, attempt))
        listed = self.functions.list_durable_executions_by_function(FunctionName=function, DurableExecutionName=name)
        return next((found["DurableExecutionArn"] for found in listed["DurableExecutions"]), None)

    def left(self, queue: str) -> int:
        """How many messages are in the queue with this output."""
        found = self.sqs.get_queue_attributes(QueueUrl=self.stack.outputs[queue], AttributeNames=COUNTS)
        return sum(int(found["Attributes"][count]) for count in COUNTS)

    def moving(self, but: set[str]) -> bool:
        """Whether there are messages, running executions, or unfinished orders other than `but`."""
        running = self.functions.list_durable_executions_by_function(
            FunctionName=self.stack.physical_name(ORCHESTRATOR), Statuses=NOT_ENDED
        )["DurableExecutions"]
        self.look()
        return (
            bool(running)
            or any(self.left(queue) for queue in ("OrdersQueueUrl", "StatusChangesQueueUrl"))
            or any(entry.state not in TERMINAL for id_, entry in self._entries.items() if id_ not in but)
        )

    def until_execution(self, arn: str, *statuses: str) -> str:
        """Waits until the execution's status is one of these, and returns it; "" stands for a deleted execution."""

        def look() -> list[str]:
            status = self.status(arn)
            return [status] if status in statuses else []

        return self.until(look, f"{arn} to be {' or '.join(statuses)}")[0]

    def status(self, arn: str) -> str:
        """The execution's status on Lambda; "" after its deletion."""
        try:
            return str(self.functions.get_durable_execution(DurableExecutionArn=arn)["Status"])
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return ""
            raise

    def until_seen(self, text: str, operation: str, times: int = 1, **of: Any) -> list[Request]:
        """Waits for `times` requests of the operation that contain `text`, and returns them."""

        def look() -> list[Request]:
            seen = [request for request in self.faults.requests(text) if request.operation == operation]
            seen = [request for request in seen if all(getattr(request, name) == value for name, value in of.items())]
            return seen if len(seen) >= times else []

        return self.until(look, f"{times} {operation} with {text}")

    # -- sending --------------------------------------------------------------------------------------------

    def send(self, trial: Trial, *bodies: str) -> list[str]:
        """Sends the trial's own body, or `bodies`, to the orders queue in one request. Returns the message ids."""
        return self.send_all([(trial, body) for body in bodies or (trial.body,)])

    def send_all(self, messages: Iterable[tuple[Trial, str]]) -> list[str]:
        """Sends messages of several trials in one request. Returns the message ids."""
        batch = list(messages)
        answer = self.sqs.send_message_batch(
            QueueUrl=self.stack.outputs["OrdersQueueUrl"],
            Entries=[{"Id": str(place), "MessageBody": body} for place, (_, body) in enumerate(batch)],
        )
        ids = {entry["Id"]: entry["MessageId"] for entry in answer["Successful"]}
        found = [ids[str(place)] for place in range(len(batch))]
        for (trial, body), message_id in zip(batch, found, strict=True):
            self.sent.messages[message_id] = body
            trial.messages.append(message_id)
            trial.note(f"sent as {message_id}")
        return found

    def invoke(self, trial: Trial) -> str:
        """Invokes the alias directly, without a name. Returns the execution's ARN."""
        self.sent.direct.append(trial.body)
        answer = self.functions.invoke(
            FunctionName=self.stack.outputs["DurableOrderProcessorArn"],
            InvocationType="Event",
            Payload=trial.body.encode(),
        )
        trial.note(f"invoked directly: {answer['DurableExecutionArn']}")
        return str(answer["DurableExecutionArn"])

    # -- faults ---------------------------------------------------------------------------------------------

    def arm(self, trial: Trial, *rules: Rule) -> list[int]:
        """Adds rules for the trial. Returns their ids."""
        ids = self.add(*rules)
        trial.armed += ids
        return ids

    def add(self, *rules: Rule) -> list[int]:
        """Adds rules that belong to no single trial. Returns their ids."""
        ids = self.faults.add_all(list(rules))
        self.rules.update(zip(ids, rules, strict=True))
        return ids

    def disarm(self, trial: Trial) -> None:
        """Removes every rule of the trial."""
        for rule in trial.armed:
            self.faults.release(rule)
        trial.note("its rules were removed")

    def hold(self, trial: Trial, service: str, operation: str, text: str = "", **more: Any) -> int:
        """Holds the orchestrator's next such request about the order. Returns the rule's id."""
        texts = (trial.order_id, text) if text else trial.order_id
        [rule] = self.arm(trial, Rule(Hold(), service, operation, ORCHESTRATOR, texts, **more))
        return rule

    def caught(self, rule: int, times: int = 1) -> list[Injection]:
        """Waits until the rule was applied `times` times. Returns the injections."""

        def look() -> list[Injection]:
            done = [injection for injection in self._injections if injection.rule == rule]
            return done if len(done) >= times else []

        return self.until(look, f"rule {rule} to be applied {times} times")

    def release(self, rule: int) -> None:
        """Removes a rule and lets a held request continue."""
        self.faults.release(rule)

    def count(self, fault: str, trial: Trial, what: str = "") -> None:
        """Counts a fault that was injected without a rule."""
        with self._look:
            self.happened[fault] += 1
        trial.note(f"{fault} {what}".strip())

    # -- operators ------------------------------------------------------------------------------------------

    def stop(self, arn: str) -> bool:
        """Stops an execution. Returns False if it had already ended in another way."""
        self.executions.stop(arn, "StoppedByOperator", "stopped by an operator")
        return self.status(arn) == "STOPPED"

    def pause(self, arn: str, *, timeout_goes_on: bool = False) -> bool:
        """Pauses an execution. Returns False if it had already ended."""
        try:
            self.functions.pause_durable_execution(DurableExecutionArn=arn, ExecutionTimeoutPaused=not timeout_goes_on)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 409:
                return False
            raise
        return True

    def resume(self, arn: str) -> None:
        """Resumes a paused execution."""
        self.functions.resume_durable_execution(DurableExecutionArn=arn)

    def delete(self, arn: str) -> None:
        """Deletes an ended execution, and waits until it is gone."""
        self.functions.delete_durable_execution(DurableExecutionArn=arn)
        self.until(lambda: self.status(arn) == "", f"{arn} to be gone")

    def sweep(self) -> None:
        """Invokes the sweep, as its schedule does. Another sweep that runs now makes Lambda throttle this one."""
        with contextlib.suppress(self.functions.exceptions.TooManyRequestsException):
            self.functions.invoke(FunctionName=self.stack.outputs["OrderSweepArn"])

    def item(self, trial: Trial) -> dict[str, Any]:
        """The order's item, as DynamoDB stores it."""
        found = self.dynamodb.get_item(
            TableName=self.stack.outputs["LedgerTableName"],
            Key={"orderId": {"S": trial.order_id}},
            ConsistentRead=True,
        )
        return found["Item"]

    def put_back(self, item: dict[str, Any]) -> None:
        """Replaces an order's item, as a restore from a backup does."""
        self.dynamodb.put_item(TableName=self.stack.outputs["LedgerTableName"], Item=item)

    def cancel(self, trial: Trial) -> LedgerEntry:
        """Cancels the order. Raises what `tools.operations.cancel` raises."""
        return cancelling.cancel(
            trial.order_id, self.operator_ledger, self.operator_executions, "cancelled by an operator"
        )

    def run_again(self, program: Callable[[], T]) -> T:
        """Runs an operator's program. If it ends at a request that fails, runs it again from its start."""
        with contextlib.suppress(LedgerUnavailable, StartUnavailable, ExecutionUnavailable, ConnectionClosedError):
            return program()
        return program()

    def redrive(self) -> None:
        """Moves the dead letters back to the orders queue. A task that is active does the same."""
        arns = [
            self.sqs.get_queue_attributes(QueueUrl=self.stack.outputs[queue], AttributeNames=["QueueArn"])
            for queue in ("OrdersDlqUrl", "OrdersQueueUrl")
        ]
        source, destination = (found["Attributes"]["QueueArn"] for found in arns)
        try:
            self.operator_sqs.start_message_move_task(SourceArn=source, DestinationArn=destination)
        except ClientError as error:
            if "already a task running" not in str(error):
                raise

    def retry(self, trial: Trial, *, corrected: str | None = None) -> str:
        """Starts the order's next attempt, with the recorded order or a corrected body; the execution's ARN.

        Raises what `tools.operations.retry` raises. The script itself counts the new attempt in `sent.retries`.
        """
        if corrected is not None:
            self.sent.corrections.append(corrected)
        order = order_from(json.loads(corrected)) if corrected else None
        retry = retrying.retry(trial.order_id, self.operator_ledger, self.operator_executions, order)
        trial.note(f"retried as attempt {retry.attempt}: {retry.execution_arn}")
        return retry.execution_arn
