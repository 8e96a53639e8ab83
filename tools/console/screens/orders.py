"""Orders: a list that the address filters, and what can be done to many of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlencode

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from durable_local.console import Section, live_page
from shared.aws.clock import timestamp
from shared.ledger.entry import LedgerEntry
from shared.ledger.states import State
from tools.console.desk import Desk, explained
from tools.console.job_runner import JobRunner
from tools.console.kept import paced
from tools.console.screens import TEMPLATES
from tools.console.screens.jobs import BULK, job_routes
from tools.console.screens.order import order_routes
from tools.operations.filter import Filter
from tools.operations.selection import SelectedOrder, Selection, page
from tools.orders_cli.ages import time_ago

PATH: Final = "/orders"
SORTS: Final = {"": "Changed last", "oldest": "Unmoved longest"}


@dataclass(frozen=True)
class Chosen:
    """What the address of the list says. `since` and `unmoved` are ages such as 2h; empty: any. `view` is a name."""

    states: tuple[State, ...] = ()
    id: str = ""
    customer: str = ""
    error: str = ""
    since: str = ""
    unmoved: str = ""
    sort: str = ""
    cursor: str = ""
    view: str = ""

    @classmethod
    def of(cls, given: QueryParams) -> "Chosen":
        """From an address. What is not a state, or not a sort, is left out."""
        known = set(State)
        states = tuple(dict.fromkeys(State(name) for name in given.getlist("state") if name in known))
        texts = {name: given.get(name, "").strip() for name in cls.__dataclass_fields__ if name != "states"}
        return cls(states, **texts | {"sort": texts["sort"] if texts["sort"] in SORTS else ""})

    def query(self, **changed: str) -> str:
        """The query of this list, changed."""
        texts = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "states"} | changed
        pairs = [("state", str(state)) for state in self.states]
        return urlencode([*pairs, *((name, text) for name, text in texts.items() if text)])

    def address(self, **changed: str) -> str:
        """The address of this list, changed."""
        query = self.query(**changed)
        return f"{PATH}?{query}" if query else PATH

    @property
    def is_empty(self) -> bool:
        """Whether all orders are shown."""
        return replace(self, sort="", cursor="", view="") == Chosen()

    @property
    def mistakes(self) -> dict[str, str]:
        """By field: what is wrong with its text."""
        return {
            name: "An age is a number and s, m, h or d, such as 2h."
            for name in ("since", "unmoved")
            if getattr(self, name) and time_ago(getattr(self, name)) is None
        }

    @property
    def selection(self) -> Selection:
        """What the ledger's index is asked for. A wrong age selects all."""
        since, before = (time_ago(age) for age in (self.since, self.unmoved))
        return Selection(
            self.states,
            self.customer or None,
            self.error or None,
            before=timestamp(before) if before else None,
            since=timestamp(since) if since else None,
            prefix=self.id,
        )

    @property
    def filter(self) -> Filter | None:
        """The filter of a job on all these orders. None if no job can select them: by id, by `unmoved`, or all."""
        found = Filter(self.states, self.error or None, self.customer or None, time_ago(self.since))
        return None if self.id or self.unmoved or self.mistakes or found.is_empty else found


def section(desk: Desk) -> Section:
    """The section of the list, of one order and of the jobs."""
    runner = JobRunner(desk)

    async def listing(request: Request) -> Response:
        chosen = Chosen.of(request.query_params)

        def read() -> Mapping[str, Any]:
            with explained():
                return _found(desk, chosen)

        return await live_page(
            request,
            "orders.html",
            paced(read),
            chosen=chosen,
            states=tuple(State),
            sorts=SORTS,
            source=desk.source,
            bulk=BULK,
        )

    routes = [Route(PATH, listing), *order_routes(desk), *job_routes(desk, runner)]
    return Section("Orders", PATH, routes, [TEMPLATES])


def _found(desk: Desk, chosen: Chosen) -> dict[str, Any]:
    """The order with exactly this id, if one is given and the filter lets it pass, and a page of the others."""
    connection = desk.connection
    exact = connection.ledger.get(chosen.id) if chosen.id and not chosen.cursor else None
    found = page(
        connection.dynamodb,
        connection.outputs["LedgerTableName"],
        chosen.selection,
        newest_first=not chosen.sort,
        cursor=chosen.cursor or None,
    )
    others = [order for order in found.orders if exact is None or order.order_id != exact.order_id]
    return {
        "orders": [*([_as_selected(exact)] if exact else []), *others],
        "looked_at": found.looked_at,
        "next_cursor": found.cursor,
    }


def _as_selected(entry: LedgerEntry) -> SelectedOrder:
    error = entry.error["type"] if entry.error else None
    customer = entry.order.get("customerId")
    return SelectedOrder(entry.order_id, entry.state, entry.updated_at, entry.attempt, error, customer)
