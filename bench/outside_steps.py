"""P13: the time that an execution spends outside its steps, on the local stack and on the testing SDK's own runners.

    python -m bench.outside_steps       measures and prints it alone

timed/timed.py has two steps, a wait of one second, and a third step. Its steps read the clock and do nothing else. An
execution gives three times: `start`, from the caller's request to the first step; `step`, from the end of the first
step to the begin of the second; `resume`, from the end of the second step to the begin of the third, less the second
of the wait.

Inside the figures: all between these moments. So the request that starts the execution, the SDK in the handler, the
checkpoints, the end of the first invocation, and the second one with its replay. Outside: the deployment, the start of
processes (the first round is not counted), and the answer to the caller.

The local stack runs an invocation in a worker process, by HTTP from the front door to MiniStack, and each checkpoint is
an HTTP request of boto3 to the front door. The testing SDK has two runners. Both run here with their defaults:

- the server, `dex-local-runner`. The handler is in a process of its own, behind peers/lambda_endpoint.py, and each
  checkpoint is an HTTP request of boto3. That is the same work, but for an endpoint that has nothing else of Lambda.
- `DurableFunctionTestRunner`, in this process and in real time. An invocation and a checkpoint are function calls: no
  HTTP, no second process, no boto3. That is less work; a figure against it says what those cost. It runs one at a time.

One at a time: an execution starts every 230 ms, so others wait while one works. Eight at once: eight threads start one
each. The runners take turns, in seven rounds. A row holds if p50, p95 and p99 do.
"""

import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from statistics import quantiles
from subprocess import DEVNULL, PIPE, Popen
from typing import IO, Any, Final, NamedTuple, Protocol, cast
from urllib.parse import quote

import urllib3
from aws_durable_execution_sdk_python_testing import DurableFunctionTestRunner
from rich import print as show

from bench.commands import free_port
from bench.figures import Result, Row, Series
from bench.timed import timed
from durable_local.ministack.child import AUTHORIZATION
from durable_local.settings import ACCOUNT, HOST, REGION
from tools.pipeline import SETTINGS, local_stack

FOLDER: Final = Path(__file__).parent
ROUNDS: Final = 7
ALONE: Final = 15
"""Executions of a round, one at a time."""
INTERVAL_SECONDS: Final = 0.23
AT_ONCE: Final = 8
BATCHES: Final = 2
"""Of eight, in a round."""
POLL_SECONDS: Final = 0.05
TIMEOUT_SECONDS: Final = 60
PERCENTILES: Final = (50, 95, 99)
START: Final = {
    "AccountId": ACCOUNT,
    "FunctionName": "timed",
    "FunctionQualifier": "$LATEST",
    "ExecutionTimeoutSeconds": 300,
    "ExecutionRetentionPeriodDays": 1,
    "Input": "{}",
}
"""What dex-local-runner needs to start an execution."""
ONE, EIGHT = "one at a time", "eight at once"
LOCAL, SERVER, IN_PROCESS = "local stack", "dex-local-runner", "in process"


class Outside(NamedTuple):
    """The milliseconds of one execution outside its steps."""

    start: float
    step: float
    resume: float

    @classmethod
    def of(cls, requested: float, steps: Sequence[Sequence[float]]) -> "Outside":
        """From the time of the request, and the begin and end of each step, in seconds."""
        first, second, third = steps
        waited = third[0] - second[1] - timed.WAIT_SECONDS
        return cls((first[0] - requested) * 1000, (second[0] - first[1]) * 1000, waited * 1000)


class Runner(Protocol):
    """Runs executions of timed.py."""

    def start(self) -> str:
        """Start one. Its ARN."""

    def steps(self, arn: str) -> list[list[float]] | None:
        """What it returned, or None while it runs. Raises RuntimeError if it failed."""


@dataclass(frozen=True)
class OverHttp:
    """A runner that starts an execution at a POST, and has Lambda's GetDurableExecution."""

    connections: urllib3.HTTPConnectionPool
    path: str
    body: Mapping[str, Any]

    def start(self) -> str:
        """The ARN is in a header, as Lambda's, or in the body."""
        body = {**self.body, "ExecutionName": str(time.time_ns())}  # the handler does not read it
        answer = self.connections.request("POST", self.path, body=json.dumps(body))
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise RuntimeError(f"the execution did not start: {answer.data!r}")
        return answer.headers.get("X-Amz-Durable-Execution-Arn") or cast("str", answer.json()["ExecutionArn"])

    def steps(self, arn: str) -> list[list[float]] | None:
        """Asked of GetDurableExecution."""
        found = self.connections.request("GET", f"/2025-12-01/durable-executions/{quote(arn, safe='')}").json()
        if found["Status"] == "RUNNING":
            return None
        if found["Status"] != "SUCCEEDED":
            raise RuntimeError(f"the execution failed: {found}")
        return cast("list[list[float]]", json.loads(found["Result"]))


@dataclass(frozen=True)
class InProcess:
    """The runner in this process."""

    runner: DurableFunctionTestRunner

    def start(self) -> str:
        """A function call."""
        return self.runner.run_async(input="{}", execution_name=str(time.time_ns()))

    def steps(self, arn: str) -> list[list[float]] | None:
        """Blocks until the end."""
        ended = self.runner.wait_for_result(arn, TIMEOUT_SECONDS)
        if ended.result is None:
            raise RuntimeError(f"the execution failed: {ended.error}")
        return cast("list[list[float]]", json.loads(ended.result))


def measure() -> Result:
    """Run executions on each runner in turn."""
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    with _local() as local, _server() as server, DurableFunctionTestRunner(timed.handler, skip_time=False) as runner:
        runners: dict[str, Runner] = {LOCAL: local, SERVER: server, IN_PROCESS: InProcess(runner)}
        for number in range(ROUNDS + 1):
            for name, each in runners.items():
                ran = {ONE: _run(each, 1, ALONE, INTERVAL_SECONDS)}
                if name != IN_PROCESS:
                    ran[EIGHT] = [outside for _ in range(BATCHES) for outside in _run(each, AT_ONCE, AT_ONCE, 0)]
                for load, executions in ran.items() if number else ():
                    for outside in executions:
                        for gap, ms in outside._asdict().items():
                            found[load, gap, name].append(ms)
    series = [Series.of(f"{name}, {gap}, {load}", "ms", values) for (load, gap, name), values in found.items()]
    return Result(
        series,
        [
            _row(load, gap, peer, found[load, gap, LOCAL], found[load, gap, peer])
            for load, peer in ((ONE, SERVER), (EIGHT, SERVER), (ONE, IN_PROCESS))
            for gap in Outside._fields
        ],
    )


def _run(runner: Runner, threads: int, executions: int, interval: float) -> list[Outside]:
    """Start executions, and wait for all of them."""

    def start(_: int) -> tuple[float, str]:
        time.sleep(interval)
        requested = time.time()
        return requested, runner.start()

    with ThreadPoolExecutor(threads) as pool:
        started = list(pool.map(start, range(executions)))
    time.sleep(timed.WAIT_SECONDS)
    return [Outside.of(requested, _steps(runner, arn)) for requested, arn in started]


def _steps(runner: Runner, arn: str) -> list[list[float]]:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while (steps := runner.steps(arn)) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{arn} did not end")
        time.sleep(POLL_SECONDS)
    return steps


def _row(load: str, gap: str, peer: str, ours: Sequence[float], theirs: Sequence[float]) -> Row:
    """The largest of the ratios of the percentiles."""
    our, their = _percentiles(ours), _percentiles(theirs)
    shown = [" / ".join(f"{ms:.1f}" for ms in each) for each in (our, their)]
    return Row.at_most(
        f"P13 {gap}",
        f"time outside steps, {load} / {peer}, most of p50, p95, p99",
        max(mine / its for mine, its in zip(our, their, strict=True)),
        1,
        note=f"{shown[0]} ms against {shown[1]} ms",
    )


def _percentiles(values: Sequence[float]) -> list[float]:
    cut = quantiles(values, n=100, method="inclusive")
    return [cut[percentile - 1] for percentile in PERCENTILES]


@contextmanager
def _local() -> Iterator[OverHttp]:
    with local_stack(template=FOLDER / "timed" / "template.yaml", stack_name="timed", concurrency=AT_ONCE) as stack:
        key = stack.credentials.access_key_id
        yield OverHttp(
            urllib3.HTTPConnectionPool(
                HOST,
                stack.settings.port,
                maxsize=AT_ONCE,
                headers={
                    "Authorization": AUTHORIZATION.format(key=key, region=REGION, service="lambda"),
                    "X-Amz-Invocation-Type": "Event",
                },
            ),
            f"/2015-03-31/functions/{stack.physical_name('Timed')}/invocations?Qualifier=prod",
            {},
        )


@contextmanager
def _server() -> Iterator[OverHttp]:
    """The testing SDK's server, and the handler in the environment that the functions have on the local stack."""
    port, health = free_port(), "/health"
    connections = urllib3.HTTPConnectionPool(HOST, port, maxsize=AT_ONCE)
    settings = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(FOLDER / "timed"),
        "AWS_ENDPOINT_URL": f"http://{HOST}:{port}",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "made-up",
        "AWS_SECRET_ACCESS_KEY": "made-up",
    }
    endpoint = [str(SETTINGS.functions_python), str(FOLDER / "peers" / "lambda_endpoint.py"), "timed.handler"]
    runner = [str(Path(sys.executable).with_name(SERVER)), "start-server", "--host", HOST, "--port", str(port)]
    runner += ["--log-level", "WARNING", "--local-runner-region", REGION]
    with Popen(endpoint, stdin=PIPE, stdout=PIPE, text=True, env=settings) as handler:
        invoked = f"http://{HOST}:{cast('IO[str]', handler.stdout).readline().strip()}"
        with Popen([*runner, "--lambda-endpoint", invoked], env=settings, stdout=DEVNULL, stderr=DEVNULL) as server:
            try:
                connections.request("GET", health, retries=urllib3.Retry(connect=50, backoff_factor=0.1, backoff_max=1))
                yield OverHttp(connections, "/start-durable-execution", START)
            finally:
                server.terminate()
                cast("IO[str]", handler.stdin).close()


if __name__ == "__main__":
    for row in measure().rows:
        show(f"{row.id}, {row.figure}: {row.value:.2f} ({row.note})")
