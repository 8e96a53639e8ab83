"""P15: how fast the console's screens answer with 10,000 orders in the ledger, and its memory with ten open tabs.

    python -m bench.console [--orders 10000] [--minutes 10]      other numbers are printed, and not written

The orders are written to the ledger of a local stack by the ledger's own code, with its transitions and conditions, as
their executions would. Only twenty also have an execution: real purchases, sent through the orders queue.

Inside a screen's time: a GET of the page, from the request to its last byte, with all that the console, the front door
and MiniStack do for it. Outside: the browser. No other page is open, so nothing is shared. The first request of each
screen is not counted: it fills what the console keeps for some seconds. A page whose content takes more than a second
is answered without it, and counts as that second. The CPU is that of the three processes for one request: the times
need an idle machine, the CPU depends on it less.

A tab is an open event stream, as a browser holds one for each visible page: a plain HTTP client reads it, no browser
runs. The console looks again while a stream is open, so ten minutes are up to six hundred reads of each page.
"""

import argparse
import http.client
import json
import os
import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, Final
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

from rich.console import Console
from rich.table import Table

from bench.__main__ import table
from bench.figures import Row
from bench.local_stack import TICK_MS, purchases, until_idle
from bench.slow import add
from durable_local import processes
from durable_local.lifecycle import LocalStack
from orchestrator.result import order_result
from shared.aws.clients import client_config
from shared.aws.clock import utc_now
from shared.executions.names import ExecutionName, OrderExecution
from shared.ledger.owner import Ledger
from shared.ledger.states import State
from shared.ledger.table import LedgerTable
from shared.orders.order import Order
from tools.pipeline import ROOT, local_stack
from tools.sample_data import generated_orders, load_samples

ORDERS: Final = 10_000
WITH_EXECUTION: Final = 20
SHARES: Final = {State.ENRICHING: 2, State.WAITING: 4, State.FINALIZING: 1, State.FAILED: 13}
"""Of a hundred orders. The others are COMPLETED."""

ERRORS: Final = ("EnricherUnavailable", "EnricherRejected", "InvalidOrder")
RETRIED_EVERY: Final = 5
"""Of the failed orders, one in so many was retried and failed again."""

WRITERS: Final = 8
REQUESTS: Final = 9
MAX_SECONDS: Final = 0.3
MINUTES: Final = 10.0
TABS: Final = 10
SAMPLE_SECONDS: Final = 30.0
SETTLING_SECONDS: Final = 120.0
"""Until then the memory may grow: connections are opened, templates are compiled."""

MAX_GROWTH: Final = 0.05
TIMEOUT_SECONDS: Final = 30
PROBLEM: Final = '<section class="problem"'


def main() -> None:
    """A row that does not hold is no failure of the run."""
    parser = argparse.ArgumentParser(prog="python -m bench.console", description="Measure the console.")
    parser.add_argument("--orders", type=int, default=ORDERS)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="how long ten tabs are open; 0: not at all")
    given = parser.parse_args()
    console = Console(width=max(Console().width, 120))
    rows = measure(console, given.orders, given.minutes)
    console.print(table(rows))
    console.print(f"load of the machine: {os.getloadavg()[0]:.1f}")
    if (given.orders, given.minutes) == (ORDERS, MINUTES):
        add(rows)


def measure(console: Console, orders: int, minutes: float) -> list[Row]:
    """Fills a ledger, times each screen, and then holds ten tabs open."""
    with local_stack() as stack:
        load_samples(stack)
        began = time.monotonic()
        fill(stack, orders)
        console.print(f"{orders:,} orders written in {time.monotonic() - began:.0f} s")
        until_idle(stack)
        with running_console(stack) as (browser, process):
            pids = _processes(stack, process)
            screens = _screens(stack, browser)
            timings = [_timing(browser, pids, name, path) for name, path in screens.items()]
            console.print(_timings_table(timings))
            rows = [_slowest(timings, orders)]
            if minutes:
                samples = _with_tabs(browser, pids, list(screens.values())[:TABS], minutes)
                console.print(_samples_table(samples))
                rows.append(_growth(samples, minutes))
    return rows


def _slowest(timings: Sequence["_Timing"], orders: int) -> Row:
    slowest = max(timings, key=lambda timing: timing.median)
    within = sum(timing.median <= MAX_SECONDS for timing in timings)
    return Row.at_most(
        "P15",
        f"the slowest of the console's {len(timings)} screens, {orders:,} orders",
        slowest.median,
        MAX_SECONDS,
        unit="s",
        note=f"{slowest.screen}, {slowest.cpu_ms:.0f} ms of CPU; {within} of {len(timings)} are within it; {_load()}",
    )


def _growth(samples: Sequence["_Sample"], minutes: float) -> Row:
    settled = next(each for each in samples if each.seconds >= min(SETTLING_SECONDS, samples[-1].seconds / 2))
    first, between, last = (each.megabytes[0] for each in (samples[0], settled, samples[-1]))
    return Row.at_most(
        "P15",
        f"growth of the console's memory, {TABS} tabs for {minutes:g} minutes, after {settled.seconds / 60:.0f}",
        100 * (last / between - 1),
        100 * MAX_GROWTH,
        unit="%",
        note=f"{first:.0f} MB, then {between:.0f} MB, at the end {last:.0f} MB; {_load()}",
    )


def _load() -> str:
    return f"load {os.getloadavg()[0]:.0f}"


def fill(stack: LocalStack, count: int) -> None:
    """Writes `count` orders to the ledger, each as far as its share says, and lets some real ones run."""
    queue, ledger_table = stack.outputs["OrdersQueueUrl"], stack.outputs["LedgerTableName"]
    real = [json.dumps(order) for order in islice(purchases(), WITH_EXECUTION)]
    entries = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(real)]
    for first in range(0, len(entries), 10):
        stack.client("sqs").send_message_batch(QueueUrl=queue, Entries=entries[first : first + 10])
    until_idle(stack)
    client = stack.client("dynamodb", client_config(read_timeout_seconds=60, connections=WRITERS))
    (described,) = stack.client("cloudformation").describe_stacks(StackName=stack.settings.stack_name)["Stacks"]
    ledger = LedgerTable(client, ledger_table)
    completed = ledger.get(json.loads(real[0])["orderId"])
    if completed is None or completed.enrichment is None:
        raise RuntimeError("a real order is not COMPLETED")
    function = stack.outputs["DurableOrderProcessorArn"].rpartition(":")[0]
    writer = Writer(ledger, function, described["StackId"], completed.enrichment)
    ends = [state for state, share in SHARES.items() for _ in range(share)]
    ends += [State.COMPLETED] * (100 - len(ends))
    with ThreadPoolExecutor(WRITERS) as pool:
        # A step that shares no divisor with 100: the states are mixed in time.
        list(pool.map(writer.write, generated_orders(count), (ends[number * 37 % 100] for number in range(count)),
                      range(count)))  # fmt: skip


@dataclass(frozen=True)
class Writer:
    """Writes what executions of the function write about their orders. `enrichment` is an answer of the enricher."""

    ledger: LedgerTable
    function: str
    stack_id: str
    enrichment: Mapping[str, Any]

    def write(self, order: Order, end: State, number: int) -> None:
        """All transitions of an order up to `end`."""
        owner, attempts = Ledger(self.ledger), 2 if end is State.FAILED and number % RETRIED_EVERY == 0 else 1
        for attempt in range(1, attempts + 1):
            name = ExecutionName.of(self.stack_id, order.order_id, attempt)
            arn = f"{self.function}:1/durable-execution/{name}/{uuid4()}"
            me = OrderExecution(order.order_id, arn, attempt, named=True)
            owner.claim(order, me)
            if end is State.FAILED:
                owner.failed(me, ERRORS[number % len(ERRORS)], "written by bench/console.py")
        if end in {State.ENRICHING, State.FAILED}:
            return
        enrichment = {**self.enrichment, "orderId": order.order_id}
        owner.enriched(me, enrichment)
        if end is State.WAITING:
            return
        owner.finalizing(me)
        if end is State.COMPLETED:
            now = utc_now()
            owner.completed(me, order_result(order.order_id, enrichment, {"finalizedAt": now, "processedAt": now}))


class Tabs:
    """What a browser does with a console: it opens pages and their streams."""

    def __init__(self, address: str) -> None:
        url = urlsplit(address)
        self._host = url.netloc
        self._connection = http.client.HTTPConnection(self._host, timeout=TIMEOUT_SECONDS)
        self._connection.request("GET", f"{url.path}?{url.query}")
        response = self._connection.getresponse()
        response.read()
        self._cookie = {"Cookie": response.headers["Set-Cookie"].partition(";")[0]}

    def page(self, path: str) -> str:
        """The page. Raises RuntimeError for one that shows a problem."""
        self._connection.request("GET", path, headers=self._cookie)
        response = self._connection.getresponse()
        text = response.read().decode()
        if response.status != http.client.OK or PROBLEM in text:
            raise RuntimeError(f"{path} answers {response.status}, or shows a problem")
        return text

    def seconds(self, path: str) -> float:
        """How long the page takes. One whose content takes more than a second comes without it then."""
        began = time.perf_counter()
        self.page(path)
        return time.perf_counter() - began

    def open(self, path: str, events: Counter[str], ended: threading.Event) -> None:
        """Reads the page's stream until the event is set, and counts what comes."""
        connection = http.client.HTTPConnection(self._host, timeout=TIMEOUT_SECONDS)
        connection.request("GET", path, headers={**self._cookie, "Accept": "text/event-stream"})
        response = connection.getresponse()
        while not ended.is_set():
            line = response.readline()
            if not line:
                raise RuntimeError(f"the stream of {path} has ended")
            events[path] += line == b"\n"
        connection.close()


@contextmanager
def running_console(stack: LocalStack) -> Iterator[tuple[Tabs, int]]:
    """`orders console` of the stack: what opens its pages, and its process id."""
    process = subprocess.Popen(
        [ROOT / ".venv" / "bin" / "orders", "console"],
        env=os.environ | stack.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None  # noqa: S101 (it is a pipe)
        yield Tabs(process.stdout.readline().split()[-1]), process.pid
    finally:
        process.terminate()
        process.communicate()


def _screens(stack: LocalStack, browser: Tabs) -> dict[str, str]:
    """The path of each screen, by what it shows. The first ten are those that tabs are opened on."""
    ledger = LedgerTable(stack.client("dynamodb"), stack.outputs["LedgerTableName"])
    (_, completed), (_, failed), (_, waiting) = (
        ledger.in_state(state, 1)[0] for state in (State.COMPLETED, State.FAILED, State.WAITING)
    )
    (execution,) = stack.client("lambda").list_durable_executions_by_function(
        FunctionName=stack.outputs["DurableOrderProcessorArn"], MaxItems=1
    )["DurableExecutions"]
    while not (following := re.search(r'href="([^"]+)" rel="next"', browser.page("/orders"))):
        pass  # on a busy machine: the page came without its content
    return {
        "overview": "/",
        "orders": "/orders",
        "orders, completed": "/orders?state=COMPLETED",
        "order, failed": f"/orders/one?{urlencode({'id': failed})}",
        "order, waiting": f"/orders/one?{urlencode({'id': waiting})}",
        "failures": "/failures",
        "rejected": "/rejected",
        "agreement": "/agreement",
        "executions": "/executions",
        "one execution": f"/executions/one?{urlencode({'arn': execution['DurableExecutionArn']})}",
        "orders, next page": unescape(following[1]),
        "orders, unmoved longest": "/orders?sort=oldest",
        "orders, failed in the last hour": "/orders?state=FAILED&since=1h",
        "orders, of a customer": "/orders?customer=CUST-00021",
        "orders, of an error type": f"/orders?{urlencode({'error': ERRORS[0]})}",
        "orders, by an id's beginning": f"/orders?{urlencode({'id': completed[:-4]})}",
        "order, completed": f"/orders/one?{urlencode({'id': completed})}",
        "jobs": "/orders/jobs",
        "operations log": "/agreement/log",
        "send": "/send",
    }


@dataclass(frozen=True)
class _Timing:
    """How long the requests of a screen took, and the CPU of one: the console's, the front door's and MiniStack's."""

    screen: str
    first: float
    seconds: Sequence[float]
    cpu_ms: float

    @property
    def median(self) -> float:
        """Without the first."""
        return median(self.seconds)


def _timing(browser: Tabs, pids: Sequence[int], screen: str, path: str) -> _Timing:
    first, before = browser.seconds(path), sum(map(_cpu_ms, pids))
    seconds = [browser.seconds(path) for _ in range(REQUESTS)]
    return _Timing(screen, first, seconds, (sum(map(_cpu_ms, pids)) - before) / REQUESTS)


def _processes(stack: LocalStack, console: int) -> tuple[int, int, int]:
    """The process ids of the console, the front door and MiniStack."""
    directory = stack.settings.directory
    front_door, ministack = processes.front_door_of(directory), processes.ministack_of(directory)
    if front_door is None or ministack is None:
        raise RuntimeError("the stack has ended")
    return console, front_door, ministack


def _cpu_ms(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) * TICK_MS


def _megabytes(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text("utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@dataclass(frozen=True)
class _Sample:
    """After some seconds: resident memory of the three processes, and the events that all tabs have received."""

    seconds: float
    megabytes: Sequence[float]
    events: int


def _with_tabs(browser: Tabs, pids: Sequence[int], paths: Sequence[str], minutes: float) -> list[_Sample]:
    """Samples while a tab of each path is open. Raises RuntimeError if one of the streams ends."""
    ended, events = threading.Event(), Counter[str]()
    samples: list[_Sample] = []
    with ThreadPoolExecutor(len(paths)) as pool:
        tabs = [pool.submit(browser.open, path, events, ended) for path in paths]
        began = time.monotonic()
        try:
            while not samples or samples[-1].seconds < 60 * minutes:
                if samples:
                    for broken in wait(tabs, min(SAMPLE_SECONDS, 30 * minutes), FIRST_COMPLETED).done:
                        broken.result()
                samples.append(_Sample(time.monotonic() - began, [*map(_megabytes, pids)], events.total()))
        finally:
            ended.set()
    return samples


def _timings_table(timings: Sequence[_Timing]) -> Table:
    found = Table("screen", "first, ms", f"median of {REQUESTS}, ms", "most, ms", "CPU, ms")
    for each in timings:
        found.add_row(
            each.screen,
            *(f"{1000 * seconds:.0f}" for seconds in (each.first, each.median, max(each.seconds))),
            f"{each.cpu_ms:.0f}",
        )
    return found


def _samples_table(samples: Sequence[_Sample]) -> Table:
    found = Table("minutes", "console, MB", "front door, MB", "MiniStack, MB", "events")
    for each in samples:
        found.add_row(f"{each.seconds / 60:.1f}", *(f"{size:.1f}" for size in each.megabytes), f"{each.events}")
    return found


if __name__ == "__main__":
    main()
