"""P1, P2, P8: the orchestrator's two invocations of an order, against the Node.js peer and the naive Python peer.

Inside: the handler from its call to its return, in a warm process, with all that it does: the durable SDK, the ledger,
the enricher's call, log lines, and the connections' HTTP. Both invocations of an order are added. Outside: Lambda's own
time, the start of the process, the wait, and TLS, which a call of AWS also has.

Each run is another order of samples/, run by every variant in turn. The first orders of a process are not counted.
"""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from bench.fake_aws import Aws, fake_aws
from bench.figures import Result, Row, Series
from bench.orders import bodies
from bench.processes import Function, Worker, started

RUNS: Final = 60
WARM_UP: Final = 15
DELAYS_MS: Final = (5, 20)
ROUND_TRIPS: Final = 8
"""What the handler made when the target was set: four updates of the ledger, the enricher, three checkpoints."""

OURS, NODE, NAIVE = "orchestrator", "Node.js peer", "naive peer"
_COUNTED: Final = ("operations", "checkpoint", "checkpoint bytes", "invocations")


def measure(functions: Sequence[Function], runs: int = RUNS, warm_up: int = WARM_UP) -> Result:
    """Run orders on every function, at each delay."""
    times: dict[tuple[str, int, str], list[float]] = defaultdict(list)
    counted: dict[str, dict[str, float]] = {}
    with fake_aws() as aws, ExitStack() as stack:
        workers = {
            function.name: stack.enter_context(started(function, aws.environment()))[0] for function in functions
        }
        for delay in DELAYS_MS:
            aws.call("delay", delay)
            for number, body in enumerate(bodies(runs + warm_up)):
                for name, worker in workers.items():
                    aws.call("reset")
                    first, second, cpu, operations = _order(aws, worker, number, body)
                    if number < warm_up:
                        continue
                    counts = aws.call("counts")
                    counted[name] = {"operations": operations, "invocations": 2, **counts}
                    for what, value in (("first", first), ("second", second), ("both", first + second), ("cpu", cpu)):
                        times[name, delay, what].append(value)
    series = [Series.of(f"{name}, {what} at {delay} ms", "ms", values) for (name, delay, what), values in times.items()]
    series += [
        Series(f"{name}, {what} of an order", "", counts.get(what, 0), counts.get(what, 0), 0, 1)
        for name, counts in counted.items()
        for what in _COUNTED
    ]
    return Result(series, _rows({s.name: s.median for s in series}))


def _order(aws: Aws, worker: Worker, number: int, body: str) -> tuple[float, float, float, int]:
    """Run an order to its end. The milliseconds of both invocations, their CPU milliseconds, metered operations."""
    event = aws.call("start", {"name": f"order-{number}", "payload": body})
    first = worker.run(event)
    if first.returned["Status"] != "PENDING":
        raise RuntimeError(f"the order did not wait: {first.returned}")
    second = worker.run(aws.call("resume", event["DurableExecutionArn"]))
    if second.returned["Status"] != "SUCCEEDED" or '"success": true' not in second.returned["Result"].replace(
        '"success":true', '"success": true'
    ):
        raise RuntimeError(f"the order did not complete: {second.returned}")
    operations = aws.call("metered", event["DurableExecutionArn"])
    return first.ms, second.ms, first.cpu_ms + second.cpu_ms, operations


def _rows(found: dict[str, float]) -> list[Row]:
    ours, node = found[f"{OURS}, both at 5 ms"], found.get(f"{NODE}, both at 5 ms")
    note = "no Node.js on this machine" if node is None else f"{ours:.1f} ms against {node:.1f} ms"
    rows = [Row.at_most("P1", "two invocations at 5 ms / Node.js peer", node and ours / node, 0.9, note=note)]
    for delay, limit in zip(DELAYS_MS, (1.8, 1.25), strict=True):
        both = found[f"{OURS}, both at {delay} ms"]
        rows.append(
            Row.at_most(
                f"P2 at {delay} ms",
                "two invocations / eight round trips",
                both / (ROUND_TRIPS * delay),
                limit,
                note=f"{both:.1f} ms against {ROUND_TRIPS * delay} ms",
            )
        )
    counts = {what: found[f"{OURS}, {what} of an order"] for what in _COUNTED}
    peer_bytes = found.get(f"{NODE}, checkpoint bytes of an order")
    return [
        *rows,
        Row.at_most("P8 operations", "metered operations of an order", counts["operations"], 4, unit=""),
        Row.at_most("P8 calls", "checkpoint calls of an order", counts["checkpoint"], 3, unit=""),
        Row.at_most(
            "P8 bytes",
            "bytes of checkpoint calls / Node.js peer",
            peer_bytes and counts["checkpoint bytes"] / peer_bytes,
            1,
            note=note if peer_bytes is None else f"{counts['checkpoint bytes']:.0f} against {peer_bytes:.0f}",
        ),
        Row.at_most("P8 invocations", "invocations of an order", counts["invocations"], 2, unit=""),
    ]
