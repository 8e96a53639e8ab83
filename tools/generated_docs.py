"""The pages under docs/ that are generated from the code: `python -m tools.generated_docs` writes them again."""

import io
import json
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from dataclasses import fields
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from shared.ledger.entry import LedgerEntry
from shared.ledger.states import MEANINGS, RETRYABLE, TERMINAL, TRANSITIONS, State
from shared.orders.order import Order
from tools.operations.costs import DEFAULT, Assumptions, charges, cost, item_sizes, write_units
from tools.operations.prices import MILLION, PRICES, REGION
from tools.orders_cli.app import COMMANDS, run

DOCS: Final = Path(__file__).resolve().parents[1] / "docs"

_INTRODUCTION: Final = """\
# The states of an order

`make docs` generates this page from `src/shared/ledger/states.py`. The ledger's conditions use the same table.

Each state is stored with its time and its attempt when the order enters it. It is never removed: an order's history
only grows. An order that is FAILED, TIMED_OUT or STOPPED can be retried. The retry begins at RECEIVED as a new attempt
under a new execution name.

One more transition is possible, from CANCELLED to RECEIVED: only after someone put an older version of an item back,
and only if the order's execution succeeded. The settlement then writes the whole attempt after the cancel
([ADR 14](adr/0014-a-success-is-settled-from-its-result.md)).
"""

_CLI_INTRODUCTION: Final = """\
# The command `orders`

`orders` reads a deployed pipeline and acts on it. In a clone it is `.venv/bin/orders`. It works on the stack `orders`
of the AWS settings in the environment. After `make up`, `source .local/env` sets them to the local stack. On AWS, the
role needs the stack's managed policy `OrdersOperatorPolicy`.

{tasks}

The exit status is 0 when the command did it, 1 when it failed, 2 for wrong usage and 130 after Ctrl-C. Most commands
print JSON with `--json`. All have these options:

```text
{connection}
```

`make docs` generates this page from the help of each command.
"""

TASKS: Final = {
    "Send orders and follow them": ("send", "invoke", "watch", "list", "get", "history", "stats"),
    "Find out what is wrong": ("doctor", "stuck", "why", "failures", "versions"),
    "Act on one order or on many": ("retry", "cancel", "pause", "resume", "jobs", "forget"),
    "Look at messages that did not become orders": ("rejected", "dlq"),
    "Repair the ledger": ("sweep", "check", "recover", "copy-back"),
    "See and do it in a browser": ("console",),
}
"""The commands by what they are for."""

_CONNECTION: Final = re.compile(r"\n╭─ Connection ─+╮\n[^╰]*╰─+╯")
"""The part of a command's help that all have. The page shows it once."""

EXAMPLE: Final = DOCS.parent / "samples" / "ledger_item.json"
"""The item of an order of `samples/cdnow_orders.jsonl` after its end on the local stack, as DynamoDB stores it."""

_COSTS_INTRODUCTION: Final = """\
# What an order costs

`make docs` generates this page from `tools/operations/prices.py` and `tools/operations/costs.py`. `orders get` shows
the cost of one order, and `orders stats` that of an order on average. Both are **estimates at list price**: they count
what an order causes by its entry in the ledger, and multiply it by the prices below. No bill has been compared with
them, because the pipeline has not run on AWS yet.
"""

_PRICES: Final = """\
## Prices

All prices are in US dollars, for the Region {region} and the first tier of volume, without free tiers, discounts and
taxes. The estimate of a stack in another Region has these prices too. AWS's pages fill in most prices by a script, so
they could be verified only as the last column says. Its date is that of the source, or the day on which a price was
noted that has none. Compare a price with AWS's page before you rely on it.
"""

_COUNTS: Final = """\
## What is counted

- **queue**: the send of the message, and its share of a receive and a delete. Only the first attempt of an order comes
  from the queue; an operator starts the others.
- **ingest, enricher, publisher**: the requests, compute and log lines of their invocations; the enricher's read of the
  customer; an event for each transition.
- **orchestrator**: the same, and the metered operations: the start, each try of a step, each wait. Its data is the
  order, the results of the steps and the response, written once and kept for `RetentionDays`.
- **ledger**: the write units of the table and of each index, by
  [DynamoDB's rules](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html)
  from the sizes of the item after each write. A write costs a unit for each started KB of the larger of the item before
  and after it. In an index a new key costs a delete and a put.
- **reconciler**: the status change of an attempt that ended without success: three requests to its queue, an
  invocation, and a read.

An order's entry does not say everything. So the estimate does not have: writes and calls that were repeated after a
crash; messages that were given back, rejected or sent twice; tries of finalize, and of enrich in an attempt before the
last; the former body and error of an order that was retried; what `orders forget` removed.

It also leaves out what does not depend on one order: storage and backups of the tables, storage of logs, metrics,
alarms, the dashboard, polls of empty queues, the sweep, cold starts, `orders` itself, and what is done with the events.
"""

_ASSUMPTIONS: Final = """\
## What is assumed

The ledger does not record these. They are the fields of `Assumptions` in `tools/operations/costs.py`. `orders stats`
replaces the times by the means of the metric `Duration` in CloudWatch, if it has them.
"""

_EXAMPLE: Final = """\
## An example

`samples/ledger_item.json` is the item of a real order (`samples/README.md`) that met no fault. Functions have
{memory} MB on {architecture}, and executions are kept for {days} days. After its writes the item has {sizes} bytes.
The ledger needs {units} write units.
"""


def order_schema() -> str:
    """`order.schema.json`: what a producer may send, as JSON Schema.

    It accepts what the parser accepts, except for what no schema can say: the fraction digits of a price that is a
    number (`multipleOf` divides in binary and would refuse 29.33), the size of the whole order, and keys given twice.
    """
    schema: dict[str, Any] = Order.model_json_schema(by_alias=True, mode="validation")
    for model in (schema, *schema["$defs"].values()):
        for field in model["properties"].values():
            del field["title"]  # generated by pydantic from the field's name
            if "patternProperties" in field:
                field["additionalProperties"] = False  # pydantic does not say that other names are refused
            if "default" in field and isinstance(field.get("type"), str):
                field["type"] = [field["type"], "null"]  # null means unset
    schema |= {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Order"}
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def states_page() -> str:
    """`states.md`: the states and their transitions as a diagram and as a table."""
    return "\n".join([_INTRODUCTION, "```mermaid", *_diagram(), "```", "", *_table(), ""])


def cli_page() -> str:
    """`cli.md`: the help of `orders` and of each of its commands, on a terminal of 80 columns."""
    helps = {name: _help(name) for name in COMMANDS}
    connection = re.search(_CONNECTION, helps["list"])
    assert connection is not None  # noqa: S101 (the list has a connection)
    rows = [(task, ", ".join(f"[{name}](#orders-{name})" for name in names)) for task, names in TASKS.items()]
    introduction = _CLI_INTRODUCTION.format(
        connection=connection[0].strip(), tasks=_markdown(("to", "use"), rows).strip()
    )
    sections = [f"## orders {name}\n\n```text\n{re.sub(_CONNECTION, '', text)}\n```\n" for name, text in helps.items()]
    return "\n".join([introduction, f"```text\n{_help()}\n```\n", *sections])


def costs_page() -> str:
    """`costs.md`: the prices, what is counted and assumed, and what one real order costs."""
    prices = [
        (
            meter,
            f"${price.usd:.10f}".rstrip("0").rstrip("."),
            price.unit,
            REGION,
            price.date,
            f"[page]({price.page})",
            price.verified,
        )
        for meter, price in PRICES.items()
    ]
    assumptions = [(f"`{one.name}`", f"{one.default:g}", one.metadata["why"]) for one in fields(Assumptions)]
    entry = LedgerEntry.of(json.loads(EXAMPLE.read_text(encoding="utf-8")))
    used = charges(entry)
    rows = [(one.part, one.meter, f"{one.quantity:,.4g}", f"{one.usd * MILLION:.2f}") for one in used]
    sizes = item_sizes(entry)
    example = _EXAMPLE.format(
        memory=DEFAULT.memory_mb,
        architecture=DEFAULT.architecture,
        days=DEFAULT.retention_days,
        sizes=", ".join(f"{size:,}" for size in sizes),
        units=" + ".join(f"{units} ({name})" for name, units in write_units(entry).items()),
    )
    return "\n".join(
        [
            _COSTS_INTRODUCTION,
            _PRICES.format(region=REGION),
            _markdown(("", "price", "for one", "Region", "as of", "AWS's page", "verified"), prices),
            _COUNTS,
            _ASSUMPTIONS,
            _markdown(("assumption", "value", "from"), assumptions),
            example,
            _markdown(
                ("part", "", "for one order", "$ for a million orders"),
                [*rows, ("**total**", "", "", f"**{cost(used) * MILLION:.2f}**")],
            ).rstrip("\n"),
            "",
        ]
    )


def _markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    header, *lines = (f"| {' | '.join(row)} |" for row in (columns, *rows))
    return "\n".join([header, "|---" * len(columns) + "|", *lines, ""])


def _help(*command: str) -> str:
    """What `--help` prints, without spaces at the ends of lines."""
    printed = io.StringIO()
    with redirect_stdout(printed), patch.dict(os.environ, {"COLUMNS": "80"}):
        run([*command, "--help"])
    return "\n".join(line.rstrip() for line in printed.getvalue().strip().splitlines())


def _diagram() -> list[str]:
    arrows = [f"    {before} --> {after}" for before, after in _arrows()]
    ends = [f"    {state} --> [*]" for state in State if not TRANSITIONS[state]]
    return ["stateDiagram-v2", "    [*] --> RECEIVED", *arrows, *ends]


def _arrows() -> list[tuple[State, State]]:
    return [(before, after) for before in State for after in State if after in TRANSITIONS[before]]


def _table() -> list[str]:
    rows = [
        f"| {state} | {MEANINGS[state]} | {_kind(state)} | {', '.join(_following(state)) or 'none'} |"
        for state in State
    ]
    return ["| state | meaning | terminal? | next states |", "|---|---|---|---|", *rows]


def _kind(state: State) -> str:
    if state in RETRYABLE:
        return "yes, can be retried"
    return "yes" if state in TERMINAL else "no"


def _following(state: State) -> list[State]:
    return [after for after in State if after in TRANSITIONS[state]]


PAGES: Final = {"cli.md": cli_page, "costs.md": costs_page, "order.schema.json": order_schema, "states.md": states_page}
"""The name of each generated file under docs/, and the function that returns its text."""


def main() -> None:
    """Write every page."""
    for name, text in PAGES.items():
        (DOCS / name).write_text(text(), encoding="utf-8")
        print(f"docs/{name}")


if __name__ == "__main__":
    main()
