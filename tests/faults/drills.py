"""What an operator does with many orders, by the `orders` command as processes of their own, on a local stack.

- `bulk`: orders fail by three causes and are retried cause by cause; one job is killed midway and resumed.
- `pauses`: everything is paused while the orders wait. The pause is killed midway and run again. Nothing may move, also
  after the waits are over. Then all is resumed.
- `sends`: a long file with seven bad lines is sent. They are named, and the memory does not grow with the file.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from durable_local import LocalStack
from shared.ledger.entry import LedgerEntry
from shared.ledger.states import State
from tests.e2e.deployed_pipeline import DeployedPipeline
from tests.faults.invariants import Sent, violations
from tests.faults.observed import entries_of, observe, until_quiet
from tools.operations.jobs import Jobs
from tools.pipeline import local_stack

ORDERS: Final = Path(__file__).parents[2] / ".venv" / "bin" / "orders"
CAUSES: Final = (("FAILED", "EnricherUnavailable"), ("FAILED", "EnrichmentRejected"), ("STOPPED", "Maintenance"))
STOP_SECONDS: Final = 60
"""The wait of orders that are stopped in it."""

LATE_ORDERS: Final = 10
STILL_SECONDS: Final = 15
"""How long after the last wait nothing may have moved. An order goes on within a second of its wait."""

QUIET_SECONDS: Final = 300
MAX_MEMORY_RATIO: Final = 1.05
SHOWN_LINES: Final = 12


class Operator(DeployedPipeline):
    """The pipeline, and a shell that shows each command and what it prints. `sent`: what the orders must agree with."""

    def __init__(self, stack: LocalStack) -> None:
        super().__init__(stack)
        self.sent = Sent()

    def send(self, bodies: list[str]) -> dict[str, str]:
        """Send messages, and note them."""
        messages = super().send(bodies)
        self.sent.messages |= messages
        return messages

    def start(self, *arguments: str, inside: Sequence[str] = ()) -> subprocess.Popen[str]:
        """The command as a process that has begun; `inside` another command that runs it."""
        print(f"$ orders {' '.join(arguments)}", flush=True)
        return subprocess.Popen(
            [*inside, ORDERS, *arguments],
            env=self.stack.environment | {"PATH": os.defpath},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def orders(self, *arguments: str) -> str:
        """Run the command to its end. Returns what it printed."""
        with self.start(*arguments) as process:
            printed = process.communicate()[0]
        show(printed.splitlines())
        if process.returncode:
            raise SystemExit(f"orders {arguments[0]} ended with {process.returncode}")
        return printed

    def killed(self, *arguments: str, when: Callable[[], Any]) -> None:
        """Start the command, and kill it when `when` says so."""
        with self.start(*arguments) as process:
            self.until(when, "the command to be midway")
            process.kill()
            printed = process.communicate()[0]
        show([*printed.splitlines(), "(killed)"])

    def waiting(self, order_id: str) -> LedgerEntry:
        """The order's entry when it is WAITING."""
        entry: LedgerEntry = self.entry_when(order_id, lambda entry: entry.state is State.WAITING, "to wait")
        return entry

    def completed(self, order_id: str) -> None:
        """Wait until the order is COMPLETED."""
        self.entry_when(order_id, lambda entry: entry.state is State.COMPLETED, "to complete")

    def wrong(self, ids: Sequence[str], attempts: int, orders: int) -> list[str]:
        """What is wrong after all work: each of `orders` orders must be COMPLETED after so many attempts.

        `ids` are those that were retried.
        """
        until_quiet(self.stack, QUIET_SECONDS)
        observed = observe(self.stack)
        self.sent.retries = Counter(ids)
        entries = observed.entries.values()
        states = Counter(entry.state.value for entry in entries)
        reached = Counter(entry.attempt for entry in entries)
        shown = f"{dict(states)}, by their last attempt {dict(reached)}; {len(observed.records)} executions"
        print(f"{len(entries)} orders: {shown}")
        found = violations(observed, self.sent)
        if (states, reached) != ({State.COMPLETED: orders}, {attempts: orders}):
            found.append(f"not every order is COMPLETED in attempt {attempts}: {shown}")
        if len(observed.records) != orders * attempts:
            found.append(f"{len(observed.records)} executions ran {orders} orders {attempts} times")
        return found


def show(lines: Sequence[str]) -> None:
    """The first and last lines of many."""
    half = SHOWN_LINES // 2
    short = lines if len(lines) <= SHOWN_LINES else [*lines[:half], f"… {len(lines) - 2 * half} lines", *lines[-half:]]
    print("\n".join(short), flush=True)


def bulk(orders: int) -> list[str]:
    """Let the orders fail by three causes, and retry them. Returns what is wrong."""
    with local_stack(parameters={"WaitSeconds": str(STOP_SECONDS)}) as stack:
        operator = Operator(stack)
        jobs = Jobs(operator.dynamodb, stack.outputs["OperationsTableName"])
        ids = [f"BULK-{number:04}" for number in range(orders)]
        groups = [ids[place :: len(CAUSES)] for place in range(len(CAUSES))]
        operator.fail_by_three_causes(*groups, "CUST-BULK", operator.send)
        operator.orders("failures")
        for place, (state, error) in enumerate(CAUSES):
            retry = ("retry", "--state", state, "--error", error, "--yes")
            if place != 1:
                operator.orders(*retry)
                continue
            operator.killed(*retry, when=partial(is_midway, jobs, error, len(groups[place]) // 3))
            handle = jobs.newest(1)[0].handle
            operator.orders("jobs", "show", handle)
            operator.orders("jobs", "resume", handle)
        operator.orders("jobs")
        done = Counter[str]()
        for job in jobs.newest(len(CAUSES)):
            done += jobs.counts(job.handle)
        for order_id in ids:
            operator.completed(order_id)
        operator.orders("failures")
        wrong = operator.wrong(ids, attempts=2, orders=orders)
    return [*wrong, *([f"the jobs' results are {dict(done)}"] if done != {"DONE": orders} else [])]


def is_midway(jobs: Jobs, error: str, least: int) -> bool:
    """Whether the newest job is for this error and has retried at least so many orders."""
    job = jobs.newest(1)[0]
    return job.chosen.endswith(f"--error {error}") and jobs.counts(job.handle)["DONE"] >= least


def pauses(orders: int) -> list[str]:
    """Pause everything while the orders wait, and resume it after the waits are over. Returns what is wrong."""
    # Longer than all orders take to start and to be paused.
    wait = timedelta(seconds=60 + orders // 5)
    parameters = {"WaitSeconds": str(int(wait.total_seconds())), "ExecutionTimeoutSeconds": "7200"}
    with local_stack(parameters=parameters) as stack:
        operator = Operator(stack)
        ids = [f"PAUSE-{number:04}" for number in range(orders)]
        operator.send([json.dumps({"orderId": order_id}) for order_id in ids])
        for order_id in ids:
            operator.waiting(order_id)

        def paused() -> int:
            return len(operator.executions(Statuses=["PAUSING", "PAUSED"]))

        operator.killed("pause", "--all", when=lambda: paused() >= orders // 3)
        print(f"{paused()} of {orders} executions are paused")
        operator.orders("pause", "--all")
        late = [f"LATE-{number}" for number in range(LATE_ORDERS)]
        operator.send([json.dumps({"orderId": order_id}) for order_id in late])
        before = everything(operator)
        seconds = seconds_until_over(before["ledger"].values(), wait)
        print(f"the last wait is over in {seconds:.0f} s; looking again {STILL_SECONDS} s later", flush=True)
        if seconds < 0:
            return ["the waits were over before everything was paused"]
        time.sleep(seconds + STILL_SECONDS)
        after = everything(operator)
        wrong = [f"{part} changed while all was paused" for part in before if before[part] != after[part]]
        if Counter(after["executions"].values()) != {("PAUSED", None): orders}:
            wrong.append(f"not all executions are paused: {Counter(after['executions'].values())}")
        print(
            f"after all waits: {orders} entries, {orders} executions and {after['queue']} messages: {wrong or 'same'}"
        )
        operator.orders("resume", "--all")
        for order_id in ids:
            operator.completed(order_id)
        time.sleep(seconds_until_over(map(operator.waiting, late), wait))
        return [*wrong, *operator.wrong([], attempts=1, orders=orders + LATE_ORDERS)]


def seconds_until_over(waiting: Iterable[LedgerEntry], wait: timedelta) -> float:
    """How long until the last of their waits is over."""
    last = max(datetime.fromisoformat(entry.updated_at) for entry in waiting)
    return (last + wait - datetime.now(UTC)).total_seconds()


def everything(operator: Operator) -> dict[str, Any]:
    """Every ledger entry; each execution's status and end; how many messages the orders queue has."""
    executions = operator.executions()
    return {
        "ledger": {entry.order_id: entry for entry in entries_of(operator.stack)},
        "executions": {one["DurableExecutionArn"]: (one["Status"], one.get("EndTimestamp")) for one in executions},
        "queue": operator.messages_left(),
    }


# A process's peak begins with the memory of the process that starts it, so that is a small one.
MEASURING: Final = (
    sys.executable,
    "-ISc",
    "import resource as r, subprocess as s, sys; s.call(sys.argv[1:]); print(r.getrusage(r.RUSAGE_CHILDREN).ru_maxrss)",
)
"""Runs a command, and prints the peak of its resident memory in KiB at the end."""

BAD_LINES: Final = {
    "NOT_JSON": b"no order",
    "orderId": b'{"customerId": "CUST-1"}',
    "currency": b'{"orderId": "BAD-1", "currency": "XXXX"}',
    "items.0.quantity": b'{"orderId": "BAD-2", "items": [{"sku": "CD", "quantity": 0, "unitPrice": "1"}]}',
    "placedAt": b'{"orderId": "BAD-3", "placedAt": "yesterday"}',
    "colour": b'{"orderId": "BAD-4", "colour": "red"}',
    "customerId": b'{"orderId": "BAD-5", "customerId": "\xff"}',
}
"""Each with what its error must name."""


def sends(lines: int) -> list[str]:
    """Send a tenth of the lines, and then all, from a file each. Returns what is wrong."""
    with local_stack() as stack, TemporaryDirectory() as folder:
        operator = Operator(stack)
        # The orders stay in the queue, where they are counted.
        operator.orders("pause", "--intake")
        wrong, peaks = [], []
        for count in (lines // 10, lines):
            path = Path(folder) / f"{count}.jsonl"
            good, bad = written(path, count)
            peak, named = sent_from(operator, path)
            peaks.append(peak)
            wrong += [
                f"line {line} is not named with {what}" for line, what in bad.items() if what not in named.get(line, "")
            ]
            wrong += [f"line {line} is good and was named" for line in named.keys() - bad.keys()]
            found = read_all(operator)
            print(
                f"{len(named)} lines are named, {len(found)} orders are in the queue, peak memory {peak / 1024:.1f} MiB"
            )
            if found != Counter(good):
                wrong.append(f"{len(found)} orders are in the queue, not the {len(good)} good ones once each")
    ratio = peaks[1] / peaks[0]
    print(f"peak memory of {lines} lines: {ratio:.3f} times that of {lines // 10}")
    return [*wrong, *([f"memory grows with the file: {ratio:.3f}"] if ratio > MAX_MEMORY_RATIO else [])]


def written(path: Path, count: int) -> tuple[list[str], dict[int, str]]:
    """A file of so many lines: the ids of its orders, and what is wrong with each bad line, by line number."""
    places = [1 + place * (count - 1) // (len(BAD_LINES) - 1) for place in range(len(BAD_LINES))]
    bad = dict(zip(places, BAD_LINES, strict=True))
    good = []
    with path.open("wb") as file:
        for line in range(1, count + 1):
            if line in bad:
                text = BAD_LINES[bad[line]]
            else:
                good.append(f"SEND-{line:06}")
                attributes = {f"note-{number}": f"{line}" * 20 for number in range(20)}
                text = json.dumps({"orderId": good[-1], "customerId": "CUST-1", "attributes": attributes}).encode()
            file.write(text + b"\n")
    return good, bad


def sent_from(operator: Operator, path: Path) -> tuple[int, dict[int, str]]:
    """Send the file. Returns the peak of the process's resident memory in KiB, and its words about each line named."""
    with operator.start("send", str(path), inside=MEASURING) as process:
        *lines, peak = process.communicate()[0].splitlines()
    show(lines)
    named = [line.removeprefix(f"{path}:").split(": ", 1) for line in lines if line.startswith(f"{path}:")]
    return int(peak), {int(number): reason for number, reason in named}


def read_all(operator: Operator) -> Counter[str]:
    """Take every message from the orders queue. Returns how often each order was there."""
    queue, found = operator.outputs["OrdersQueueUrl"], Counter[str]()
    while messages := operator.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        found.update(json.loads(message["Body"])["orderId"] for message in messages)
        operator.sqs.delete_message_batch(
            QueueUrl=queue,
            Entries=[{"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate(messages)],
        )
    return found


DRILLS: Final = {"bulk": bulk, "pauses": pauses, "sends": sends}


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.drills")
    parser.add_argument("drill", choices=DRILLS)
    parser.add_argument("number", type=int, help="how many orders, or lines")
    arguments = parser.parse_args()
    began = time.monotonic()
    wrong = DRILLS[arguments.drill](arguments.number)
    for sentence in wrong[:20]:
        print(sentence)
    print(f"{arguments.drill}: {len(wrong)} things are wrong, in {time.monotonic() - began:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
