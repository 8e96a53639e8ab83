"""Prints how ingest fares at the quota of starts: a full queue, an endpoint that throttles, a maximum concurrency.

    .venv/bin/python -m bench.back_pressure PYTHON        PYTHON is a Python 3.13; after `make bench`

The endpoint takes 25 ms for a call and 300 starts a second, and refuses the others with 429. As many processes as the
event source mapping's maximum concurrency take batches of 10, one after another, for some seconds. A message that is
given back has used one of its ten receives. Inside: botocore's retries of a throttled start. Outside: SQS.
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Final

from rich.console import Console
from rich.table import Table

from bench.fake_aws import fake_aws
from bench.orders import batch
from bench.processes import WORK, Worker, python_function, started

SECONDS: Final = 10
STARTS_PER_SECOND: Final = 300
CONCURRENCIES: Final = (1, 2, 3, 5, 10)


def main() -> None:
    """Print a row for each concurrency."""
    ingest = python_function(sys.argv[1], WORK / "unpacked", "ingest.handler")
    table = Table("concurrency", "starts a second", "refused calls", "messages given back", "share of the messages")
    for concurrency in CONCURRENCIES:
        with fake_aws() as aws, ExitStack() as stack:
            aws.call("delay", 25)
            aws.call("quota", STARTS_PER_SECOND)
            workers = [stack.enter_context(started(ingest, aws.environment()))[0] for _ in range(concurrency)]
            for worker in workers:
                worker.run(batch(10))
            aws.call("reset")
            began = time.monotonic()
            with ThreadPoolExecutor(concurrency) as pool:
                taken, returned = map(sum, zip(*pool.map(_work, workers), strict=True))
            elapsed = time.monotonic() - began
            counts = aws.call("counts")
        starts, refused = counts.get("start", 0), counts.get("throttled", 0)
        table.add_row(
            str(concurrency), f"{starts / elapsed:.0f}", f"{refused:,}", f"{returned:,}", f"{returned / taken:.1%}"
        )
    Console().print(table)


def _work(worker: Worker) -> tuple[int, int]:
    """Take batches until the time is over. How many messages were taken, and how many were given back."""
    ends, taken, returned = time.monotonic() + SECONDS, 0, 0
    while time.monotonic() < ends:
        returned += len(worker.run(batch(10)).returned["batchItemFailures"])
        taken += 10
    return taken, returned


if __name__ == "__main__":
    main()
