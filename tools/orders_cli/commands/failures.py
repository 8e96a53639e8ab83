"""`orders failures`."""

from dataclasses import asdict

from shared.ledger.states import RETRYABLE
from tools.operations.failures import causes
from tools.operations.selection import Selection, selected
from tools.orders_cli.ages import TimeAgo
from tools.orders_cli.connection import ENVIRONMENT, Connection
from tools.orders_cli.output import Json, print_json, print_table


def failures(
    *,
    customer: str | None = None,
    error: str | None = None,
    since: TimeAgo = None,
    json: Json = False,
    connection: Connection = ENVIRONMENT,
) -> None:
    """Group the orders that are FAILED, TIMED_OUT or STOPPED by cause. `again` counts those that failed after a retry.

    Parameters
    ----------
    customer
        Only orders of this customer.
    error
        Only orders that ended with this error type.
    since
        Only orders that ended in this last time, such as 2h.
    """
    selection = Selection(tuple(sorted(RETRYABLE)), customer, error, since=since)
    found = causes(selected(connection.dynamodb, connection.outputs["LedgerTableName"], selection))
    if json:
        for cause in found:
            values = asdict(cause)
            print_json({"errorType": values.pop("error_type"), **values})
        return
    print_table(
        ("error", "state", "count", "again", "first", "last", "example"),
        (
            (cause.error_type, cause.state, cause.count, cause.again, cause.first, cause.last, cause.example)
            for cause in found
        ),
    )
