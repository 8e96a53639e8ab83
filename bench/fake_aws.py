"""AWS as the benchmarks need it: an HTTP server in a process of its own that answers each call after a set time.

It keeps durable executions (checkpoints, state, waits), accepts every write to DynamoDB, answers Invoke of the enricher
with an enrichment of the order, and takes asynchronous starts. Headers and body are written at once: a server that
writes them separately adds 40 ms to a call, by Nagle's algorithm and delayed acknowledgements. The time of a call is
counted from its last byte. The selector is select(2), because the time-out of epoll is rounded up to milliseconds.

Calls to `/bench/…` control it, are not delayed and are not counted.

    python -m bench.fake_aws        prints the port; ends when its standard input is closed
"""

import asyncio
import json
import selectors
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from subprocess import PIPE, Popen
from typing import IO, Any, Final, cast
from urllib.parse import unquote

REGION: Final = "us-east-1"
ACCOUNT: Final = "123456789012"
ENRICHER_ARN: Final = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:orders-OrderEnricher"
ORCHESTRATOR_ARN: Final = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:orders-DurableOrderProcessor"
STACK_ID: Final = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/orders/0a1b2c3d"
_CHECKPOINT: Final = "/checkpoint"


@dataclass
class Execution:
    """A durable execution: its operations by their ids, in the order in which they began, and its checkpoint token."""

    arn: str
    payload: str
    operations: dict[str, dict[str, Any]] = field(default_factory=dict)
    token: int = 0

    def invocation(self) -> dict[str, Any]:
        """The event of the next invocation. Waits have ended."""
        for operation in self.operations.values():
            if operation["Type"] == "WAIT":
                operation |= {"Status": "SUCCEEDED", "EndTimestamp": time.time()}
        input_operation: dict[str, Any] = {"Id": self.arn.rpartition("/")[2], "Type": "EXECUTION", "Status": "STARTED"}
        input_operation |= {"StartTimestamp": time.time(), "ExecutionDetails": {"InputPayload": self.payload}}
        return {
            "DurableExecutionArn": self.arn,
            "CheckpointToken": str(self.token),
            "InitialExecutionState": {
                "Operations": [_with_ms(operation) for operation in (input_operation, *self.operations.values())],
                "NextMarker": "",
            },
        }

    def checkpoint(self, request: dict[str, Any]) -> dict[str, Any]:
        """Apply the updates. Returns the changed operations and the next token."""
        self.token += 1
        changed = [self._apply(update) for update in request.get("Updates", [])]
        return {"CheckpointToken": str(self.token), "NewExecutionState": {"Operations": changed}}

    def _apply(self, update: dict[str, Any]) -> dict[str, Any]:
        now = time.time()
        named = {name: update[name] for name in ("Id", "Name", "ParentId", "Type", "SubType") if name in update}
        operation = self.operations.setdefault(update["Id"], named | {"Status": "STARTED", "StartTimestamp": now})
        if update["Type"] == "STEP":
            operation.setdefault("StepDetails", {"Attempt": 1})
        if update["Type"] == "WAIT":
            ends = now + update["WaitOptions"]["WaitSeconds"]
            operation.setdefault("WaitDetails", {"ScheduledEndTimestamp": ends})
        if update["Action"] == "SUCCEED":
            operation |= {"Status": "SUCCEEDED", "EndTimestamp": now}
            operation["StepDetails"]["Result"] = update.get("Payload")
        return operation

    def metered(self) -> int:
        """The operations that AWS bills: the start, each step and each wait."""
        return 1 + len(self.operations)


def _with_ms(operation: dict[str, Any]) -> dict[str, Any]:
    """An operation as an invocation's event has it: times in milliseconds."""
    times = {name: int(value * 1000) for name, value in operation.items() if name.endswith("Timestamp")}
    wait = operation.get("WaitDetails")
    details = {"WaitDetails": {"ScheduledEndTimestamp": int(wait["ScheduledEndTimestamp"] * 1000)}} if wait else {}
    return operation | times | details


class FakeAws:
    """What the server keeps."""

    def __init__(self) -> None:
        self.delay_seconds = 0.0
        self.executions: dict[str, Execution] = {}
        self.counts: Counter[str] = Counter()
        self.starts_per_second = 0.0
        self._next_start = 0.0

    def control(self, action: str, body: Any) -> Any:
        """What the benchmarks ask for: `delay`, `quota`, `reset`, `counts`, `start`, `resume` and `metered`."""
        match action:
            case "delay":
                self.delay_seconds = body / 1000
            case "quota":
                self.starts_per_second = body
            case "reset":
                self.executions.clear()
                self.counts.clear()
            case "counts":
                return self.counts
            case "start":
                arn = f"{ORCHESTRATOR_ARN}:1/durable-execution/{body['name']}/{len(self.executions)}"
                self.executions[arn] = Execution(arn, body["payload"])
                return self.executions[arn].invocation()
            case "resume":
                return self.executions[body].invocation()
            case "metered":
                return self.executions[body].metered()
        return None

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], Any]:
        """The status, the headers and the JSON of the answer to a call of AWS."""
        if path.startswith("/2025-12-01/durable-executions/"):
            arn, _, action = unquote(path.removeprefix("/2025-12-01/durable-executions/")).rpartition("/")
            self._count("checkpoint" if f"/{action}" == _CHECKPOINT else "state", body)
            if method == "GET":
                return 200, {}, {"Operations": list(self.executions[arn].operations.values())}
            return 200, {}, self.executions[arn].checkpoint(json.loads(body))
        if path.startswith("/2015-03-31/functions/"):
            if headers.get("x-amz-invocation-type") == "Event":
                if self._is_throttled():
                    self._count("throttled", body)
                    return 429, {"X-Amzn-ErrorType": "TooManyRequestsException"}, {"Message": "Rate Exceeded."}
                self._count("start", body)
                name = headers.get("x-amz-durable-execution-name", "unnamed")
                return 202, {"X-Amz-Durable-Execution-Arn": f"{ORCHESTRATOR_ARN}:1/durable-execution/{name}/1"}, None
            self._count("enricher", body)
            return 200, {"X-Amz-Executed-Version": "$LATEST"}, enrichment(json.loads(body))
        self._count(headers.get("x-amz-target", "other").rpartition(".")[2], body)
        return 200, {}, {}

    def _is_throttled(self) -> bool:
        """Whether a start exceeds the quota, if there is one. The starts of a tenth of a second may come at once."""
        if not self.starts_per_second:
            return False
        now = time.monotonic()
        if self._next_start - now > 0.1:
            return True
        self._next_start = max(now, self._next_start) + 1 / self.starts_per_second
        return False

    def _count(self, call: str, body: bytes) -> None:
        self.counts[call] += 1
        self.counts[f"{call} bytes"] += len(body)


def enrichment(order: dict[str, Any]) -> dict[str, Any]:
    """An answer of the enricher, as long as a real one."""
    return {
        "statusCode": 200,
        "orderId": order["orderId"],
        "enrichedData": {
            "customerId": order.get("customerId", "CUST-00004"),
            "timestamp": "2026-11-26T23:12:25.612Z",
            "profile": {"kind": "CUSTOMER", "tier": "STANDARD", "customerSince": "1997-01-01"},
            "totals": {"lines": 1, "units": 1, "amount": "29.33", "currency": "USD"},
        },
    }


class _Connection(asyncio.Protocol):
    """One connection, which is kept open and whose calls come one after another."""

    def __init__(self, aws: FakeAws) -> None:
        self._aws = aws
        self._received = b""
        self._transport: asyncio.Transport
        self._counted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        arrived = asyncio.get_running_loop().time()
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            first, *lines = self._received[:end].decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            total = end + 4 + int(headers.get("content-length", 0))
            if len(self._received) < total:
                return
            body, self._received = self._received[end + 4 : total], self._received[total:]
            method, target, _ = first.split(" ")
            self._answer(arrived, method, target.partition("?")[0], headers, body)

    def _answer(self, arrived: float, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        if path.startswith("/bench/"):
            found = self._aws.control(path.removeprefix("/bench/"), json.loads(body or b"null"))
            self._transport.write(_response(200, {}, found))
            return
        if not self._counted:
            self._aws.counts["connections"] += 1
            self._counted = True
        response = _response(*self._aws.answer(method, path, headers, body))
        loop = asyncio.get_running_loop()
        loop.call_at(arrived + self._aws.delay_seconds, self._transport.write, response)


def _response(status: int, headers: dict[str, str], body: Any) -> bytes:
    content = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
    lines = [f"HTTP/1.1 {status} .", "Content-Type: application/json", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "x-amzn-RequestId: 0a1b2c3d", "", ""]).encode() + content


async def _serve() -> None:
    aws, loop = FakeAws(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(aws), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


@dataclass(frozen=True)
class Aws:
    """The server, as a benchmark sees it."""

    url: str

    def call(self, action: str, body: Any = None) -> Any:
        """Control the server."""
        request = urllib.request.Request(f"{self.url}/bench/{action}", json.dumps(body).encode())  # noqa: S310
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 (the loopback)
            return json.loads(response.read() or b"null")

    def environment(self) -> dict[str, str]:
        """The environment of a function that runs against the server."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "x" * 40,
            "AWS_SESSION_TOKEN": "x" * 400,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_LAMBDA_FUNCTION_NAME": "orders-DurableOrderProcessor",
            "AWS_LAMBDA_LOG_LEVEL": "INFO",
            "ENRICHER_ARN": ENRICHER_ARN,
            "ORCHESTRATOR_ARN": f"{ORCHESTRATOR_ARN}:prod",
            "STACK_ID": STACK_ID,
            "LEDGER_TABLE": "orders-Ledger",
            "CUSTOMERS_TABLE": "orders-Customers",
            "OPERATIONS_TABLE": "orders-Operations",
            "REJECTED_ORDERS_QUEUE_URL": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/orders-Rejected",
            "EVENT_BUS": "orders",
            "WAIT_SECONDS": "2",
            "EXECUTION_TIMEOUT_SECONDS": "900",
            "LEDGER_RETENTION_DAYS": "0",
            "ORDER_ID_PREFIX": "",
            "PUBLISHER_SOURCE": "uuid",
        }


@contextmanager
def fake_aws() -> Iterator[Aws]:
    """The server, in a process that ends with the block."""
    with Popen([sys.executable, "-m", "bench.fake_aws"], stdin=PIPE, stdout=PIPE, text=True) as server:
        port = cast("IO[str]", server.stdout).readline().strip()
        try:
            yield Aws(f"http://127.0.0.1:{port}")
        finally:
            cast("IO[str]", server.stdin).close()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        runner.run(_serve())
