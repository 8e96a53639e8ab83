"""Failures: the orders that ended without success, grouped by cause, and a retry of a group."""

from itertools import islice
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from durable_local.console import Section, live_page
from shared.aws.clock import timestamp
from shared.ledger.states import RETRYABLE
from tools.console.desk import Desk, explained
from tools.console.kept import paced
from tools.console.screens import TEMPLATES
from tools.operations.failures import causes
from tools.operations.selection import Selection, selected
from tools.orders_cli.ages import time_ago

DEFAULT_SINCE: Final = "1d"
MOST: Final = 5_000
"""How many orders are grouped, the newest."""


def section(desk: Desk) -> Section:
    """The section of this screen."""

    async def page(request: Request) -> Response:
        since = request.query_params.get("since", DEFAULT_SINCE).strip()
        customer = request.query_params.get("customer", "").strip()
        mistake = "An age is a number and s, m, h or d, such as 2h." if since and time_ago(since) is None else ""

        def read() -> dict[str, Any]:
            time = time_ago(since)
            selection = Selection(
                tuple(sorted(RETRYABLE)), customer or None, since=timestamp(time) if time is not None else None
            )
            with explained():
                connection = desk.connection
                newest = selected(
                    connection.dynamodb, connection.outputs["LedgerTableName"], selection, newest_first=True
                )
                orders = list(islice(newest, MOST))
            return {"causes": causes(reversed(orders)), "read": len(orders)}

        return await live_page(
            request,
            "failures.html",
            paced(read),
            since=since,
            customer=customer,
            mistake=mistake,
            most=MOST,
            default_since=DEFAULT_SINCE,
        )

    return Section("Failures", "/failures", [Route("/failures", page)], [TEMPLATES])
