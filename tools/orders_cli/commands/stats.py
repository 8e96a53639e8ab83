"""`orders stats`."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from shared.aws.clock import timestamp
from shared.ledger.states import TERMINAL
from tools.operations.costs import Deployment
from tools.operations.filter import Filter, entries
from tools.operations.prices import MILLION, REGION
from tools.operations.progress import counts
from tools.operations.stats import PERCENTILES, measured, queue_times, statistics
from tools.orders_cli.connection import ENVIRONMENT, Connection
from tools.orders_cli.output import Json, print_fields, print_json, print_table
from tools.orders_cli.where import past_time

_FUNCTIONS = {
    "ingest": "OrderIngestArn",
    "orchestrator": "DurableOrderProcessorArn",
    "enricher": "OrderEnricherArn",
    "publisher": "OrderPublisherArn",
    "reconciler": "OrderReconcilerArn",
}
"""The stack's outputs with the ARNs of the functions."""


def stats(
    *,
    since: Annotated[datetime | None, Parameter(converter=past_time, show_default=False)] = None,
    limit: Annotated[int, Parameter(validator=Number(gte=1))] = 10_000,
    plot: Path | None = None,
    json: Json = False,
    connection: Connection = ENVIRONMENT,
) -> None:
    """Count the orders by state, and show the times and the estimated cost of those that ended.

    All running orders are counted, and the ended ones by the time of their end. The times are those of the last
    attempt; those in the queue are of all messages. The cost is an estimate at list price: docs/costs.md.

    Parameters
    ----------
    since
        Only orders that ended since a time or in an age such as 2h. By default the last day.
    limit
        Read at most this many ended orders, the longest ended first.
    plot
        Write the counts and a histogram of the times from start to end to this PNG file.
    """
    until = datetime.now(UTC)
    since = since or until - timedelta(days=1)
    cloudwatch = connection.client("cloudwatch")
    names = {part: _name(connection.outputs[output]) for part, output in _FUNCTIONS.items()}
    assumed = measured(cloudwatch, names, since, until)
    by_state = counts(connection.dynamodb, connection.outputs["LedgerTableName"], timestamp(since))
    ended = entries(connection.ledger_items, Filter(since=since), TERMINAL)
    found = statistics(ended, limit, Deployment.of(connection.parameters), assumed)
    if plot:
        from tools.orders_cli.plot import plot as draw  # noqa: PLC0415 (only a picture needs it)

        draw(plot, by_state, found)
    times = {
        "startToEnd": {**found.total.percentiles(), "orders": found.total.count},
        "outsideSteps": {**found.outside_steps.percentiles(), "orders": found.outside_steps.count},
        "inQueue": queue_times(cloudwatch, names["ingest"], since, until),
    }
    per_order = found.usd_per_order
    if json:
        print_json(
            {
                "since": timestamp(since),
                "read": found.read,
                "complete": found.complete,
                "states": by_state,
                "seconds": times,
                "waitSeconds": int(connection.parameters["WaitSeconds"]),
                "cost": {
                    "usdPerOrder": per_order,
                    "usdPerMillionOrders": per_order and per_order * MILLION,
                    "region": REGION,
                    "kind": "estimate at list price",
                },
            }
        )
        return
    print_table(("state", "orders"), by_state.items())
    print()
    names_of = {
        "startToEnd": "start to end",
        "outsideSteps": f"outside steps, with the wait of {connection.parameters['WaitSeconds']} s",
        "inQueue": "in the queue",
    }
    print_table(
        ("time", *(f"p{percent}" for percent in PERCENTILES)),
        (
            [names_of[name], *(_seconds(values[f"p{percent}"]) for percent in PERCENTILES)]
            for name, values in times.items()
        ),
    )
    print()
    print_fields(
        {
            "orders read": f"{found.read}, ended since {timestamp(since)}"
            + ("" if found.complete else " (there are more: --limit)"),
            "cost per order": per_order and f"${per_order:.7f} (estimate at list price, {REGION})",
            "per million": per_order and f"${per_order * MILLION:.2f}",
        }
    )


def _name(arn: str) -> str:
    """The name of a function, without an alias."""
    return arn.split(":")[6]


def _seconds(value: Any) -> str | None:
    return None if value is None else f"{value:.3f} s"
