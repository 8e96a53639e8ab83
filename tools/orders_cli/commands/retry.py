"""`orders retry`."""

from pathlib import Path
from typing import Annotated, Final, Literal

from cyclopts import Parameter

from shared.errors import OrderUnknown
from shared.orders.order import Order
from tools.operations import retry as operation
from tools.operations.order_files import BadLine, OrderLine, format_of, orders_in
from tools.orders_cli.bulk import DryRun, Yes, run_bulk
from tools.orders_cli.connection import ENVIRONMENT, Connection
from tools.orders_cli.each import for_each
from tools.orders_cli.failure import CommandFailed, WrongUsage
from tools.orders_cli.output import Json
from tools.orders_cli.where import EVERYTHING, Where

_BEGINS_WITH: Final = {True: "finalize", False: "enrich", None: "not known: a later attempt has begun"}


def retry(
    *order_ids: str,
    with_: Annotated[Path | None, Parameter(name="--with")] = None,
    from_: Annotated[Literal["finalize"] | None, Parameter(name="--from")] = None,
    where: Where = EVERYTHING,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
    connection: Connection = ENVIRONMENT,
) -> int:
    """Start the next attempt of orders that are FAILED, TIMED_OUT or STOPPED. A filter makes it a job.

    Parameters
    ----------
    order_ids
        The orders' ids.
    with_
        The corrected order, as a JSON file.
    from_
        Keep the recorded enrichment, do not wait again, and begin with finalize.
    """
    if not order_ids:
        if with_ is not None:
            raise WrongUsage("--with corrects one order: name it")
        action: Final = "retry" if from_ is None else "retry --from finalize"
        return run_bulk(action, where.filter, connection, reason=None, yes=yes, dry_run=dry_run, json=json)
    if where != EVERYTHING:
        raise WrongUsage("name orders, or select them by a filter, not both")
    if with_ is not None and len(order_ids) > 1:
        raise WrongUsage("--with corrects one order: name only that one")
    corrected = None if with_ is None else _order_in(with_)

    from_finalize = from_ is not None

    def act(order_id: str) -> dict[str, object]:
        started = operation.retry(
            order_id, connection.ledger, connection.executions, corrected, from_finalize=from_finalize
        )
        return {
            "attempt": started.attempt,
            "executionArn": started.execution_arn,
            "beginsWith": _BEGINS_WITH[started.from_finalize],
        }

    def show(order_id: str) -> dict[str, object]:
        entry = connection.ledger.get(order_id)
        if entry is None:
            raise OrderUnknown(f"order {order_id} is not in the ledger")
        return {"wouldRun": list(operation.what_will_run_again(entry, corrected, from_finalize=from_finalize))}

    return for_each("retry", order_ids, show if dry_run else act, connection, json=json, log=not dry_run)


def _order_in(path: Path) -> Order:
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape") as stream:
            found = list(orders_in(stream, format_of(path.name)))
    except OSError as error:
        raise CommandFailed(f"{path} cannot be read: {error.strerror}; name a file with the order") from None
    match found:
        case [OrderLine(order=order)]:
            return order
        case [BadLine(line, reason)]:
            raise CommandFailed(f"{path}:{line}: {reason}")
    raise CommandFailed(f"{path} has {len(found)} orders: name a file with one")
