"""Agreement: whether the ledger and Lambda's executions say the same, who looked, and what was done about it."""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from durable_local.console import Section, ask, live_page, outcome
from durable_local.console.pages import form
from durable_local.console.problem import FAILURES, problem_of
from tools.console.desk import Desk, explained
from tools.console.kept import Kept, paced
from tools.console.screens import TEMPLATES
from tools.console.stuck import stuck_orders
from tools.operations.check import check
from tools.operations.operations_log import Operation
from tools.operations.reconciled import Lines, Sweeps, lines, sweeps
from tools.operations.sweep import SWEPT, start_sweep
from tools.operations.versions import PublishedVersion, versions

PATH: Final = "/agreement"
LOG: Final = f"{PATH}/log"
ACT: Final = f"{PATH}/act"
WINDOW: Final = timedelta(days=1)
LINES_WINDOW: Final = timedelta(hours=6)
"""How far back the logs are read, for the newest lines."""

SHOWN_LINES: Final = 50
NEWEST: Final = 10
LOG_PAGE: Final = 50
SHOWN_UNREADABLE: Final = 100

ACTIONS: Final = {
    "check": (
        "Check the ledger",
        (
            "Reads the whole table once, and finds the items that no function can read. It changes nothing, and costs "
            "a read unit for each 4 KB of items."
        ),
    ),
    "sweep": (
        "Sweep now",
        (
            "The sweep examines the orders that do not move and the executions that ended badly, as it does every five "
            "minutes, and writes to the ledger what it finds. It can run at any time, also beside another one."
        ),
    ),
}
"""Title and what it will do."""

logger = logging.getLogger(__name__)


@dataclass
class Check:
    """A check of the whole ledger, asked for here. `problem`: why it ended before its end."""

    began: datetime
    ended: datetime | None = None
    unreadable: Sequence[str] = ()
    problem: str | None = None


def section(desk: Desk) -> Section:
    """The section of this screen."""
    panels = _Panels(desk)

    async def page(request: Request) -> Response:
        return await live_page(
            request,
            "agreement.html",
            panels.look,
            seconds=panels.seconds,
            window=WINDOW,
            lines_window=LINES_WINDOW,
            commands=[desk.command("orders", name) for name in ("stuck", "sweep", "check", "versions", "doctor")],
        )

    async def log(request: Request) -> Response:
        before = request.query_params.get("before")

        def read() -> dict[str, Any]:
            with explained():
                found = desk.connection.log.newest(LOG_PAGE + 1, before)
            older = found[LOG_PAGE - 1].key if len(found) > LOG_PAGE else None
            return {"operations": found[:LOG_PAGE], "older": older}

        return await live_page(request, "agreement_log.html", paced(read), before=before)

    async def question(request: Request) -> Response:
        action = request.query_params.get("action", "")
        if action not in ACTIONS:
            return outcome(request, title="Refused", text="There is no such action.", is_error=True)
        title, says = ACTIONS[action]
        command = desk.command("orders", action)
        hidden = {"action": action}
        return ask(request, "confirm.html", post=ACT, hidden=hidden, title=title, says=says, command=command)

    async def act(request: Request) -> Response:
        action = (await form(request)).get("action", "")
        if action not in ACTIONS:
            return outcome(request, title="Refused", text="There is no such action.", is_error=True)
        try:
            text = await run_in_threadpool({"check": panels.start_check, "sweep": panels.start_sweep}[action])
        except FAILURES as error:
            problem = problem_of(error)
            return outcome(request, title=problem.title, text=problem.text, is_error=True)
        return outcome(request, title=ACTIONS[action][0], text=text)

    routes = [
        Route(PATH, page),
        Route(LOG, log),
        Route(ACT, question, methods=["GET"]),
        Route(ACT, act, methods=["POST"]),
    ]
    return Section("Agreement", PATH, routes, [TEMPLATES])


class _Panels:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.seconds = (2, 10) if desk.local else (10, 60)
        often, seldom = self.seconds
        self._panels: dict[str, Kept[Any]] = {
            "operations": Kept(self._read_operations, often),
            "stuck": Kept(lambda: stuck_orders(desk.connection), seldom),
            "versions": Kept(self._read_versions, seldom),
            "sweeps": Kept(self._read_sweeps, seldom),
            "lines": Kept(self._read_lines, seldom),
        }
        self._check: Check | None = None

    def look(self) -> dict[str, Any]:
        """What the template shows."""
        # All read at the same time.
        for panel in self._panels.values():
            panel.begin()
        return {"check": self._check, **{name: panel.look() for name, panel in self._panels.items()}}

    def start_check(self) -> str:
        """Check the ledger in the background, once at a time."""
        if self._check and self._check.ended is None:
            return "A check runs already. The page shows its result."
        with self._desk.action("check", "ledger"):
            ledger = self._desk.connection.ledger_items
        self._check = Check(datetime.now(UTC))
        threading.Thread(target=self._run_check, args=(self._check, ledger), daemon=True).start()
        return "The check runs. The page shows its result; the operations log gets a line then."

    def start_sweep(self) -> str:
        """Let the sweep run now."""
        with self._desk.action("sweep", SWEPT):
            connection = self._desk.connection
            start_sweep(connection.aws_lambda, connection.outputs["OrderSweepArn"])
        unlogged = self._desk.record("sweep", SWEPT, "started")
        for panel in self._panels.values():
            panel.forget()
        return f"The sweep runs. The page shows what it did.{unlogged}"

    def _run_check(self, running: Check, ledger: Any) -> None:
        try:
            with explained():
                running.unreadable = [str(error) for error in islice(check(ledger), SHOWN_UNREADABLE)]
            more = " or more" if len(running.unreadable) == SHOWN_UNREADABLE else ""
            result = f"{len(running.unreadable)}{more} items cannot be read"
        except FAILURES as error:
            running.problem = str(problem_of(error))
            result = running.problem
        except Exception as error:
            logger.exception("the ledger cannot be checked")
            running.problem = result = f"The console has an error ({type(error).__name__})."
        running.ended = datetime.now(UTC)
        self._desk.record("check", "ledger", result)
        self._panels["operations"].forget()

    def _read_operations(self) -> list[Operation]:
        return self._desk.connection.log.newest(NEWEST)

    def _read_versions(self) -> list[PublishedVersion]:
        connection = self._desk.connection
        found = versions(connection.aws_lambda, connection.outputs["DurableOrderProcessorArn"])
        return [each for each in reversed(found) if each.running or each.is_current or each is found[-1]]

    def _read_sweeps(self) -> Sweeps:
        connection, until = self._desk.connection, datetime.now(UTC)
        return sweeps(connection.client("cloudwatch"), self._function("OrderSweepArn"), until - WINDOW, until)

    def _read_lines(self) -> Lines:
        functions = {"reconciler": self._function("OrderReconcilerArn"), "sweep": self._function("OrderSweepArn")}
        since = datetime.now(UTC) - LINES_WINDOW
        return lines(self._desk.connection.client("logs"), functions, since, SHOWN_LINES)

    def _function(self, output: str) -> str:
        return self._desk.connection.outputs[output].split(":")[6]
