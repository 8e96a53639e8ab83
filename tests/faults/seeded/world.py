"""What a trial's script does to the running stack, and what it waits for.

One thread reads the ledger and the injections for all scripts: fifty that asked for themselves would be the load.
"""

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Self, TypeVar

from botocore.config import Config
from botocore.exceptions import ClientError

from durable_local import LocalStack
from durable_local.faults import Hold, Injection, Request, Rule
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
LOOK_SECONDS: Final = 0.3

T = TypeVar("T")


class Stuck(Exception):
    """What a script waited for did not come."""


def writes(state: State) -> str:
    """The text by which a ledger write of this state is known."""
    return f'"state": {{"S": "{state}"}}'


class World:
    """A stack under test. Safe on any thread."""

    def __init__(self, stack: LocalStack, clocks: Clocks, patience_seconds: float) -> None:
        many = Config(max_pool_connections=100)
        self.stack = stack
        self._patience_seconds = patience_seconds
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
        """Reads ledger and injections once."""
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
        """The first answer that is true, asked after each look; raises Stuck."""
        deadline = time.monotonic() + self._patience_seconds
        while not (answer := ask()):
            if time.monotonic() > deadline:
                raise Stuck(f"waited {self._patience_seconds:g} s in vain for {what}")
            with self._look:
                self._look.wait(LOOK_SECONDS * 2)
        return answer

    def entry(self, trial: Trial) -> LedgerEntry | None:
        """The order as the last look saw it."""
        return self._entries.get(trial.order_id)

    def entries(self) -> dict[str, LedgerEntry]:
        """All of them."""
        return self._entries

    def injections(self) -> Sequence[Injection]:
        """Those of the last look."""
        return self._injections

    def until_state(self, trial: Trial, *states: State, attempt: int = 1) -> LedgerEntry:
        """The order once it is in one of the states, in that attempt or a later one."""

        def look() -> LedgerEntry | None:
            entry = self.entry(trial)
            return entry if entry and entry.attempt >= attempt and entry.state in states else None

        return self.until(look, f"{trial.order_id} to be {' or '.join(states)}")

    def until_ended(self, trial: Trial, attempt: int = 1) -> LedgerEntry:
        """The order in a terminal state."""
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
        """Whether anything goes on: messages, executions, orders other than these."""
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
        """The execution's status once it is one of these; "" when it is gone."""

        def look() -> list[str]:
            status = self.status(arn)
            return [status] if status in statuses else []

        return self.until(look, f"{arn} to be {' or '.join(statuses)}")[0]

    def status(self, arn: str) -> str:
        """Of an execution, as Lambda says it; "" when Lambda has it no more."""
        try:
            return str(self.functions.get_durable_execution(DurableExecutionArn=arn)["Status"])
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return ""
            raise

    def until_seen(self, text: str, operation: str, times: int = 1, **of: Any) -> list[Request]:
        """Requests of that operation whose text holds `text`, once there are so many."""

        def look() -> list[Request]:
            seen = [request for request in self.faults.requests(text) if request.operation == operation]
            seen = [request for request in seen if all(getattr(request, name) == value for name, value in of.items())]
            return seen if len(seen) >= times else []

        return self.until(look, f"{times} {operation} with {text}")

    # -- sending --------------------------------------------------------------------------------------------

    def send(self, trial: Trial, *bodies: str) -> list[str]:
        """Messages on the orders queue, in one request: the trial's own body, or these. Their ids."""
        return self.send_all([(trial, body) for body in bodies or (trial.body,)])

    def send_all(self, messages: Iterable[tuple[Trial, str]]) -> list[str]:
        """Messages of several trials in one request."""
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
        """The alias, directly and without a name; the execution's ARN."""
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
        """In force from now on."""
        ids = self.add(*rules)
        trial.armed += ids
        return ids

    def add(self, *rules: Rule) -> list[int]:
        """Rules that are about no order alone."""
        ids = self.faults.add_all(list(rules))
        self.rules.update(zip(ids, rules, strict=True))
        return ids

    def disarm(self, trial: Trial) -> None:
        """Ends every rule of the trial."""
        for rule in trial.armed:
            self.faults.release(rule)
        trial.note("its rules are over")

    def hold(self, trial: Trial, service: str, operation: str, text: str = "", **more: Any) -> int:
        """Holds the order's next such request of the orchestrator's; the rule."""
        texts = (trial.order_id, text) if text else trial.order_id
        [rule] = self.arm(trial, Rule(Hold(), service, operation, ORCHESTRATOR, texts, **more))
        return rule

    def caught(self, rule: int, times: int = 1) -> list[Injection]:
        """Waits until the rule was carried out so many times."""

        def look() -> list[Injection]:
            done = [injection for injection in self._injections if injection.rule == rule]
            return done if len(done) >= times else []

        return self.until(look, f"rule {rule} to be carried out {times} times")

    def release(self, rule: int) -> None:
        """Ends a rule."""
        self.faults.release(rule)

    def count(self, fault: str, trial: Trial, what: str = "") -> None:
        """A fault that is no rule's has in fact happened."""
        with self._look:
            self.happened[fault] += 1
        trial.note(f"{fault} {what}".strip())

    # -- operators ------------------------------------------------------------------------------------------

    def stop(self, arn: str) -> bool:
        """Stops an execution; whether it is stopped now and not ended otherwise before."""
        self.executions.stop(arn, "StoppedByOperator", "stopped by an operator")
        return self.status(arn) == "STOPPED"

    def pause(self, arn: str, *, timeout_goes_on: bool = False) -> bool:
        """Pauses an execution; False where it had ended."""
        try:
            self.functions.pause_durable_execution(DurableExecutionArn=arn, ExecutionTimeoutPaused=not timeout_goes_on)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 409:
                return False
            raise
        return True

    def resume(self, arn: str) -> None:
        """Goes on with a paused execution."""
        self.functions.resume_durable_execution(DurableExecutionArn=arn)

    def delete(self, arn: str) -> None:
        """Deletes an ended execution, and waits until it is gone."""
        self.functions.delete_durable_execution(DurableExecutionArn=arn)
        self.until(lambda: self.status(arn) == "", f"{arn} to be gone")

    def sweep(self) -> None:
        """As the schedule does it every five minutes. Beside another it is throttled, and that one sweeps."""
        with contextlib.suppress(self.functions.exceptions.TooManyRequestsException):
            self.functions.invoke(FunctionName=self.stack.outputs["OrderSweepArn"])

    def cancel(self, trial: Trial) -> LedgerEntry:
        """Raises as `tools.operations.cancel` does."""
        return cancelling.cancel(trial.order_id, self.ledger, self.executions, "cancelled by an operator")

    def retry(self, trial: Trial, *, corrected: str | None = None) -> str:
        """Starts the order's next attempt, with the recorded order or a corrected body; the execution's ARN.

        Raises as `tools.operations.retry` does. How many attempts that makes, the script has to say: `sent.retries`.
        """
        if corrected is not None:
            self.sent.corrections.append(corrected)
        order = order_from(json.loads(corrected)) if corrected else None
        retry = retrying.retry(trial.order_id, self.ledger, self.executions, order)
        trial.note(f"retried as attempt {retry.attempt}: {retry.execution_arn}")
        return retry.execution_arn
