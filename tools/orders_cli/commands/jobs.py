"""`orders jobs`."""

from typing import Literal

from tools.operations.jobs import Job, JobStatus, Result
from tools.orders_cli.bulk import counted, run_job
from tools.orders_cli.connection import ENVIRONMENT, Connection
from tools.orders_cli.failure import CommandFailed
from tools.orders_cli.output import Json, print_fields, print_json, print_line, print_table

_NEWEST = 50


def jobs(
    action: Literal["list", "show", "abort", "resume"] = "list",
    handle: str | None = None,
    /,
    *,
    json: Json = False,
    connection: Connection = ENVIRONMENT,
) -> int:
    """List the newest bulk operations, or follow, abort or resume one.

    Parameters
    ----------
    action
        What to do.
    handle
        The job, for all but list.
    """
    if action == "list":
        _list(connection, json=json)
        return 0
    job = connection.jobs.get(handle) if handle is not None else None
    if job is None:
        raise CommandFailed(f"{handle or 'a job without a handle'} is not known: orders jobs lists the newest")
    match action:
        case "show":
            _show(job, connection, json=json)
        case "abort":
            if not connection.jobs.abort(job.handle):
                raise CommandFailed(
                    f"job {job.handle} is {job.status} and cannot be aborted: orders jobs show {job.handle}"
                )
            connection.log.write("abort", f"job {job.handle}", "no further action begins")
            print_line(f"job {job.handle} is ABORTED: orders jobs resume {job.handle} continues it")
        case "resume":
            return _resume(job, connection, json=json)
    return 0


def _resume(job: Job, connection: Connection, *, json: bool) -> int:
    if job.status is JobStatus.SELECTING:
        raise CommandFailed(f"job {job.handle} died before its first action: run the orders {job.action} command again")
    if job.status is JobStatus.ENDED:
        raise CommandFailed(f"job {job.handle} has ended: orders jobs show {job.handle}")
    if job.status is JobStatus.ABORTED and not connection.jobs.reopen(job.handle):
        raise CommandFailed(
            f"not all orders of job {job.handle} were written: run the orders {job.action} command again"
        )
    connection.log.write("resume", f"job {job.handle}", "resumed")
    return run_job(job, connection, json=json)


def _list(connection: Connection, *, json: bool) -> None:
    found = connection.jobs.newest(_NEWEST)
    if json:
        print_json([_as_json(job) for job in found])
        return
    print_table(
        ("job", "action", "status", "orders", "by", "filter"),
        ((job.handle, job.action, job.status, job.orders, job.by, job.chosen) for job in found),
    )


def _show(job: Job, connection: Connection, *, json: bool) -> None:
    counts = counted(connection.jobs.counts(job.handle))
    refused = [order for order in connection.jobs.orders(job.handle) if order.result is Result.REFUSED]
    if json:
        refusals = [{"orderId": order.order_id, "why": order.detail} for order in refused]
        print_json({**_as_json(job), **counts, "refusals": refusals})
        return
    print_fields({**_as_json(job), **counts})
    print_table(("refused", "why"), ((order.order_id, order.detail) for order in refused))


def _as_json(job: Job) -> dict[str, object]:
    return {
        "job": job.handle,
        "action": job.action,
        "status": job.status,
        "orders": job.orders,
        "filter": job.chosen,
        "by": job.by,
        "at": job.at,
        "reason": job.reason,
    }
