"""`orders cancel`."""

from tools.operations import cancel as operation
from tools.orders_cli.bulk import DryRun, Yes, run_bulk
from tools.orders_cli.connection import ENVIRONMENT, Connection
from tools.orders_cli.each import for_each
from tools.orders_cli.failure import WrongUsage
from tools.orders_cli.output import Json
from tools.orders_cli.where import EVERYTHING, Where


def cancel(
    *order_ids: str,
    reason: str | None = None,
    where: Where = EVERYTHING,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
    connection: Connection = ENVIRONMENT,
) -> int:
    """Cancel orders that are not finalizing yet, and stop their executions. A filter makes it a job.

    Parameters
    ----------
    order_ids
        The orders' ids.
    reason
        Is kept in each order's history.
    """
    if not order_ids:
        return run_bulk("cancel", where.filter, connection, reason=reason, yes=yes, dry_run=dry_run, json=json)
    if where != EVERYTHING or dry_run:
        raise WrongUsage("name orders, or select them by a filter, not both; --dry-run needs a filter")

    def act(order_id: str) -> dict[str, object]:
        entry = operation.cancel(order_id, connection.ledger, connection.executions, reason)
        return {"state": entry.state}

    return for_each("cancel", order_ids, act, connection, json=json)
