"""Send: orders as JSON, JSON Lines or CSV, checked before anything is sent; then those orders as they run."""

import hashlib
import logging
import secrets
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import StringIO
from typing import Any, Final, get_args

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from durable_local.console import NotShown, Section, live_page, outcome, render
from durable_local.console.pages import form
from durable_local.console.problem import FAILURES, problem_of
from shared.errors import EntryUnreadable
from shared.ledger.entry import LedgerEntry
from shared.ledger.states import TERMINAL
from shared.orders.order import Order
from tools.console.desk import Desk, explained
from tools.console.kept import paced
from tools.console.screens import TEMPLATES
from tools.operations import send as operation
from tools.operations.order_files import BadLine, Format, OrderLine, guessed_format, orders_in
from tools.operations.send import Unsent
from tools.orders_cli.connection import Connection
from tools.sample_data import generated_orders

PATH: Final = "/send"
MAX_TEXT: Final = 5_000_000
"""Characters of a text. The command `orders send` reads a file of any size."""

MADE_UP: Final = 10
SHOWN: Final = 20
SHOWN_BAD: Final = 200
WATCHED: Final = 100
"""How many orders of a send are followed: one BatchGetItem for each look."""

KEPT: Final = 20
"""How many sends this console remembers."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checked:
    """A text that was checked. `again`: lines whose order id an earlier line has, with another body."""

    form: Format
    orders: Sequence[OrderLine]
    bad: Sequence[BadLine]
    again: Sequence[OrderLine]
    digest: str


@dataclass
class Sending:
    """A send: how far it is. `problem`: why it stopped before its end."""

    handle: str
    at: datetime
    orders: Sequence[Order]
    bad: int
    group_by: operation.GroupBy | None
    sent: int = 0
    unsent: list[Unsent] = field(default_factory=list)
    is_running: bool = True
    problem: str | None = None
    ended: dict[str, LedgerEntry] = field(default_factory=dict)
    """Of the watched orders, those that have ended: they are not read again."""

    @property
    def watched(self) -> list[str]:
        """The ids of the first orders."""
        return list(dict.fromkeys(order.order_id for order in self.orders[:WATCHED]))


def section(desk: Desk) -> Section:
    """The section of this screen."""
    views = _Views(desk)
    routes = [
        Route(PATH, views.page, methods=["GET"]),
        Route(PATH, views.send, methods=["POST"]),
        Route(f"{PATH}/check", views.check, methods=["POST"]),
        Route(f"{PATH}/one", views.one),
    ]
    return Section("Send", PATH, routes, [TEMPLATES])


class _Views:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._sends: dict[str, Sending] = {}

    async def page(self, request: Request) -> Response:
        text = ""
        if request.query_params.get("fill") == "made-up":
            text = "\n".join(order.canonical_bytes().decode() for order in generated_orders(MADE_UP))
        return render(
            request,
            "send.html",
            text=text,
            formats=get_args(Format),
            made_up=MADE_UP,
            most=MAX_TEXT,
            sends=list(reversed(self._sends.values())),
        )

    async def check(self, request: Request) -> Response:
        """What the text has, shown below it. Nothing is sent."""
        given = await form(request)
        checked, problem = await run_in_threadpool(lambda: _checked(given))
        return render(
            request,
            "send_checked.html",
            checked=checked,
            problem=problem,
            shown=SHOWN,
            shown_bad=SHOWN_BAD,
            command=self._desk.command("orders", "send", f"orders.{checked.form}") if checked else "",
        )

    async def send(self, request: Request) -> Response:
        given = await form(request)
        checked, problem = await run_in_threadpool(lambda: _checked(given))
        if checked is None or not checked.orders:
            return outcome(request, title="Nothing was sent", text=problem or "There is no order in it.", is_error=True)
        if given.get("digest") != checked.digest:
            text = "The text is not the one that was checked. Check it again."
            return outcome(request, title="Nothing was sent", text=text, is_error=True)
        try:
            sending = await run_in_threadpool(lambda: self._start(checked, grouped=bool(given.get("grouped"))))
        except FAILURES as error:
            shown = problem_of(error)
            return outcome(request, title=shown.title, text=shown.text, is_error=True)
        return Response(headers={"HX-Redirect": f"{PATH}/one?handle={sending.handle}"})

    async def one(self, request: Request) -> Response:
        handle = request.query_params.get("handle", "")

        def read() -> Mapping[str, Any]:
            sending = self._sends.get(handle)
            if sending is None:
                raise NotShown(
                    "This console does not know the send",
                    f"It remembers its last {KEPT}, until it ends. The orders are in the list of orders.",
                )
            with explained():
                return self._followed(sending)

        return await live_page(request, "send_one.html", paced(read), handle=handle, watched=WATCHED)

    def _start(self, checked: Checked, *, grouped: bool) -> Sending:
        with self._desk.action("send", f"{len(checked.orders)} orders"):
            connection = self._desk.connection
            url = connection.outputs["OrdersQueueUrl"]
        sending = Sending(
            secrets.token_hex(4),
            datetime.now(UTC),
            [line.order for line in checked.orders],
            len(checked.bad),
            "customerId" if grouped else None,
        )
        self._sends[sending.handle] = sending
        for old in list(self._sends)[:-KEPT]:
            del self._sends[old]
        threading.Thread(target=self._run, args=(sending, connection, url), daemon=True).start()
        return sending

    def _run(self, sending: Sending, connection: Connection, url: str) -> None:
        try:
            for sent, unsent in operation.send(sending.orders, connection.sqs, url, sending.group_by):
                sending.sent += sent
                sending.unsent += unsent
        except FAILURES as error:
            sending.problem = str(problem_of(error))
        except Exception as error:
            logger.exception("a send cannot be continued")
            sending.problem = f"The console has an error ({type(error).__name__})."
        sending.is_running = False
        result = f"{sending.sent} sent, {sending.bad} bad lines, {len(sending.unsent)} not sent"
        stopped = f"; stopped: {sending.problem}" if sending.problem else ""
        self._desk.record("send", f"{len(sending.orders)} orders", result + stopped)

    def _followed(self, sending: Sending) -> dict[str, Any]:
        ids = sending.watched
        items = self._desk.connection.ledger_items.of(each for each in ids if each not in sending.ended)
        entries = dict(sending.ended)
        unreadable = set()
        for order_id, item in items.items():
            try:
                entries[order_id] = LedgerEntry.of(item)
            except EntryUnreadable:
                unreadable.add(order_id)
        # An order that is retried can run again: it is watched on its own page then.
        sending.ended = {each: entry for each, entry in entries.items() if entry.state in TERMINAL}
        return {
            "sending": sending,
            "orders": [(each, entries.get(each), each in unreadable) for each in ids],
            "states": Counter(entry.state for entry in entries.values()),
            "absent": sum(each not in entries and each not in unreadable for each in ids),
        }


def _checked(given: Mapping[str, str]) -> tuple[Checked | None, str]:
    """The checked text, or why it is not checked."""
    text = given.get("text", "")
    if not text.strip():
        return None, "There is no text."
    if len(text) > MAX_TEXT:
        return None, f"{len(text):,} characters, more than the {MAX_TEXT:,} allowed here: use orders send FILE."
    chosen: Any = given.get("format")
    form_ = chosen if chosen in get_args(Format) else guessed_format(text)
    lines = list(orders_in(StringIO(text, newline=""), form_))
    orders = [line for line in lines if isinstance(line, OrderLine)]
    digests: dict[str, str] = {}
    again = [
        line for line in orders if digests.setdefault(line.order.order_id, (digest := line.order.digest())) != digest
    ]
    # With the format: the same text can be other orders in another.
    digest = hashlib.sha256(f"{form_}\n{text}".encode(errors="surrogatepass")).hexdigest()
    return Checked(form_, orders, [line for line in lines if isinstance(line, BadLine)], again, digest), ""
