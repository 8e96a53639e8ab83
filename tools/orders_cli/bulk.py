"""A bulk cancel or retry: the count and the question first, then a job with its progress."""

import sys
from collections import Counter
from typing import Annotated

from cyclopts import Parameter

from reconciler.pace import Pace
from tools.operations.bulk import ACTS_ON, action_of
from tools.operations.filter import Filter, entries
from tools.operations.jobs import ACTIONS_PER_SECOND, ActionName, Job, JobStatus, Result
from tools.orders_cli.connection import Connection
from tools.orders_cli.failure import CommandFailed, WrongUsage
from tools.orders_cli.output import print_json, print_line, print_notice, print_table

Yes = Annotated[bool, Parameter(name="--yes", help="Do not ask.")]
DryRun = Annotated[bool, Parameter(name="--dry-run", help="Show what would be done.")]

_SHOWN: int = 20


def confirm(question: str, *, yes: bool) -> None:
    """Ask on a terminal. Raises `CommandFailed` for any answer but y, and off a terminal without `--yes`."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandFailed(f"{question} Nobody can answer here: give --yes")
    print_notice(f"{question} [y/N]")
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise CommandFailed("nothing was done: the answer was not y")


def run_bulk(
    action: ActionName,
    chosen: Filter,
    connection: Connection,
    *,
    reason: str | None,
    yes: bool,
    dry_run: bool,
    json: bool,
) -> int:
    """Select, ask, and do it as a job. Returns the exit status."""
    if chosen.is_empty:
        raise WrongUsage("name orders, or select them with --state, --error, --customer or --since")
    orders: dict[str, int] = {}
    states: Counter[str] = Counter()
    for entry in entries(connection.ledger_items, chosen, ACTS_ON[action]):
        orders[entry.order_id] = entry.attempt
        states[entry.state] += 1
    summary = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "none"
    if dry_run or not orders:
        if json:
            print_json({"orders": len(orders), "states": states, "dryRun": dry_run})
        else:
            print_line(f"{len(orders)} orders match: {summary}")
            print_table(("order",), ([order_id] for order_id in list(orders)[:_SHOWN]))
        return 0
    confirm(f"{action} {len(orders)} orders ({summary})?", yes=yes)
    job = connection.jobs.create(action, connection.caller, str(chosen), orders, reason)
    connection.log.write(action, f"job {job.handle}: {chosen}", f"{len(orders)} orders selected")
    return run_job(job, connection, json=json)


def run_job(job: Job, connection: Connection, *, json: bool) -> int:
    """Run a job to its end. Returns 1 if an order was refused or is left."""
    print_notice(f"job {job.handle}: {job.action} {job.orders} orders (orders jobs show {job.handle})")
    act = action_of(job, connection.ledger, connection.executions, connection.running)
    try:
        for number, order in enumerate(connection.jobs.run(job, act, Pace(ACTIONS_PER_SECOND)), 1):
            if order.result is Result.REFUSED:
                print_notice(f"{order.order_id}: {order.detail}")
            if number % 100 == 0:
                print_notice(f"{number} done")
    except BaseException:
        print_notice(f"job {job.handle} is not finished: orders jobs resume {job.handle}")
        raise
    counts = connection.jobs.counts(job.handle)
    ended = connection.jobs.get(job.handle) or job
    text = ", ".join(f"{count} {name}" for name, count in counted(counts).items())
    connection.log.write(job.action, f"job {job.handle}: {job.chosen}", f"{ended.status}: {text}")
    if json:
        print_json({"job": job.handle, "status": ended.status, **counted(counts)})
    else:
        print_line(f"job {job.handle} is {ended.status}: {text}")
        if ended.status is JobStatus.RUNNING:
            print_notice(f"orders jobs resume {job.handle} takes those that are left")
    return 1 if counts["LEFT"] or counts[Result.REFUSED] else 0


def counted(counts: Counter[str]) -> dict[str, int]:
    """A job's orders by result, and those that are left."""
    return {name.lower(): counts[name] for name in (*Result, "LEFT")}
