"""Prints what a number of orders a second uses, against AWS's default quotas and by the cost model.

    .venv/bin/python -m bench.scaling

For an order without faults, from the item of a real one (`samples/ledger_item.json`), with full batches. Quotas are
those of us-east-1; docs/scaling.md has their sources. `simulated_partitions` counts how unevenly random orders load the
index's partitions, which no formula of the mean says.
"""

import json
import random
from collections import Counter
from dataclasses import replace
from statistics import mean
from typing import Final

from rich.console import Console
from rich.table import Table

from bench.costs import ITEM
from shared.ledger.entry import SHARDS, LedgerEntry, state_shard
from shared.ledger.states import State
from tools.operations.costs import ASSUMED, DEFAULT, charges, cost, write_units
from tools.operations.prices import MILLION, Meter

RATES: Final = (10, 300, 3_000, 30_000)
ORDERS_PER_MONTH: Final = 30 * 24 * 3600
BATCH: Final = 10
"""Messages of a batch, and records of a batch of the stream, at such rates."""

QUOTAS: Final = {
    "starts of executions a second": 300,
    "checkpoint calls a second": 20_000,
    "running executions, wait of 2 s": 10_000_000,
    "concurrent executions of functions": 1_000,
    "write units a second of the table, and of an index": 40_000,
    "write units a second of the busiest index key": 1_000,
    "calls of PutEvents a second": 10_000,
    "log data, MB a second": None,
}


def used(rate: int, entry: LedgerEntry) -> dict[str, float]:
    """What this number of orders a second uses of each quota."""
    assumed = replace(ASSUMED, messages_in_batch=BATCH, records_in_batch=BATCH)
    found = charges(entry, DEFAULT, assumed)
    busy_ms = (
        assumed.ingest_ms / BATCH
        + assumed.first_invocation_ms
        + assumed.next_invocation_ms
        + assumed.enricher_ms
        + assumed.publisher_ms * 4 / BATCH
    )
    units = write_units(entry)
    return {
        "starts of executions a second": rate,
        "checkpoint calls a second": 3 * rate,
        "running executions, wait of 2 s": rate * 2.3,
        "concurrent executions of functions": rate * busy_ms / 1000,
        "write units a second of the table, and of an index": rate * max(units.values()),
        "write units a second of the busiest index key": rate * busiest_key(),
        "calls of PutEvents a second": rate * len(entry.history) / BATCH,
        "log data, MB a second": rate * sum(c.quantity for c in found if c.meter is Meter.LOG_BYTES) / 1e6,
    }


def busiest_key() -> float:
    """The write units of an order at the busiest key of an index: a state and one of its shards.

    An order's item enters an index under a state and leaves it at the next write: two writes of a unit. COMPLETED it
    only enters.
    """
    return 2 * simulated_partitions() / SHARDS


def simulated_partitions(orders: int = 20_000, seed: int = 1) -> float:
    """How much more than the mean the busiest shard of a state gets, of random orders in a second of 3,000."""
    chosen = random.Random(seed)  # noqa: S311 (a simulation)
    worst = []
    for _ in range(max(1, orders // 3_000)):
        ids = (f"ORDER-{chosen.randrange(10**9)}" for _ in range(3_000))
        shards = Counter(state_shard(State.WAITING, order_id) for order_id in ids)
        worst.append(max(shards.values()) / (3_000 / SHARDS))
    return mean(worst)


def main() -> None:
    """Print the table."""
    entry = LedgerEntry.of(json.loads(ITEM.read_text("utf-8")))
    console = Console(width=120)
    table = Table("per second", "default quota", *(f"{rate:,} orders" for rate in RATES))
    for name, quota in QUOTAS.items():
        values = [used(rate, entry)[name] for rate in RATES]
        cells = [f"[red]{value:,.1f}[/]" if quota and value > quota else f"{value:,.1f}" for value in values]
        table.add_row(name, "-" if quota is None else f"{quota:,}", *cells)
    assumed = replace(ASSUMED, messages_in_batch=BATCH, records_in_batch=BATCH)
    order = cost(charges(entry, DEFAULT, assumed))
    table.add_row("US dollars a month", "-", *(f"{order * rate * ORDERS_PER_MONTH:,.0f}" for rate in RATES))
    console.print(table)
    console.print(f"a million orders cost ${order * MILLION:.2f}")
    console.print(f"the busiest shard of a state gets {simulated_partitions():.2f} times the mean")


if __name__ == "__main__":
    main()
