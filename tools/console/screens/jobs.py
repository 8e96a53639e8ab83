"""Jobs: an action on many orders, with a dry run before it, and its progress."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from durable_local.console import ask, live_page, outcome
from durable_local.console.pages import console_of, form
from durable_local.console.problem import FAILURES, NotShown, problem_of
from shared.errors import EntryUnreadable
from shared.ledger.entry import LedgerEntry
from shared.ledger.states import State
from tools.console.desk import Desk, explained
from tools.console.job_runner import JobRunner
from tools.console.kept import paced
from tools.operations.bulk import ACTS_ON
from tools.operations.filter import Filter, entries
from tools.operations.jobs import ActionName, Job, JobStatus, Result

MOST_NAMED: Final = 500
"""How many orders can be chosen one by one."""

SHOWN: Final = 20
NEWEST: Final = 50
REFUSALS: Final = 100


@dataclass(frozen=True)
class BulkAction:
    """What can be done to many orders. `name` has a place for which; `says`: what it will do."""

    name: str
    says: str
    is_final: bool = False

    @property
    def button(self) -> str:
        """The text of the button that asks."""
        return " ".join(self.name.format("").split())


BULK: Final[Mapping[ActionName, BulkAction]] = {
    "retry": BulkAction("Retry {}", "A new attempt of each order begins, from the start and with the recorded order."),
    "retry --from finalize": BulkAction(
        "Retry {} from finalize",
        "A new attempt of each order begins with finalize: it keeps the recorded enrichment. "
        "An order without one is refused.",
    ),
    "cancel": BulkAction("Cancel {}", "Each order becomes CANCELLED, and its execution is stopped.", is_final=True),
    "pause": BulkAction(
        "Pause {}",
        "No code of each order's execution runs until it is resumed. Its wait still ends, its timeout is paused.",
    ),
    "resume": BulkAction(
        "Resume {}", "Each execution that was paused here or by `orders pause` continues from its last checkpoint."
    ),
}
"""By the action of the job."""


@dataclass(frozen=True)
class DryRun:
    """What a job would work on. `orders`: attempts by id. `refused`: orders that are named and not in such a state.

    `options`: the filter as options of the command; none if the orders are named.
    """

    options: Sequence[str]
    orders: Mapping[str, int]
    states: Mapping[str, int]
    refused: Sequence[tuple[str, str]]

    @property
    def chosen(self) -> str:
        """What the job remembers about its choice."""
        return " ".join(self.options) or "chosen one by one"


def job_routes(desk: Desk, runner: JobRunner) -> list[Route]:
    """The question, the start, the list and one job."""
    views = _Views(desk, runner)
    return [
        Route("/orders/bulk", views.ask, methods=["GET"]),
        Route("/orders/bulk", views.start, methods=["POST"]),
        Route("/orders/jobs", views.listing),
        Route("/orders/job", views.one),
        Route("/orders/job/act", views.ask_job, methods=["GET"]),
        Route("/orders/job/act", views.act, methods=["POST"]),
    ]


@dataclass
class _Views:
    desk: Desk
    runner: JobRunner

    async def ask(self, request: Request) -> Response:
        given = request.query_params
        action: Any = given.get("action", "")
        if action not in BULK:
            return outcome(request, title="Refused", text=f"There is no action {action}.", is_error=True)
        try:
            found = await run_in_threadpool(lambda: self._dry_run(action, given))
        except FAILURES as error:
            problem = problem_of(error)
            return outcome(request, title=problem.title, text=problem.text, is_error=True)
        return ask(
            request,
            "bulk.html",
            action=action,
            bulk=BULK[action],
            found=found,
            shown=list(islice(found.orders, SHOWN)),
            given=[(name, value) for name, value in given.multi_items() if name not in {"action", "reason"}],
            command=self._command(action, found),
        )

    async def start(self, request: Request) -> Response:
        given = await form(request)
        action: Any = given.get("action", "")
        if action not in BULK:
            return outcome(request, title="Refused", text="There is no such action.", is_error=True)

        def create() -> Job:
            found = self._dry_run(action, given)
            expected = given.get("expected", "")
            if not expected.isdecimal() or len(found.orders) > int(expected):
                raise NotShown(
                    "Nothing was done",
                    f"{len(found.orders)} orders match now, more than the {expected} that you saw. Look again.",
                )
            if not found.orders:
                raise NotShown("Nothing was done", "No order is in a state for this any more.")
            with self.desk.action(action, found.chosen):
                connection = self.desk.connection
                job = connection.jobs.create(
                    action, connection.caller, found.chosen, found.orders, given.get("reason") or None
                )
            self.desk.record(action, f"job {job.handle}: {found.chosen}", f"{len(found.orders)} orders selected")
            return job

        try:
            job = await run_in_threadpool(create)
        except FAILURES as error:
            problem = problem_of(error)
            return outcome(request, title=problem.title, text=problem.text, is_error=True)
        self.runner.start(job)
        # The page of the job shows what happens.
        return Response(headers={"HX-Redirect": f"/orders/job?handle={job.handle}"})

    async def listing(self, request: Request) -> Response:
        def read() -> dict[str, Any]:
            with explained():
                return {"jobs": self.desk.connection.jobs.newest(NEWEST)}

        return await live_page(request, "jobs.html", read, newest=NEWEST, bulk=BULK)

    async def one(self, request: Request) -> Response:
        handle = request.query_params.get("handle", "")

        def read() -> dict[str, Any]:
            with explained():
                jobs = self.desk.connection.jobs
                job = jobs.get(handle)
                if job is None:
                    raise NotShown("There is no such job", f"{handle or 'An empty handle'} is not known.")
                orders = list(jobs.orders(handle))
            counts = Counter(order.result or "LEFT" for order in orders)
            return {
                "job": job,
                "done": counts[Result.DONE],
                "refused": counts[Result.REFUSED],
                "left": job.orders - counts[Result.DONE] - counts[Result.REFUSED],
                "refusals": list(islice((order for order in orders if order.result is Result.REFUSED), REFUSALS)),
                "orders": orders[:SHOWN],
                "is_here": self.runner.is_running(handle),
                "stopped": self.runner.stopped(handle),
                "commands": [self.desk.command("orders", "jobs", "show", handle)],
            }

        return await live_page(request, "job.html", paced(read), handle=handle, shown=SHOWN, bulk=BULK)

    async def ask_job(self, request: Request) -> Response:
        action, handle = request.query_params.get("action", ""), request.query_params.get("handle", "")
        if action not in JOB_ACTIONS:
            return outcome(request, title="Refused", text="There is no such action.", is_error=True)
        title, says = JOB_ACTIONS[action]
        command = self.desk.command("orders", "jobs", action, handle)
        hidden = {"action": action, "handle": handle}
        post = "/orders/job/act"
        return ask(request, "confirm.html", post=post, hidden=hidden, title=title, says=says, command=command)

    async def act(self, request: Request) -> Response:
        given = await form(request)
        action, handle = given.get("action", ""), given.get("handle", "")
        if action not in JOB_ACTIONS:
            return outcome(request, title="Refused", text="There is no such action.", is_error=True)
        what = f"job {handle}"

        def run() -> str:
            with self.desk.action(action, what):
                jobs = self.desk.connection.jobs
                job = jobs.get(handle)
                if job is None:
                    raise NotShown("Nothing was done", "There is no such job.")
                if action == "abort":
                    if not jobs.abort(handle):
                        raise NotShown("Nothing was done", f"The job is {job.status} already.")
                    unlogged = self.desk.record(action, what, "no further action begins")
                    return f"No further action begins. What was done stays done.{unlogged}"
                may = job.status is JobStatus.RUNNING or (job.status is JobStatus.ABORTED and jobs.reopen(handle))
                if not may:
                    raise NotShown(
                        "Nothing was done", f"The job is {job.status}, or not all of its orders were written."
                    )
                unlogged = self.desk.record(action, what, "resumed")
                self.runner.start(job)
            return f"The job continues with the orders that are left.{unlogged}"

        try:
            text = await run_in_threadpool(run)
        except FAILURES as error:
            problem = problem_of(error)
            return outcome(request, title=problem.title, text=problem.text, is_error=True)
        console_of(request).poller.soon()
        return outcome(request, title=JOB_ACTIONS[action][0], text=text)

    def _dry_run(self, action: ActionName, given: QueryParams) -> DryRun:
        from tools.console.screens.orders import Chosen  # noqa: PLC0415 (the list's section has these routes)

        acts_on = ACTS_ON[action]
        with explained():
            if given.get("scope") != "all":
                return self._named(list(dict.fromkeys(given.getlist("order"))), acts_on)
            chosen = Chosen.of(given).filter
            if chosen is None:
                raise NotShown(
                    "A job cannot select these",
                    "It selects by state, error, customer and the age of the last change. Choose one of these "
                    "and no other, or choose the orders one by one.",
                )
            return self._matching(chosen, acts_on)

    def _matching(self, chosen: Filter, acts_on: frozenset[State]) -> DryRun:
        found = {entry.order_id: entry for entry in entries(self.desk.connection.ledger_items, chosen, acts_on)}
        return _dry_run_of(chosen.options, list(found.values()), [])

    def _named(self, order_ids: list[str], acts_on: frozenset[State]) -> DryRun:
        if not order_ids:
            raise NotShown("No order is chosen", "Choose orders in the list, or all that match the filter.")
        if len(order_ids) > MOST_NAMED:
            raise NotShown("Too many orders", f"At most {MOST_NAMED} can be chosen one by one.")
        items = self.desk.connection.ledger_items.of(order_ids)
        good, refused = [], []
        for order_id in order_ids:
            if order_id not in items:
                refused.append((order_id, "not in the ledger"))
                continue
            try:
                entry = LedgerEntry.of(items[order_id])
            except EntryUnreadable:
                refused.append((order_id, "its item cannot be read"))
                continue
            if entry.state in acts_on:
                good.append(entry)
            else:
                refused.append((order_id, str(entry.state)))
        return _dry_run_of((), good, refused)

    def _command(self, action: str, found: DryRun) -> str | None:
        """The same for a shell. A command pauses by ids and by one state only."""
        if not found.orders or (found.options and action in {"pause", "resume"}):
            return None
        return self.desk.command("orders", *action.split(), *(found.options or found.orders))


JOB_ACTIONS: Final = {
    "abort": ("Abort the job", "No further action begins. What was done stays done, and the job can be resumed."),
    "resume": ("Resume the job", "The action is taken on the orders that are left."),
}


def _dry_run_of(options: Sequence[str], good: Sequence[LedgerEntry], refused: Sequence[tuple[str, str]]) -> DryRun:
    states = Counter(str(entry.state) for entry in good)
    return DryRun(options, {entry.order_id: entry.attempt for entry in good}, states, refused)
