"""P11: orders a second on the local stack from the queue to COMPLETED, and the CPU that an order costs, by process.

    python -m bench.slow --commands --orders 200 2000 2000

Inside the figures: everything that the stack's processes do, from the first message that is sent until all orders are
COMPLETED and the processes are idle again: also the publisher's events, and starts of workers. Outside: the sender,
the deployment, and the warm-up. CPU is user and system time from /proc, so a busy machine changes it little; orders a
second need an idle one. Each run sends real purchases of the samples to the orders queue, with the template's own wait.
The last number is run twice: what executions that run at once need is taken once, and what stays of each order, twice.
"""

import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NamedTuple

from rich.console import Console
from rich.table import Table

from bench.figures import Result, Row, Series
from durable_local import processes
from durable_local.lifecycle import LocalStack
from tools.pipeline import local_stack
from tools.sample_data import load_samples

ROOT: Final = Path(__file__).parents[1]
SAMPLES: Final = ROOT / "samples" / "cdnow_orders.jsonl"
WARM_UP: Final = 100
COUNTED: Final = 50
"""The orders of the run that counts requests, which a stack with faults records."""
POLL_SECONDS: Final = 0.5
IDLE_SHARE: Final = 0.06
"""Of one CPU: below it the stack is idle."""
MAX_MS: Final = 80.0
MIN_ORDERS_A_SECOND: Final = 25.0
MAX_GROWTH_MB: Final = 16.0
TICK_MS: Final = 1000 / os.sysconf("SC_CLK_TCK")
FRONT_DOOR, MINISTACK, ENDED = "front door", "MiniStack", "ended workers"


class Usage(NamedTuple):
    """What the processes of a stack have used: CPU in ms, resident memory in MB, by process; workers by function."""

    cpu: dict[str, float]
    memory: dict[str, float]

    def total_ms(self) -> float:
        """The CPU of all processes."""
        return sum(self.cpu.values())


@dataclass(frozen=True)
class Run:
    """One number of orders."""

    orders: int
    seconds: float
    cpu_ms: dict[str, float]
    """For each order, by process."""
    memory: dict[str, float]
    """In MB after the run."""

    @property
    def total_ms(self) -> float:
        """The CPU of one order."""
        return sum(self.cpu_ms.values())


def measure(console: Console, numbers: list[int]) -> Result:
    """Runs each number of orders, at least two, on one stack, then counts requests on another."""
    orders = purchases()
    with local_stack() as stack:
        load_samples(stack)
        _process(stack, list(islice(orders, WARM_UP)))
        idle = _idle(stack)
        runs = [_run(stack, list(islice(orders, number))) for number in numbers]
    console.print(_table(runs))
    console.print(f"an idle stack uses {idle:.1f} ms of CPU a second")
    with local_stack(faults=True) as stack:
        load_samples(stack)
        before = Counter(_requests(stack))
        _process(stack, list(islice(orders, COUNTED)))
        console.print(_requests_table(Counter(_requests(stack)) - before))
    first, previous, last = runs[0], runs[-2], runs[-1]
    return Result(
        [
            Series(f"local stack, CPU an order, {run.orders} orders", "ms", run.total_ms, run.total_ms, 0, 1)
            for run in runs
        ],
        [
            Row(
                "P11",
                f"orders a second, {last.orders} orders",
                last.orders / last.seconds,
                f"≥ {MIN_ORDERS_A_SECOND:g}",
                last.orders / last.seconds >= MIN_ORDERS_A_SECOND,
            ),
            Row.at_most("P11", f"CPU an order, {last.orders} orders", last.total_ms, MAX_MS, unit="ms"),
            Row.at_most("P11", "CPU an order, most against fewest orders", last.total_ms / first.total_ms, 1.1),
            *(
                Row.at_most(
                    "P11",
                    f"{name}'s memory, {last.orders} orders more",
                    last.memory[name] - previous.memory[name],
                    MAX_GROWTH_MB,
                    unit="MB",
                )
                for name in (FRONT_DOOR, MINISTACK)
            ),
        ],
    )


def _run(stack: LocalStack, orders: list[dict[str, Any]]) -> Run:
    before = _usage(stack)
    seconds = _process(stack, orders)
    after = _usage(stack)
    # A worker that ended during the run is missing in its function's CPU, and is in that of ended workers.
    spent = {name: (after.cpu[name] - before.cpu[name]) / len(orders) for name in {*before.cpu, *after.cpu}}
    return Run(len(orders), seconds, dict(sorted(spent.items(), key=itemgetter(1), reverse=True)), after.memory)


def _process(stack: LocalStack, orders: list[dict[str, Any]]) -> float:
    """Sends the orders. Returns the seconds from the first message to the last COMPLETED, once the stack is idle."""
    sqs, queue = stack.client("sqs"), stack.outputs["OrdersQueueUrl"]
    began = time.time()
    for first in range(0, len(orders), 10):
        batch = orders[first : first + 10]
        messages = [{"Id": str(number), "MessageBody": json.dumps(order)} for number, order in enumerate(batch)]
        if sqs.send_message_batch(QueueUrl=queue, Entries=messages).get("Failed"):
            raise RuntimeError("SQS refused messages")
    until_idle(stack)
    entries = _entries(stack, {order["orderId"] for order in orders})
    if len(entries) != len(orders) or any(entry["state"]["S"] != "COMPLETED" for entry in entries):
        raise RuntimeError(f"{len(entries)} of {len(orders)} orders are in the ledger, or some are not COMPLETED")
    return max(datetime.fromisoformat(entry["updatedAt"]["S"]).timestamp() for entry in entries) - began


def until_idle(stack: LocalStack) -> None:
    """Waits until no message and no execution is left, and the processes have nothing to do."""
    sqs, aws_lambda, queue = stack.client("sqs"), stack.client("lambda"), stack.outputs["OrdersQueueUrl"]
    function = stack.physical_name("DurableOrderProcessor")
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    before = _usage(stack).total_ms()
    while True:
        time.sleep(POLL_SECONDS)
        now = _usage(stack).total_ms()
        used, before = now - before, now
        if used > IDLE_SHARE * POLL_SECONDS * 1000:
            continue
        left = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
        running = aws_lambda.list_durable_executions_by_function(
            FunctionName=function, Statuses=["RUNNING"], MaxItems=1
        )
        if not any(map(int, left.values())) and not running["DurableExecutions"]:
            return


def _idle(stack: LocalStack) -> float:
    before = _usage(stack).total_ms()
    time.sleep(5)
    return (_usage(stack).total_ms() - before) / 5


def _usage(stack: LocalStack) -> Usage:
    directory = stack.settings.directory
    functions, front_door = processes.workers(directory), processes.front_door_of(directory)
    cpu: dict[str, float] = defaultdict(float)
    memory: dict[str, float] = defaultdict(float)
    for pid in processes.of_stack(directory):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        except FileNotFoundError:  # it ended since it was listed
            continue
        user, system, ended_user, ended_system = map(int, fields[11:15])
        name = functions.get(pid) or (FRONT_DOOR if pid == front_door else MINISTACK)
        cpu[name] += (user + system) * TICK_MS
        memory[name] += int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 1e6
        if name == MINISTACK:
            cpu[ENDED] += (ended_user + ended_system) * TICK_MS
    return Usage(cpu, memory)


def _entries(stack: LocalStack, order_ids: set[str]) -> list[dict[str, Any]]:
    pages = stack.client("dynamodb").get_paginator("scan").paginate(TableName=stack.outputs["LedgerTableName"])
    return [entry for page in pages for entry in page["Items"] if entry["orderId"]["S"] in order_ids]


def _requests(stack: LocalStack) -> list[tuple[str, str]]:
    return [
        (request.function or "others", f"{request.service}:{request.operation}") for request in stack.faults.requests()
    ]


def purchases() -> Iterator[dict[str, Any]]:
    """The real purchases of the samples."""
    with SAMPLES.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _table(runs: list[Run]) -> Table:
    found = Table(
        "process", *(f"{run.orders} orders: CPU ms an order" for run in runs), *(f"{run.orders}: MB" for run in runs)
    )
    for name in dict.fromkeys(name for run in runs for name in run.cpu_ms):
        found.add_row(
            name,
            *(f"{run.cpu_ms.get(name, 0):.1f}" for run in runs),
            *(f"{run.memory.get(name, 0):.0f}" for run in runs),
        )
    found.add_row("all", *(f"{run.total_ms:.1f}" for run in runs), *(f"{sum(run.memory.values()):.0f}" for run in runs))
    found.add_row("orders a second", *(f"{run.orders / run.seconds:.1f}" for run in runs))
    return found


def _requests_table(counted: Counter[tuple[str, str]]) -> Table:
    found = Table("function", "request through the front door", f"an order, of {COUNTED}")
    for (function, operation), number in counted.most_common():
        found.add_row(function, operation, f"{number / COUNTED:.2f}")
    return found
