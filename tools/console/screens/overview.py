"""Overview: how many orders are at each station between the queue and the ledger, how fast they move, what rings.

Each panel is read on its own and kept for some seconds, so that any number of open pages costs the same. Nothing is
scanned: depths are attributes of the queues, counts stop at MOST, and rates are metrics.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from durable_local.console import Section, live_page
from shared.ledger.states import State
from tools.console.desk import Desk
from tools.console.intake import intake_routes
from tools.console.kept import Kept
from tools.console.screens import FILES, TEMPLATES
from tools.console.stuck import stuck_orders
from tools.operations.doctor import ringing
from tools.operations.progress import Count, Depth, depth, open_counts
from tools.operations.stats import Flow, flow
from tools.operations.why import ENABLED

WINDOW: Final = timedelta(hours=1)
MOST: Final = 1_000
"""How many orders of a state are counted."""


@dataclass(frozen=True)
class Stations:
    """What is where now. `intake` is the state of the event source mapping of the orders queue."""

    orders: Depth
    rejected: Depth
    dead: Depth
    status_changes: Depth
    open: dict[State, Count]
    intake: str

    @property
    def is_paused(self) -> bool:
        """Whether intake is paused, or being paused."""
        return self.intake not in ENABLED


def section(desk: Desk) -> Section:
    """The section of this screen. It also serves the files of all screens."""
    panels = _Panels(desk)

    async def page(request: Request) -> Response:
        return await live_page(
            request, "overview.html", panels.look, source=desk.source, window=WINDOW, most=MOST, seconds=panels.seconds
        )

    return Section("Overview", "/", [Route("/", page), *intake_routes(desk, panels.stations), FILES], [TEMPLATES])


class _Panels:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.seconds = (2, 10) if desk.local else (10, 60)
        often, seldom = self.seconds
        self.stations = Kept(self._stations, often)
        self._flow = Kept(self._read_flow, seldom)
        self._stuck = Kept(lambda: stuck_orders(desk.connection), seldom)
        self._alarms = Kept(self._read_alarms, seldom)

    def look(self) -> dict[str, Any]:
        """What the template shows."""
        panels: dict[str, Kept[Any]] = {
            "stations": self.stations,
            "flow": self._flow,
            "stuck": self._stuck,
            "alarms": self._alarms,
        }
        # All read at the same time.
        for panel in panels.values():
            panel.begin()
        return {name: panel.look() for name, panel in panels.items()}

    def _stations(self) -> Stations:
        connection = self._desk.connection
        outputs = connection.outputs
        queues = ("OrdersQueueUrl", "RejectedOrdersQueueUrl", "OrdersDlqUrl", "StatusChangesQueueUrl")
        orders, rejected, dead, status_changes = (depth(connection.sqs, outputs[queue]) for queue in queues)
        counts = open_counts(connection.dynamodb, outputs["LedgerTableName"], MOST)
        return Stations(orders, rejected, dead, status_changes, counts, connection.intake.state())

    def _read_flow(self) -> Flow:
        connection, until = self._desk.connection, datetime.now(UTC)
        publisher = connection.outputs["OrderPublisherArn"].split(":")[6]
        return flow(connection.client("cloudwatch"), publisher, until - WINDOW, until)

    def _read_alarms(self) -> list[tuple[str, str]]:
        connection = self._desk.connection
        return list(ringing(connection.client("cloudwatch"), connection.outputs))
