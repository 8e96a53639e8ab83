"""Injects each fault of the guarantees list, and asks `orders why` for the cause at the moment that docs/why.md names.

`make why` does it 10 times per fault, and asks about 2,000 healthy orders; a test does it once per fault.
"""

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Barrier
from typing import Any, Final
from uuid import uuid4

from durable_local import LocalStack
from durable_local.faults import Cut, Drop, Fail, Hold, Kill, Point, Rule, Withhold
from durable_local.faults.rules import STATUS_CHANGE
from shared.executions.client import ExecutionsClient
from shared.ledger.entry import LedgerEntry
from shared.ledger.states import TERMINAL, State
from shared.ledger.table import LedgerTable
from tests.faults.seeded.request_faults import FUNCTION_ERROR, THROTTLED
from tests.faults.seeded.sources import NEWER_ENRICHER, ONE_MORE_FIELD, Clocks, Copy
from tools.operations.cancel import cancel
from tools.operations.evidence import Sources
from tools.operations.retry import retry
from tools.operations.why import Cause, Why, decide
from tools.pipeline import local_stack

TIME_SCALE: Final = 10
WAIT_SECONDS: Final = 120
"""Twelve seconds on this stack: long enough for a deployment."""
EXECUTION_TIMEOUT_SECONDS: Final = 250
HEALTHY_WAIT_SECONDS: Final = 20
VISIBILITY_SECONDS: Final = 3
TIMEOUT_SECONDS: Final = 120
POLL_SECONDS: Final = 0.2
WORKERS: Final = 13

INGEST: Final = "OrderIngest"
ORCHESTRATOR: Final = "DurableOrderProcessor"
START: Final = ("lambda", "Invoke", INGEST)
CALL: Final = ("lambda", "Invoke", ORCHESTRATOR)
WRITE: Final = ("dynamodb", "UpdateItem", ORCHESTRATOR)
CHECKPOINT: Final = ("lambda", "CheckpointDurableExecution", ORCHESTRATOR)

_ROW: Final = re.compile(r"^\| (F\d+) \| [^|]* \| ([a-z ]+) \|$", re.MULTILINE)


def expected() -> dict[str, Cause]:
    """The cause for each fault, as docs/why.md says."""
    text = (Path(__file__).parents[2] / "docs" / "why.md").read_text()
    return {fault: Cause(cause) for fault, cause in _ROW.findall(text)}


@dataclass
class Scene:
    """The stack, and the actions of a fault's script on it. `deploy` deploys a newer version once all scripts wait."""

    stack: LocalStack
    clocks: Clocks
    deploy: Callable[[], object] = lambda: None

    def __post_init__(self) -> None:
        self.sqs = self.stack.client("sqs")
        self.functions = self.stack.client("lambda")
        self.dynamodb = self.stack.client("dynamodb")
        self.faults = self.stack.faults
        self.ledger = LedgerTable(self.dynamodb, self.stack.outputs["LedgerTableName"])
        (described,) = self.stack.client("cloudformation").describe_stacks()["Stacks"]
        alias = self.stack.outputs["DurableOrderProcessorArn"]
        self.executions = ExecutionsClient(self.functions, alias, described["StackId"])
        self.logs = self.stack.client("logs")
        self.sources = Sources(
            self.ledger, self.functions, self.sqs, self.logs, dict(self.stack.outputs), described["StackId"]
        )
        for queue in ("OrdersQueueUrl", "StatusChangesQueueUrl"):
            self.sqs.set_queue_attributes(
                QueueUrl=self.stack.outputs[queue], Attributes={"VisibilityTimeout": str(VISIBILITY_SECONDS)}
            )

    def why(self, order_id: str) -> Why:
        """What `orders why` says now."""
        return decide(self.sources.of(order_id))

    def send(self, order_id: str, **more: Any) -> str:
        """Send the order, and return the message's id."""
        body = json.dumps({"orderId": order_id, **more})
        sent = self.sqs.send_message(QueueUrl=self.stack.outputs["OrdersQueueUrl"], MessageBody=body)
        return str(sent["MessageId"])

    def until(self, look: Callable[[], Any], what: str) -> Any:
        """Call `look` until it returns something true. Raises TimeoutError."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            if found := look():
                return found
            time.sleep(POLL_SECONDS)
        raise TimeoutError(f"waited {TIMEOUT_SECONDS} s for {what}")

    def until_state(self, order_id: str, *states: State) -> LedgerEntry:
        """Wait until the order is in one of the states, and return its entry."""

        def look() -> LedgerEntry | None:
            entry = self.ledger.get(order_id)
            return entry if entry is not None and entry.state in states else None

        found: LedgerEntry = self.until(look, f"{order_id} to be {states}")
        return found

    def until_deleted(self, message_id: str) -> None:
        """Wait until ingest is done with the message."""

        def look() -> bool:
            return any(request.operation == "DeleteMessage" for request in self.faults.requests(message_id))

        self.until(look, f"the message {message_id} to be deleted")

    def runs(self, order_id: str, *rules: Rule) -> str:
        """Send an order with these faults, which it survives, and wait until it is COMPLETED and they were injected."""
        numbers = self.faults.add_all(list(rules)) if rules else []
        self.send(order_id)
        self.until_state(order_id, State.COMPLETED)
        for number in numbers:
            self.faults.wait(number)
        return order_id

    def waiting(self, order_id: str) -> LedgerEntry:
        """Send an order, and return its entry when it is WAITING."""
        self.send(order_id)
        return self.until_state(order_id, State.WAITING)

    def stopped_unseen(self, order_id: str) -> str:
        """Stop a waiting order, and lose the event of its end."""
        entry = self.waiting(order_id)
        self.faults.add(Rule(Drop(), STATUS_CHANGE, text=(order_id, "STOPPED")))
        self.executions.stop(entry.execution_arn, "Recall", "the goods are faulty")
        self.until_execution(entry, "STOPPED")
        return order_id

    def until_execution(self, entry: LedgerEntry, status: str) -> None:
        """Wait until the order's execution has the status."""

        def look() -> bool:
            found = self.executions.get(entry.execution_arn)
            return found is not None and found.status == status

        self.until(look, f"the execution of {entry.order_id} to be {status}")


Script = Callable[[Scene, str], object]
SCRIPTS: Final[dict[str, Script]] = {}


def script(fault: str) -> Callable[[Script], Script]:
    """Adds the script of a fault. It ends at the moment when `why` is asked about its order."""

    def added(function: Script) -> Script:
        SCRIPTS[fault] = function
        return function

    return added


def survived(fault: str, *rules: Callable[[str], Rule]) -> None:
    """Adds the script of a fault that an order survives."""
    SCRIPTS[fault] = lambda scene, order_id: scene.runs(order_id, *(rule(order_id) for rule in rules))


survived("F5", lambda text: Rule(Fail(503, "ServiceUnavailable"), *START, text, times=3))
survived("F6", lambda text: Rule(Kill(), *START, text))
survived("F8", lambda text: Rule(Kill(Point.APPLIED), *WRITE, text))
survived("F9", lambda text: Rule(Fail(500, "ServiceException"), *CHECKPOINT, text))
survived("F11", lambda text: Rule(Cut(Point.APPLIED), *WRITE, text))
survived("F21", lambda text: Rule(Hold(), *START, text))
survived("F23", lambda text: Rule(Withhold("CheckpointToken"), *CHECKPOINT, text))
survived("F27", lambda text: Rule(Kill(Point.APPLIED), "events", "PutEvents", "OrderPublisher", text))


@script("F1")
def delivered_twice(scene: Scene, order_id: str) -> None:
    """Two messages at once."""
    twice = [scene.send(order_id), scene.send(order_id)]
    scene.until_state(order_id, State.COMPLETED)
    for message in twice:
        scene.until_deleted(message)


@script("F2")
def received_after_its_end(scene: Scene, order_id: str) -> None:
    """The message comes again after COMPLETED."""
    scene.runs(order_id)
    scene.until_deleted(scene.send(order_id))


@script("F3")
def other_body(scene: Scene, order_id: str) -> None:
    """Another body is rejected while the order waits."""
    scene.waiting(order_id)
    scene.until_deleted(scene.send(order_id, currency="EUR"))


@script("F4")
def poison(scene: Scene, order_id: str) -> None:
    """The order has a field that no order has."""
    scene.until_deleted(scene.send(order_id, unknownField=1))


@script("F7")
def start_throttled(scene: Scene, order_id: str) -> None:
    """Every start is throttled, and ingest has logged that it gave the message back."""
    scene.faults.add(Rule(THROTTLED, *START, order_id, times=None))
    scene.send(order_id)
    group = f"/aws/lambda/{scene.stack.physical_name(INGEST)}"
    scene.until(
        lambda: scene.logs.filter_log_events(logGroupName=group, filterPattern=f'"{order_id}"')["events"],
        f"the log of {order_id}",
    )


@script("F10")
def checkpoint_refused(scene: Scene, order_id: str) -> None:
    """Every checkpoint is refused."""
    scene.faults.add(Rule(Fail(400, "InvalidParameterValueException"), *CHECKPOINT, order_id, times=None))
    scene.send(order_id)
    scene.until_state(order_id, State.FAILED)


@script("F12")
def ledger_away(scene: Scene, order_id: str) -> None:
    """No write to the ledger is answered."""
    rule = scene.faults.add(Rule(Fail(500, "InternalServerError"), *WRITE, order_id, times=None))
    scene.send(order_id)
    scene.faults.wait(rule, times=3)


@script("F13")
def enricher_fails(scene: Scene, order_id: str) -> None:
    """The enricher fails at each call."""
    rule = scene.faults.add(Rule(FUNCTION_ERROR, *CALL, order_id, times=None))
    scene.send(order_id)
    scene.faults.wait(rule, times=3)
    scene.until_state(order_id, State.FAILED)


@script("F14")
def timed_out(scene: Scene, order_id: str) -> None:
    """The execution is paused until its timeout."""
    arn = scene.waiting(order_id).execution_arn
    scene.functions.pause_durable_execution(DurableExecutionArn=arn, ExecutionTimeoutPaused=False)
    scene.until_state(order_id, State.TIMED_OUT)


@script("F15")
def paused(scene: Scene, order_id: str) -> None:
    """An operator pauses it."""
    arn = scene.waiting(order_id).execution_arn
    scene.functions.pause_durable_execution(DurableExecutionArn=arn, Reason="orders:drill")


@script("F16")
def event_lost(scene: Scene, order_id: str) -> None:
    """It is stopped, and the event is lost."""
    scene.stopped_unseen(order_id)


@script("F17")
def cancelled(scene: Scene, order_id: str) -> None:
    """It is cancelled in its wait."""
    scene.waiting(order_id)
    cancel(order_id, scene.ledger, scene.executions)


@script("F18")
def retried_twice(scene: Scene, order_id: str) -> None:
    """Two retries start one attempt."""
    entry = scene.waiting(order_id)
    scene.executions.stop(entry.execution_arn, "Recall", "the goods are faulty")
    scene.until_state(order_id, State.STOPPED)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: retry(order_id, scene.ledger, scene.executions), range(2)))
    scene.until_state(order_id, State.COMPLETED)


@script("F19")
def deployed_while_it_waits(scene: Scene, order_id: str) -> None:
    """A new version is deployed while it waits."""
    arn = scene.waiting(order_id).execution_arn
    scene.deploy()
    if scene.executions.get(arn).status != "RUNNING":  # type: ignore[union-attr]
        raise TimeoutError("the deployment took longer than the wait")


@script("F20")
def clock_jumped(scene: Scene, order_id: str) -> None:
    """The orchestrator's clock jumps an hour back while the order waits."""
    scene.waiting(order_id)
    scene.clocks.set(ORCHESTRATOR, -3600)
    try:
        scene.until_state(order_id, State.COMPLETED)
    finally:
        scene.clocks.set(ORCHESTRATOR, 0)


@script("F22")
def redelivered_to_a_new_version(scene: Scene, order_id: str) -> None:
    """A version with one more field is deployed before the message comes again."""
    scene.waiting(order_id)
    scene.deploy()
    scene.until_deleted(scene.send(order_id))
    scene.until_state(order_id, State.COMPLETED)


@script("F24")
def enriched_by_a_newer_version(scene: Scene, order_id: str) -> None:
    """The first call of the enricher fails; the second goes to the newer version."""
    held = scene.faults.add(Rule(Hold(), *CALL, order_id))
    scene.send(order_id)
    scene.faults.wait(held)
    scene.deploy()
    scene.faults.release(held)
    scene.until_state(order_id, State.COMPLETED)


@script("F25")
def sweep_died(scene: Scene, order_id: str) -> None:
    """The event is lost, and a sweep dies before it records the end."""
    scene.stopped_unseen(order_id)
    rule = scene.faults.add(Rule(Kill(), "dynamodb", "UpdateItem", "OrderSweep", order_id))
    scene.functions.invoke(FunctionName=scene.stack.outputs["OrderSweepArn"], Payload=b"{}")
    scene.faults.wait(rule)


@script("F26")
def put_back(scene: Scene, order_id: str) -> None:
    """The item of its wait is put back after its end."""
    entry = scene.waiting(order_id)
    table, key = scene.stack.outputs["LedgerTableName"], {"orderId": {"S": order_id}}
    older = scene.dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]
    scene.until_state(order_id, State.COMPLETED)
    scene.until_execution(entry, "SUCCEEDED")
    scene.dynamodb.put_item(TableName=table, Item=older)


NEEDS_DEPLOYMENT: Final = ("F19", "F22", "F24")
SWEEPS: Final = ("F16", "F25")
"""One after the other, because a sweep finds the orders of all of them."""


@contextmanager
def stack_with_faults(
    wait_seconds: int = WAIT_SECONDS, timeout_seconds: int = EXECUTION_TIMEOUT_SECONDS
) -> Iterator[tuple[LocalStack, Copy, Clocks]]:
    """A stack of a copy of the pipeline whose clocks and code can be changed."""
    with TemporaryDirectory() as folder:
        copy = Copy(Path(folder) / "pipeline")
        clocks = Clocks(Path(folder) / "clocks.json")
        copy.edit(clocks.edits)
        parameters = {"WaitSeconds": str(wait_seconds), "ExecutionTimeoutSeconds": str(timeout_seconds)}
        with local_stack(template=copy.template, parameters=parameters, time_scale=TIME_SCALE, faults=True) as stack:
            yield stack, copy, clocks


@dataclass(frozen=True)
class Answer:
    """What `why` said about one order of a fault."""

    fault: str
    cause: str
    evidence: str = ""


def ask(scene: Scene, fault: str) -> Answer:
    """Inject the fault once, and ask."""
    order_id = f"{fault}-{uuid4().hex[:10]}"
    try:
        SCRIPTS[fault](scene, order_id)
        found = scene.why(order_id)
    except Exception as error:  # noqa: BLE001 (one script's failure is one wrong answer)
        return Answer(fault, f"not asked: {type(error).__name__}: {error}")
    return Answer(fault, found.cause, "; ".join(found.evidence))


def inject(times: int, faults: Collection[str], timeout_seconds: int = EXECUTION_TIMEOUT_SECONDS) -> list[Answer]:
    """Inject each of these faults so many times into one stack, and ask about each order."""
    with stack_with_faults(timeout_seconds=timeout_seconds) as (stack, copy, clocks):
        scene = Scene(stack, clocks)
        others = [fault for fault in SCRIPTS if fault in faults and fault not in (*NEEDS_DEPLOYMENT, *SWEEPS)]
        with ThreadPoolExecutor(WORKERS) as pool:
            answers = list(pool.map(lambda fault: ask(scene, fault), others * times))
        answers += [ask(scene, fault) for fault in SWEEPS if fault in faults for _ in range(times)]
        deployed = [fault for fault in NEEDS_DEPLOYMENT if fault in faults] * times
        if not deployed:
            return answers

        def deploy() -> None:
            copy.edit([*ONE_MORE_FIELD, *NEWER_ENRICHER])
            stack.deploy()

        all_there = Barrier(len(deployed), action=deploy, timeout=TIMEOUT_SECONDS)
        scene.deploy = all_there.wait
        with ThreadPoolExecutor(len(deployed)) as pool:
            answers += pool.map(lambda fault: ask(scene, fault), deployed)
        return answers


def healthy(count: int) -> list[Answer]:
    """Ask about so many healthy orders, while they run and after their end, and return the false flags."""
    with stack_with_faults(HEALTHY_WAIT_SECONDS) as (stack, _, clocks):
        scene = Scene(stack, clocks)
        ids = [f"HEALTHY-{number}" for number in range(count)]

        def watch(order_id: str) -> list[Answer]:
            scene.send(order_id)
            scene.until(lambda: scene.ledger.get(order_id), f"{order_id} to start")
            while_it_runs = scene.why(order_id)
            scene.until_state(order_id, *TERMINAL)
            found = [while_it_runs, scene.why(order_id)]
            return [
                Answer(order_id, why.cause, "; ".join(why.evidence))
                for why in found
                if why.cause not in (Cause.WAITING, Cause.NOTHING_WRONG)
            ]

        with ThreadPoolExecutor(WORKERS) as pool:
            return [answer for answers in pool.map(watch, ids) for answer in answers]


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.causes")
    parser.add_argument("--times", type=int, default=10, help="inject each fault so often")
    parser.add_argument("--orders", type=int, default=2000, help="ask about so many healthy orders")
    arguments = parser.parse_args()
    causes = expected()
    answers = inject(arguments.times, SCRIPTS)
    right = [answer for answer in answers if answer.cause == causes[answer.fault]]
    for answer in answers:
        if answer not in right:
            print(f"{answer.fault}: {answer.cause}, not {causes[answer.fault]}: {answer.evidence}")
    print(f"{len(right)} of {len(answers)} answers are right ({len(right) / len(answers):.1%})")
    sys.stdout.flush()
    flags = healthy(arguments.orders)
    for flag in flags[:20]:
        print(f"{flag.fault}: {flag.cause}: {flag.evidence}")
    print(f"{len(flags)} false flags among {arguments.orders} healthy orders")
    return 0 if not flags and len(right) >= 0.95 * len(answers) else 1


if __name__ == "__main__":
    sys.exit(main())
