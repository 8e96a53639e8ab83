"""P9, P10: write units and list price of an order without faults, ours and four others, for the same work.

The figures come from a real order's item (`samples/ledger_item.json`), DynamoDB's rules and the prices of
`tools/operations`. Inside: the parts of `docs/costs.md`, among them the queue, ingest, the enricher, the ledger with
its indexes, and the events. The orchestrators' times are this run's medians at 5 ms a call. Outside: what
`docs/costs.md` leaves out.

P9 compares with a ledger whose every transition is a transaction: an update of the order's item, which has an index by
state, and a second item for the history.

P10's others have our queue, ingest, enricher, ledger writes and events, at our price, and their own orchestration:

- Step Functions Standard, a state for each call, as its service integrations are meant to be used: claim (UpdateItem),
  enrich (Invoke), record (UpdateItem), wait, FINALIZING (UpdateItem), finalize (Invoke), COMPLETED (UpdateItem): 7
  states. Finalize is a function of 20 ms. And with the fewest states: a function that does what our step enrich does, a
  wait, and one that does our finalize: 3 states.
- Temporal Cloud, an action for each call: the start, claim, enrich, record, timer, FINALIZING, finalize, COMPLETED: 8
  actions. And with the fewest: the start, two activities, a timer: 4 actions. Their workers, the plan's minimum and
  storage are not counted, which favours Temporal.
- The naive peer (`bench/peers/naive`): 9 metered operations, its own time, its own ledger.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from bench.figures import Result, Row, Series
from shared.ledger.entry import LedgerEntry, state_shard
from shared.ledger.states import PATH, State
from tools.operations.costs import ASSUMED, DEFAULT, Charge, charges, cost, fields_size, units_of, write_units
from tools.operations.prices import MILLION, Meter

ITEM: Final = Path(__file__).parents[1] / "samples" / "ledger_item.json"

STATE_TRANSITION_USD: Final = 0.025 / 1000
"""https://aws.amazon.com/step-functions/pricing/, us-east-1. A transition is counted when a state is executed."""

ACTION_USD: Final = 50 / MILLION
"""https://docs.temporal.io/cloud/pricing, the first tier of actions; https://docs.temporal.io/cloud/actions counts."""

FINALIZE_MS: Final = 20


def measure(orchestrators: Mapping[str, float]) -> Result:
    """`orchestrators`: the medians of `bench.orchestrator` by the names of their series."""
    entry = LedgerEntry.of(json.loads(ITEM.read_text("utf-8")))
    units, transactions = write_units(entry), transaction_units(entry)
    ours, others = sum(units.values()), sum(transactions.values())
    usd = prices(entry, orchestrators)
    series = [Series(f"write units, {name}", "", count, count, 0, 1) for name, count in units.items()]
    series += [Series(f"write units, transactions, {name}", "", n, n, 0, 1) for name, n in transactions.items()]
    series += [Series(f"a million orders, {name}", "$", value, value, 0, 1) for name, value in usd.items()]
    rows = [
        Row.at_most(
            "P9",
            "write units of an order / transactions with an index by state",
            ours / others,
            0.5,
            note=f"{ours} against {others}",
        )
    ]
    for name, limit in {
        "Step Functions, 7 states": 0.3,
        "Step Functions, 3 states": 0.3,
        "Temporal Cloud, 8 actions": 0.4,
        "Temporal Cloud, 4 actions": 0.4,
        "naive peer": 0.5,
    }.items():
        other = usd.get(name)
        note = "not measured here" if other is None else f"${usd['ours']:.2f} against ${other:.2f} a million"
        rows.append(
            Row.at_most(
                f"P10 {name}",
                "list price of a million orders / theirs",
                other and usd["ours"] / other,
                limit,
                note=note,
            )
        )
    return Result(series, rows)


def transaction_units(entry: LedgerEntry) -> dict[str, int]:
    """The write units of the naive peer's transactions, of its table and its index."""
    item: dict[str, Any] = {"orderId": entry.order_id, "order": entry.order}
    table, before = 0, 0
    for state in PATH:
        item |= {"state": state, "stateShard": state_shard(state, entry.order_id), "updatedAt": entry.history[0].at}
        if state is State.ENRICHED:
            item["enrichment"] = entry.enrichment
        if state is State.COMPLETED:
            item |= dict(entry.result or {})
        step = {"orderId": f"{entry.order_id}#{state}", "state": state, "at": entry.history[0].at, "attempt": 1}
        after = fields_size(item)
        table += 2 * (units_of(max(before, after)) + units_of(fields_size(step)))
        before = after
    # The first write puts an item of the index; each other one deletes one and puts one.
    return {"table": table, "index": 2 * len(PATH) - 1}


def prices(entry: LedgerEntry, orchestrators: Mapping[str, float]) -> dict[str, float]:
    """US dollars for a million orders, by the name of the orchestration."""
    first, second = (orchestrators[f"orchestrator, {which} at 5 ms"] for which in ("first", "second"))
    assumed = replace(ASSUMED, first_invocation_ms=first, next_invocation_ms=second)
    ours = charges(entry, DEFAULT, assumed)
    orchestration = [charge for charge in ours if charge.part == "orchestrator"]
    shared = cost([charge for charge in ours if charge.part != "orchestrator"])
    functions = cost([charge for charge in orchestration if charge.meter not in _DURABLE])
    finalize = cost(
        [
            Charge("finalize", Meter.LAMBDA_REQUEST, 1),
            Charge("finalize", Meter.GB_SECOND_ARM, FINALIZE_MS / 1000),
            Charge("finalize", Meter.LOG_BYTES, ASSUMED.invocation_log_bytes + ASSUMED.next_invocation_log_bytes),
        ]
    )
    found = {
        "ours": cost(ours),
        "Step Functions, 7 states": shared + 7 * STATE_TRANSITION_USD + finalize,
        "Step Functions, 3 states": shared + 3 * STATE_TRANSITION_USD + functions,
        "Temporal Cloud, 8 actions": shared + 8 * ACTION_USD,
        "Temporal Cloud, 4 actions": shared + 4 * ACTION_USD,
    }
    if (naive := orchestrators.get("naive peer, both at 5 ms")) is not None:
        operations = orchestrators["naive peer, operations of an order"]
        changed = {
            Meter.OPERATION: operations,
            Meter.GB_SECOND_ARM: naive / 1000 * DEFAULT.memory_mb / 1024,
        }
        with_ledger = cost(
            [charge for charge in ours if charge.part.partition(",")[0] not in {"orchestrator", "ledger"}]
        )
        writes = cost([Charge("ledger", Meter.WRITE_UNIT, sum(transaction_units(entry).values()))])
        theirs = [replaced(charge, changed) for charge in orchestration]
        found["naive peer"] = with_ledger + writes + cost(theirs)
    return {name: usd * MILLION for name, usd in found.items()}


_DURABLE: Final = {Meter.OPERATION, Meter.DURABLE_BYTES, Meter.DURABLE_BYTE_MONTHS}


def replaced(charge: Charge, quantities: Mapping[Meter, float]) -> Charge:
    """The charge with another quantity, if there is one for its meter."""
    return charge._replace(quantity=quantities.get(charge.meter, charge.quantity))
