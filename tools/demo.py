"""The demo: real purchases run through the whole pipeline on a local stack that is started for it.

The demo kills a process of the orchestrator while that process works on an order; every order must still complete.
The exit status is 0 only if every order has the expected state, every bad message was rejected with the expected
reason code, and no message is left in a queue.
"""

import argparse
import json
import os
import re
import time
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from durable_local import LocalStack, LocalStackError
from durable_local.errors import one_line
from durable_local.faults import Kill, Rule
from shared.ledger.entry import LedgerEntry
from shared.ledger.states import TERMINAL, State
from shared.ledger.table import LedgerReader
from tools.pipeline import SETTINGS, local_stack
from tools.printable import printable
from tools.sample_data import load_samples

SAMPLES: Final = Path(__file__).parents[1] / "samples"
PURCHASES: Final = 40
TIMEOUT_SECONDS: Final = 120
POLL_SECONDS: Final = 0.25
KILLED_ORDER: Final = "CDNOW-000007"
"""The order whose process is killed, after the enricher answered and before the answer is in the ledger."""
KILL: Final = Rule(Kill(), "dynamodb", "UpdateItem", "DurableOrderProcessor", text=(KILLED_ORDER, "ENRICHED"))

# Markup is off because printed text may come from a producer.
console = Console(highlight=False, markup=False, emoji=False)


@dataclass(frozen=True)
class SpecialCase:
    """A message that is not a plain purchase. `expected` is its order's last state, or the reject's reason code."""

    case: str
    expected: str
    body: str


@dataclass(frozen=True)
class Reject:
    """A message in the rejected-orders queue."""

    body: str
    reason_code: str
    field_errors: list[dict[str, str]]


class DemoError(Exception):
    """The demo found something wrong. `problems` has one line for each finding."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__(*problems)
        self.problems = problems


class Demo:
    """The queues, the alias and the ledger of one stack."""

    def __init__(self, stack: LocalStack) -> None:
        self._sqs = stack.client("sqs")
        self._lambda = stack.client("lambda")
        self._outputs = stack.outputs
        self.ledger = LedgerReader(stack.client("dynamodb"), stack.outputs["LedgerTableName"])

    def send(self, bodies: list[str]) -> dict[str, str]:
        """Send messages to the orders queue, ten in each request. Returns the bodies by message id."""
        sent: dict[str, str] = {}
        for start in range(0, len(bodies), 10):
            batch = bodies[start : start + 10]
            answer = self._sqs.send_message_batch(
                QueueUrl=self._outputs["OrdersQueueUrl"],
                Entries=[{"Id": str(place), "MessageBody": body} for place, body in enumerate(batch)],
            )
            sent.update((entry["MessageId"], batch[int(entry["Id"])]) for entry in answer["Successful"])
        return sent

    def invoke(self, order: dict[str, Any]) -> dict[str, Any]:
        """Invoke the alias directly, wait for the end of the execution, and return its result."""
        response = self._lambda.invoke(
            FunctionName=self._outputs["DurableOrderProcessorArn"], Payload=json.dumps(order).encode()
        )
        result: dict[str, Any] = json.loads(response["Payload"].read())
        return result

    def wait_for_end(self, order_ids: list[str]) -> dict[str, LedgerEntry]:
        """Show progress until every order has ended or the time limit is reached. Returns the entries by order id."""
        entries: dict[str, LedgerEntry] = {}
        deadline = time.monotonic() + TIMEOUT_SECONDS
        columns = (TextColumn("  orders ended"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, TextColumn("{task.fields[states]}"), console=console) as progress:
            task = progress.add_task("orders", total=len(order_ids), states="")
            while time.monotonic() < deadline:
                for order_id in order_ids:
                    if order_id not in entries or entries[order_id].state not in TERMINAL:
                        entry = self.ledger.get(order_id)
                        if entry is not None:
                            entries[order_id] = entry
                states = Counter(entry.state for entry in entries.values())
                ended = sum(states[state] for state in TERMINAL)
                running = "  ".join(f"{state} {states[state]}" for state in State if states[state])
                progress.update(task, completed=ended, states=running)
                if ended == len(order_ids):
                    break
                time.sleep(POLL_SECONDS)
        return entries

    def rejects(self, count: int) -> list[Reject]:
        """Read the rejected-orders queue until it gave `count` messages or the time limit is reached."""
        found: dict[str, Reject] = {}
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while len(found) < count and time.monotonic() < deadline:
            response = self._sqs.receive_message(
                QueueUrl=self._outputs["RejectedOrdersQueueUrl"],
                MaxNumberOfMessages=10,
                WaitTimeSeconds=2,
                MessageAttributeNames=["All"],
            )
            for message in response.get("Messages", []):
                attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
                found[attributes["sourceMessageId"]] = Reject(
                    message["Body"], attributes["reasonCode"], json.loads(attributes["fieldErrors"])
                )
        return list(found.values())

    def messages_left(self) -> int:
        """The number of messages in the orders queue, in flight or not, and in its dead-letter queue."""
        counts = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        left = 0
        for queue in ("OrdersQueueUrl", "OrdersDlqUrl"):
            attributes = self._sqs.get_queue_attributes(QueueUrl=self._outputs[queue], AttributeNames=list(counts))
            left += sum(int(attributes["Attributes"][count]) for count in counts)
        return left


def run(stack: LocalStack) -> None:
    """Run the demo on a running stack. Raises DemoError."""
    demo = Demo(stack)
    with (SAMPLES / "cdnow_orders.jsonl").open() as lines:
        purchases = [line.strip() for line in islice(lines, PURCHASES)]
    with (SAMPLES / "special_cases.jsonl").open() as lines:
        specials = [SpecialCase(**json.loads(line)) for line in lines]
    accepted = [special.body for special in specials if special.expected == State.COMPLETED]
    # The first body received becomes the order, so the conflicting body is sent after the other is in the ledger.
    conflicting = [special.body for special in specials if special.expected == "ORDER_CONFLICT"]
    bad = [special.body for special in specials if special.body not in accepted + conflicting]
    order_ids = list(dict.fromkeys(json.loads(body)["orderId"] for body in purchases + accepted))

    killing = stack.faults.add(KILL)
    console.print(f"sending {PURCHASES} purchases, {len(accepted)} special orders and {len(bad)} bad messages")
    demo.send(purchases + accepted + bad)
    (killed,) = stack.faults.wait(killing, timeout_seconds=TIMEOUT_SECONDS)
    console.print(f"killed (SIGKILL) process {killed.request.pid} of the orchestrator in the middle of {KILLED_ORDER}")
    entries = demo.wait_for_end(order_ids)
    console.print(f"sending {len(conflicting)} message with a known order id and another body")
    demo.send(conflicting)
    console.print("invoking the alias directly and waiting for its answer")
    answer = demo.invoke({"orderId": "DIRECT-1", "customerId": "CUST-00004"})
    direct = demo.ledger.get("DIRECT-1")
    if direct is not None:
        entries[direct.order_id] = direct
    rejects = demo.rejects(len(bad) + len(conflicting))

    console.print(states_table(entries), timeline_table(entries.get(KILLED_ORDER)), rejects_table(rejects))
    problems = [
        f"{order_id} is {entries[order_id].state if order_id in entries else 'not in the ledger'}"
        for order_id in [*order_ids, "DIRECT-1"]
        if order_id not in entries or entries[order_id].state is not State.COMPLETED
    ]
    if answer.get("success") is not True:
        problems.append(f"the direct invoke answered {answer}")
    expected = Counter((special.body, special.expected) for special in specials if special.body not in accepted)
    found = Counter((reject.body, reject.reason_code) for reject in rejects)
    problems += [f"not rejected as {code}: {body}" for body, code in expected - found]
    problems += [f"rejected as {code}: {body}" for body, code in found - expected]
    if left := demo.messages_left():
        problems.append(f"{left} messages are left in the queues")
    if problems:
        raise DemoError(problems)


def states_table(entries: dict[str, LedgerEntry]) -> Table:
    """The number of orders in each state."""
    table = Table("state", "orders", title="Orders by state", title_justify="left")
    for state, count in Counter(entry.state for entry in entries.values()).items():
        table.add_row(state, str(count))
    return table


def timeline_table(entry: LedgerEntry | None) -> Table:
    """One order's history."""
    table = Table("state", "at", "attempt", title="An order's timeline", title_justify="left")
    if entry is not None:
        table.title = f"The timeline of {entry.order_id}"
        for step in entry.history:
            table.add_row(step.state, step.at, str(step.attempt))
    return table


def rejects_table(rejects: list[Reject]) -> Table:
    """The rejected messages, each with its reason."""
    table = Table("reason", "why", "message", title="Rejected messages", title_justify="left", show_lines=True)
    for reject in sorted(rejects, key=lambda reject: reject.reason_code):
        errors = [f"{error['field']}: {error['reason']}".removeprefix(": ") for error in reject.field_errors]
        table.add_row(printable(reject.reason_code), "\n".join(map(printable, errors)), printable(reject.body[:40]))
    return table


def picture(recorded: Console) -> str:
    """What a recording console printed, as SVG. Rich's web fonts are removed: the picture loads nothing."""
    return re.sub(r"@font-face \{.*?\}\s*", "", recorded.export_svg(title="make demo"), flags=re.DOTALL)


def main(*arguments: str) -> int:
    """Start a stack, run the demo and end the stack. Returns the exit status.

    `--template PATH` deploys that template, such as the one of `make build`. `--svg PATH` also writes the output to an
    SVG file. Send standard output to a pipe then: on a terminal the progress bar prints many frames, and the file would
    show all of them.
    """
    parser = argparse.ArgumentParser(prog="python -m tools demo")
    parser.add_argument("--template", type=Path, default=SETTINGS.template)
    parser.add_argument("--svg", type=Path)
    given = parser.parse_args(arguments)
    svg: Path | None = given.svg
    console.record = svg is not None
    console.print(f"starting a local stack and deploying {os.path.relpath(given.template)} to it")
    began = time.monotonic()
    try:
        with local_stack(faults=True, template=given.template.resolve()) as stack:
            console.print(f"  {stack.endpoint}, after {time.monotonic() - began:.0f} s")
            console.print(f"loaded {load_samples(stack)} customers")
            run(stack)
    except DemoError as error:
        report([*error.problems, *getattr(error, "__notes__", [])])
        return 1
    except (LocalStackError, TimeoutError) as error:
        console.print(f"the local stack failed: {one_line(error)}", style="red")
        return 1
    except KeyboardInterrupt:
        console.print("interrupted; the local stack is down")
        return 130
    console.print("every order ended as it should, and no message is left", style="green")
    if svg is not None:
        svg.write_text(picture(console), encoding="utf-8")
    return 0


def report(problems: list[str]) -> None:
    """Print one line for each problem. A problem may contain a producer's text."""
    for problem in problems:
        console.print(printable(problem), style="red", soft_wrap=True)
