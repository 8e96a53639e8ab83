"""P5, P6, P7: ingest's time for a batch, its connections, and its CPU per message.

P5: the handler's time for a batch of 10 and of 100 messages, against one start of an execution (read the order, call
Lambda), when each call takes 25 ms. P6: the connections that 1,000 starts in batches of 100 open, in a new process.
P7: CPU time per message of a batch of 100 when starts return at once, against `json.loads` and the model's validation
of the same messages. Inside P7: the batch processor, its threads, the canonical form, and the log line of each message.

Outside all: the start of the process, SQS, and TLS.
"""

from collections import defaultdict
from pathlib import Path
from typing import Final

from bench.fake_aws import fake_aws
from bench.figures import Result, Row, Series
from bench.orders import batch
from bench.processes import python_function, started

RUNS: Final = 21
WARM_UP: Final = 4
DELAY_MS: Final = 25
THREADS: Final = 32
"""`ingest.batch.MAX_THREADS`, as the orders' batches of 100 use them."""


def measure(python: str, bundle: Path, runs: int = RUNS) -> Result:
    """Run batches on the bundle's ingest."""
    ingest, one, parts = (
        python_function(python, bundle, module) for module in ("ingest.handler", "one_start", "without_starts")
    )
    parse = python_function(python, bundle, "parse_only")
    ten, hundred = batch(10), batch(100)
    ms: dict[str, list[float]] = defaultdict(list)
    with fake_aws() as aws:
        settings = aws.environment()
        aws.call("delay", DELAY_MS)
        with started(ingest, settings) as (worker, _), started(one, settings) as (single, _):
            for number in range(runs + WARM_UP):
                for name, (process, event) in {
                    "one start": (single, ten),
                    "batch of 10": (worker, ten),
                    "batch of 100": (worker, hundred),
                }.items():
                    ran = process.run(event)
                    if isinstance(ran.returned, dict) and ran.returned["batchItemFailures"]:
                        raise RuntimeError("ingest gave messages back")
                    if number >= WARM_UP:
                        ms[name].append(ran.ms)
        aws.call("delay", 5)
        aws.call("reset")
        with started(ingest, settings) as (worker, _):
            for _ in range(10):
                worker.run(hundred)
            counts = aws.call("counts")
        cpu: dict[str, list[float]] = defaultdict(list)
        with started(parts, settings) as (worker, _), started(parse, settings) as (parser, _):
            for number in range(runs + WARM_UP):
                for name, process in {"ingest": worker, "parse": parser}.items():
                    ran = process.run(hundred)
                    if number >= WARM_UP:
                        cpu[name].append(ran.cpu_ms * 10)
    series = [Series.of(f"ingest, {name}", "ms", values) for name, values in ms.items()]
    series += [Series.of(f"{name}, CPU per message", "µs", values) for name, values in cpu.items()]
    found = {s.name: s.median for s in series}
    one_ms = found["ingest, one start"]
    per_message, parsing = found["ingest, CPU per message"], found["parse, CPU per message"]
    return Result(
        series,
        [
            *(
                Row.at_most(
                    f"P5 of {size}",
                    f"ingest of {size} messages / one start, at {DELAY_MS} ms",
                    found[f"ingest, batch of {size}"] / one_ms,
                    limit,
                    note=f"{found[f'ingest, batch of {size}']:.1f} ms against {one_ms:.1f} ms",
                )
                for size, limit in ((10, 1.6), (100, 8))
            ),
            Row.at_most(
                "P6",
                f"connections opened by {counts['start']:,} starts",
                counts["connections"],
                THREADS,
                unit="(threads)",
            ),
            Row.at_most(
                "P7",
                "CPU per message beyond the start / json.loads and validation",
                per_message / parsing,
                3,
                note=f"{per_message:.0f} µs against {parsing:.0f} µs",
            ),
        ],
    )
