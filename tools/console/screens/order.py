"""One order: why it is where it is, what happened to it, what it cost, and what can be done."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

from botocore.exceptions import ClientError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from durable_local.console import ask, live_page, outcome
from durable_local.console.pages import console_of, form
from durable_local.console.problem import FAILURES, NotShown, Problem, problem_of
from shared.errors import InvalidOrder
from shared.ledger.entry import LedgerEntry
from shared.ledger.states import PATH, TERMINAL, State
from shared.orders.order import Order, parse_order
from tools.console.desk import Desk, explained
from tools.console.differences import differences
from tools.console.order_actions import ACTIONS, OrderAction, possible
from tools.console.order_timeline import order_timeline
from tools.operations.costs import Deployment, charges, cost
from tools.operations.prices import REGION
from tools.operations.retry import retry
from tools.operations.timeline import Attempt, attempts_of, events_of
from tools.operations.why import Cause, Evidence, Why, decide

HEALTHY: Final = frozenset({Cause.WAITING, Cause.NOTHING_WRONG})
WORDS: Final[Mapping[Cause, str]] = {
    Cause.WAITING: "It waits, as it should.",
    Cause.RETRYING: "A step failed and is tried again.",
    Cause.PAUSED: "Its execution is paused.",
    Cause.INTAKE_PAUSED: "Intake is paused.",
    Cause.THROTTLED: "AWS throttles the calls.",
    Cause.LEDGER_AWAY: "The ledger does not answer.",
    Cause.ENRICHER_AWAY: "The enricher does not answer.",
    Cause.EXECUTION_GONE: "Its execution is gone.",
    Cause.RECONCILER_BEHIND: "Its execution has ended, and the reconciler has not recorded that yet.",
    Cause.CONFLICT: "Another order came with the same id.",
    Cause.NEVER_ARRIVED: "It never arrived.",
    Cause.NOTHING_WRONG: "It runs.",
}
"""What each cause says about an order that has not ended."""


def order_routes(desk: Desk) -> list[Route]:
    """The page, the question and the action, and the retry with an edited order."""
    views = _Views(desk)
    return [
        Route("/orders/one", views.one),
        Route("/orders/act", views.ask, methods=["GET"]),
        Route("/orders/act", views.act, methods=["POST"]),
        Route("/orders/edit", views.edit, methods=["GET", "POST"]),
    ]


@dataclass(frozen=True)
class Compared:
    """An attempt beside the others. `order` is what its execution was started with, None if Lambda lost it."""

    attempt: Attempt
    order: Any
    changed: Sequence[Any]


@dataclass
class _Views:
    desk: Desk

    async def one(self, request: Request) -> Response:
        order_id = request.query_params.get("id", "")
        page = _Page(self.desk, order_id, request.query_params.get("attempt", ""))
        return await live_page(request, "order.html", page.read, order_id=order_id, healthy=HEALTHY, path=PATH)

    async def ask(self, request: Request) -> Response:
        name, order_id = request.query_params.get("action", ""), request.query_params.get("id", "")
        action = ACTIONS.get(name)
        if action is None:
            return outcome(request, title="Refused", text=f"There is no action {name}.", is_error=True)
        return ask(
            request,
            "order_act.html",
            action=action,
            name=name,
            order_id=order_id,
            attempt=request.query_params.get("attempt", ""),
            command=self.desk.command("orders", *action.command(order_id)) if action.command else None,
        )

    async def act(self, request: Request) -> Response:
        given = await form(request)
        action, order_id = ACTIONS.get(given.get("action", "")), given.get("id", "")
        if action is None:
            return outcome(request, title="Refused", text="There is no such action.", is_error=True)
        return await self._done(request, action.title, lambda: self._run(action, order_id, given))

    def _run(self, action: OrderAction, order_id: str, given: Mapping[str, str]) -> str:
        with self.desk.action(action.name, order_id):
            text = action.run(self.desk.connection, order_id, given)
        return f"{order_id}: {text}.{self.desk.record(action.name, order_id, text)}"

    async def _done(self, request: Request, title: str, run: Any) -> Response:
        try:
            text = await run_in_threadpool(run)
        except FAILURES as error:
            problem = problem_of(error)
            return outcome(request, title=problem.title, text=problem.text, is_error=True)
        console_of(request).poller.soon()
        return outcome(request, title=f"{title}: done", text=text)

    async def edit(self, request: Request) -> Response:
        """The editor; then what was changed, or what is wrong; then the retry."""
        given = await form(request) if request.method == "POST" else request.query_params
        order_id = given.get("id", "")

        def look() -> tuple[LedgerEntry, str]:
            with explained():
                entry = self.desk.connection.ledger.get(order_id)
            if entry is None:
                raise NotShown("Nothing was done", f"Order {order_id} is not in the ledger.")
            return entry, given.get("text") or json.dumps(dict(entry.order), indent=2, ensure_ascii=False)

        try:
            entry, text = await run_in_threadpool(look)
        except FAILURES as error:
            problem = problem_of(error)
            return outcome(request, title=problem.title, text=problem.text, is_error=True)
        order, mistakes = _checked(text, order_id) if request.method == "POST" else (None, [])
        if order is not None and given.get("send"):
            corrected = order
            return await self._done(request, "Retry", lambda: self._retry(order_id, corrected, given))
        changed = differences(dict(entry.order), order.canonical()) if order is not None else None
        return ask(
            request,
            "order_edit.html",
            order_id=order_id,
            attempt=given.get("attempt", str(entry.attempt)),
            text=text,
            mistakes=mistakes,
            changed=changed,
            command=self.desk.command("orders", "retry", order_id, "--with", "order.json"),
        )

    def _retry(self, order_id: str, corrected: Order, given: Mapping[str, str]) -> str:
        seen = given.get("attempt", "")
        with self.desk.action("retry", order_id):
            connection = self.desk.connection
            started = retry(
                order_id,
                connection.ledger,
                connection.executions,
                corrected,
                of_attempt=int(seen) if seen.isdecimal() else None,
            )
        text = f"attempt {started.attempt}, executionArn {started.execution_arn}, with an edited order"
        return f"{order_id}: {text}.{self.desk.record('retry', order_id, text)}"


def _checked(text: str, order_id: str) -> tuple[Order | None, list[tuple[str, str]]]:
    """The order, or its mistakes: fields and reasons."""
    try:
        order = parse_order(text)
    except InvalidOrder as error:
        mistakes = [(each.field, each.reason) for each in error.errors]
        return None, mistakes or [("", f"{error.code}: {error}")]
    if order.order_id != order_id:
        return None, [("orderId", f"must stay {order_id}: another id is another order")]
    return order, []


class _Page:
    """One page's reads. What can no longer change is read once."""

    def __init__(self, desk: Desk, order_id: str, attempt: str) -> None:
        self._desk = desk
        self._order_id = order_id
        self._attempt = int(attempt) if attempt.isdecimal() else None
        self._events: dict[str, list[Any]] = {}
        self._why_of: tuple[float, int | None, Evidence | None, Why | None, Problem | None] | None = None

    def read(self) -> dict[str, Any]:
        """What the template shows."""
        if not self._order_id:
            raise NotShown("Which order?", "The address has no id. Choose an order in the list.")
        with explained():
            return self._read()

    def _read(self) -> dict[str, Any]:
        connection = self._desk.connection
        entry = connection.ledger.get(self._order_id)
        known, why, problem = self._why(entry)
        common = {
            "entry": entry,
            "why": why,
            "why_problem": problem,
            "words": self._words(entry, why),
            "next_command": self._command(why.next_command) if why and why.next_command else None,
            "waits": None,
        }
        if entry is None:
            return common
        events = {arn: self._events_of(arn, entry) for arn in _arns(entry)}
        attempts = attempts_of(entry, events)
        now = self._desk.source.now()
        shown = {each.attempt: events[each.execution_arn] for each in attempts if self._attempt in {None, each.attempt}}
        used = charges(entry, Deployment.of(connection.parameters))
        execution = known.execution if known else None
        return common | {
            "timeline": order_timeline(entry, shown, now) if shown else None,
            "shown_attempt": self._attempt,
            "compared": _compared(attempts, events),
            "lost": [each.attempt for each in attempts if not each.events],
            "cost": cost(used),
            "charges": used,
            "region": REGION,
            "possible": possible(entry, execution.status if execution else None),
            "waits": _left(execution.waits_until, now) if execution and execution.waits_until else None,
            "commands": self._commands(entry),
            "durations": _durations(entry),
        }

    def _why(self, entry: LedgerEntry | None) -> tuple[Evidence | None, Why | None, Problem | None]:
        """Why the order does not move, decided again after some seconds or a transition. None for a good end."""
        if entry is not None and entry.state in {State.COMPLETED, State.CANCELLED}:
            return None, None, None
        version = entry.version if entry else None
        if self._why_of is None or self._why_of[1] != version or time.monotonic() > self._why_of[0]:
            known: Evidence | None = None
            why: Why | None = None
            problem: Problem | None = None
            try:
                with explained():
                    known = self._desk.connection.evidence.of(self._order_id)
                    why = decide(known)
            except FAILURES as error:
                problem = problem_of(error)
            self._why_of = time.monotonic() + self._desk.source.poll_seconds * 3, version, known, why, problem
        return self._why_of[2:]

    def _words(self, entry: LedgerEntry | None, why: Why | None) -> str:
        if entry is not None and entry.error is not None:
            return ""
        if entry is not None and entry.state in TERMINAL:
            return f"It ended {entry.state}."
        return WORDS[why.cause] if why else ""

    def _events_of(self, arn: str, entry: LedgerEntry) -> list[Any]:
        found = self._events.get(arn)
        if found is None or not (found and found[-1]["EventType"].startswith("Execution") and len(found) > 1):
            try:
                found = list(events_of(self._desk.connection.aws_lambda, arn))
            except ClientError as error:
                # An entry that somebody edited can have anything as its ARN.
                if error.response["Error"]["Code"] != "InvalidParameterValueException":
                    raise
                found = []
            if found or entry.state in TERMINAL:
                self._events[arn] = found
        return found

    def _command(self, command: str) -> str:
        return self._desk.command(*command.split())

    def _commands(self, entry: LedgerEntry) -> list[str]:
        desk, key = self._desk, json.dumps({"orderId": {"S": entry.order_id}})
        table = desk.connection.outputs["LedgerTableName"]
        orders = [desk.command("orders", name, entry.order_id) for name in ("get", "why", "history")]
        return [
            *orders,
            desk.command("aws", "dynamodb", "get-item", "--table-name", table, "--key", key),
            desk.command(
                "aws",
                "lambda",
                "get-durable-execution-history",
                "--durable-execution-arn",
                entry.execution_arn,
                "--include-execution-data",
            ),
        ]


def _arns(entry: LedgerEntry) -> list[str]:
    return [step.execution_arn for step in entry.history if step.execution_arn is not None]


def _left(until: datetime, now: datetime) -> float:
    """The seconds until a time, whole, so that a page does not change at each look."""
    return max(round((until - now).total_seconds()), 0)


def _durations(entry: LedgerEntry) -> list[float | None]:
    """How long the order was in each state of its history, in seconds; None for the last."""
    times = [datetime.fromisoformat(step.at).astimezone(UTC) for step in entry.history]
    return [*((after - at).total_seconds() for at, after in pairwise(times)), None]


def _compared(attempts: Sequence[Attempt], events: Mapping[str, list[Any]]) -> list[Compared]:
    found: list[Compared] = []
    for attempt in attempts:
        order = _input(events[attempt.execution_arn])
        before = found[-1].order if found else None
        changed = differences(before, order) if before is not None and order is not None else []
        found.append(Compared(attempt, order, changed))
    return found


def _input(events: Sequence[Any]) -> Any:
    """What an execution was started with, None if Lambda no longer has it."""
    text = events[0].get("ExecutionStartedDetails", {}).get("Input", {}).get("Payload") if events else None
    try:
        return json.loads(text) if text else None
    except ValueError:
        return None
