"""Rejected and dead letters: messages that are no longer on their way, why, and how they return.

SQS has no list of a queue's messages. So the page follows only how many there are; it receives a sample when somebody
asks, keeps that sample until the next look, and receives again only to send or delete what was chosen.
"""

import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from http import HTTPStatus
from typing import Any, Final, Literal

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from durable_local.console import Section, ask, live_page, outcome
from durable_local.console.pages import console_of, form
from durable_local.console.problem import FAILURES, NotShown, Problem, problem_of
from shared.aws.rejected_orders import ATTRIBUTES
from shared.errors import InvalidOrder
from shared.ledger.entry import LedgerEntry
from shared.orders.order import Order, parse_order
from tools.console.body_marks import Piece, marked
from tools.console.desk import Desk, explained
from tools.console.kept import Kept
from tools.console.screens import TEMPLATES
from tools.operations.progress import Depth, depth
from tools.operations.queues import Moved, Queue, QueueMessage, redrive
from tools.operations.resend import resend
from tools.orders_cli.messages import MOST

PATH: Final = "/rejected"
SAMPLES: Final = (10, 50)
"""How many messages a look can receive."""

MAX_SHOWN: Final = 100_000
"""How many characters of a body are shown."""

REDRIVE_PER_SECOND: Final = 50
"""As `orders dlq redrive` without an option."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """A queue that the screen shows. `output` and `back`: the stack's outputs of it and of the queue that its messages
    return to. `what`: its name in the operations log. `about`: what its messages are about. `actions`: what can be done
    with them.
    """

    title: str
    what: str
    output: str
    command: tuple[str, ...]
    back: str = ""
    back_name: str = ""
    is_dead: bool = True
    about: Literal["Order", "Execution", "Records"] = "Order"
    actions: tuple[str, ...] = ("send", "redrive", "purge")

    def purge_command(self) -> list[str]:
        """The words after `orders`."""
        return [self.command[0], "purge", *self.command[1:]]


SOURCES: Final[Mapping[str, Source]] = {
    "rejected": Source(
        "Rejected orders",
        "rejected-orders queue",
        "RejectedOrdersQueueUrl",
        ("rejected",),
        "OrdersQueueUrl",
        "orders queue",
        is_dead=False,
        actions=("send", "purge"),
    ),
    "orders": Source(
        "Dead letters of orders",
        "dead letters of orders",
        "OrdersDlqUrl",
        ("dlq", "--queue", "orders"),
        "OrdersQueueUrl",
        "orders queue",
    ),
    "status-changes": Source(
        "Dead letters of status changes",
        "dead letters of status-changes",
        "StatusChangesDlqUrl",
        ("dlq", "--queue", "status-changes"),
        "StatusChangesQueueUrl",
        "status changes queue",
        about="Execution",
    ),
    # Lambda sent them, and from no queue.
    "events": Source(
        "Dead letters of events",
        "dead letters of events",
        "EventsDlqUrl",
        ("dlq", "--queue", "events"),
        about="Records",
        actions=("purge",),
    ),
}
"""By the name in an address."""


@dataclass(frozen=True)
class Seen:
    """A message of the last look, read as far as it can be."""

    message: QueueMessage

    @property
    def id(self) -> str:
        """SQS's id."""
        return self.message.message_id

    @property
    def sent(self) -> datetime | None:
        """When it was sent to this queue."""
        milliseconds = self._system("SentTimestamp")
        return datetime.fromtimestamp(int(milliseconds) / 1000, UTC) if milliseconds else None

    @property
    def receives(self) -> str:
        """How often it was received, each look included."""
        return self._system("ApproximateReceiveCount") or ""

    @property
    def reason(self) -> str | None:
        """The code of the reject."""
        return self.message.attribute("reasonCode")

    @cached_property
    def errors(self) -> list[tuple[str, str]]:
        """Fields and reasons of the reject. Anybody who may send to the queue can have written them."""
        try:
            listed = json.loads(self.message.attribute("fieldErrors") or "[]")
            return [(str(each["field"]), str(each["reason"])) for each in listed]
        except (ValueError, TypeError, KeyError, RecursionError):
            return [("", self.message.attribute("fieldErrors") or "")]

    @cached_property
    def pieces(self) -> list[Piece]:
        """The body, as far as it is shown, with the places of the errors."""
        left, shown = MAX_SHOWN, []
        for piece in marked(self.message.body, [field for field, _ in self.errors]):
            if left <= 0:
                break
            shown.append(Piece(piece.text[:left], piece.errors))
            left -= len(piece.text)
        return shown

    @property
    def is_cut(self) -> bool:
        """Whether the body is longer than what is shown."""
        return len(self.message.body) > MAX_SHOWN

    @property
    def places(self) -> set[int]:
        """The numbers of the errors that have a place in the shown body."""
        return {number for piece in self.pieces for number in piece.errors}

    @property
    def attributes(self) -> list[tuple[str, str]]:
        """What it came with beside the body, the pipeline's own attributes aside."""
        theirs = self.message.message.get("MessageAttributes", {})
        return [
            *((name, value.get("StringValue", "(binary)")) for name, value in theirs.items() if name not in ATTRIBUTES),
            *((name, text) for name in ("MessageGroupId", "AWSTraceHeader") if (text := self._system(name))),
        ]

    @property
    def execution_arn(self) -> str | None:
        """The execution that a status change is about, or whose input was rejected."""
        source = self.message.attribute("sourceMessageId") or ""
        if source.startswith("arn:"):
            return source
        try:
            found = json.loads(self.message.body)["detail"]["durableExecutionArn"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
        return found if isinstance(found, str) else None

    @property
    def records(self) -> str | None:
        """How many records of the ledger's stream a dead letter of events names, and when they came."""
        try:
            batch = json.loads(self.message.body)["DDBStreamBatchInfo"]
            first, last = batch["approximateArrivalOfFirstRecord"], batch["approximateArrivalOfLastRecord"]
            return f"{batch['batchSize']} from {first} to {last}"
        except (ValueError, TypeError, KeyError, RecursionError):
            return None

    def _system(self, name: str) -> str | None:
        found: Mapping[str, str] = self.message.message.get("Attributes", {})  # type: ignore[assignment]
        return found.get(name)


@dataclass(frozen=True)
class Look:
    """What the last look received."""

    at: datetime
    limit: int
    messages: Mapping[str, Seen]

    def without(self, ids: Sequence[str]) -> "Look":
        """After these have left the queue."""
        return Look(self.at, self.limit, {key: seen for key, seen in self.messages.items() if key not in ids})


def section(desk: Desk) -> Section:
    """The section of this screen."""
    views = _Views(desk)
    routes = [
        Route(PATH, views.listing),
        Route(f"{PATH}/look", views.look, methods=["POST"]),
        Route(f"{PATH}/one", views.one),
        Route(f"{PATH}/act", views.ask, methods=["GET"]),
        Route(f"{PATH}/act", views.act, methods=["POST"]),
        Route(f"{PATH}/edit", views.edit, methods=["GET", "POST"]),
    ]
    return Section("Rejected", PATH, routes, [TEMPLATES])


class _Views:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._depths = Kept(self._read_depths, 2 if desk.local else 10)
        self._looks: dict[str, Look] = {}
        self._problems: dict[str, Problem] = {}
        self._moves: dict[str, Moved | str] = {}
        self._actions: dict[str, tuple[str, Callable[[str, Source, list[str]], str]]] = {
            "send": ("Sent", self._send),
            "redrive": ("The redrive runs", self._redrive),
            "purge": ("Purged", self._purge),
        }

    async def listing(self, request: Request) -> Response:
        name, source = _source(request.query_params)

        def read() -> dict[str, Any]:
            return {
                "depths": self._depths.look(),
                "look": self._looks.get(name),
                "look_problem": self._problems.get(name),
                "move": self._moves.get(name),
            }

        return await live_page(
            request, "rejected.html", read, name=name, source=source, sources=SOURCES, samples=SAMPLES
        )

    async def look(self, request: Request) -> Response:
        """Receive a sample. The pages that are open show it."""
        given = await form(request)
        name, source = _source(given)
        limit = next((each for each in SAMPLES if given.get("limit") == str(each)), SAMPLES[0])

        def receive() -> None:
            with explained(), self._queue(source).sample(limit) as found:
                messages = {message.message_id: Seen(message) for message in found}
            self._looks[name] = Look(datetime.now(UTC), limit, messages)
            self._depths.forget()

        try:
            await run_in_threadpool(receive)
            self._problems.pop(name, None)
        except FAILURES as error:
            self._problems[name] = problem_of(error)
        console_of(request).poller.soon()
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def one(self, request: Request) -> Response:
        name, source = _source(request.query_params)
        message_id = request.query_params.get("id", "")

        def read() -> dict[str, Any]:
            seen = self._seen(name, message_id)
            if seen is None:
                raise NotShown(
                    "The message is not in the last look",
                    "It was sent or deleted, another look was taken since, or this console was started again. "
                    "Look again: SQS cannot be asked for one message.",
                )
            return {"seen": seen, "commands": self._commands(source, message_id)}

        return await live_page(
            request, "rejected_one.html", read, name=name, source=source, message_id=message_id, most=MAX_SHOWN
        )

    async def ask(self, request: Request) -> Response:
        given = request.query_params
        name, source = _source(given)
        action, ids = given.get("action", ""), list(dict.fromkeys(given.getlist("message")))
        if action not in source.actions:
            return outcome(request, title="Refused", text="There is no such action.", is_error=True)
        if action == "send" and not ids:
            return outcome(request, title="No message is chosen", text="Choose messages in the list.", is_error=True)
        try:
            about = await run_in_threadpool(lambda: self._count(source)) if action != "send" else len(ids)
        except FAILURES as error:
            return _problem(request, error)
        return ask(
            request,
            "rejected_act.html",
            action=action,
            name=name,
            source=source,
            ids=ids,
            about=about,
            per_second=REDRIVE_PER_SECOND,
            command=self._command(source, action, ids),
        )

    async def act(self, request: Request) -> Response:
        given = await form(request)
        name, source = _source(given)
        action, ids = given.get("action", ""), list(dict.fromkeys(given.getlist("message")))
        if action not in source.actions:
            return outcome(request, title="Refused", text="There is no such action.", is_error=True)
        title, run = self._actions[action]
        return await self._done(request, title, lambda: run(name, source, ids))

    async def edit(self, request: Request) -> Response:
        """The editor; then what is wrong, or that it is an order; then the send."""
        given = await form(request) if request.method == "POST" else request.query_params
        name, source = _source(given)
        message_id = given.get("id", "")
        seen = self._seen(name, message_id)
        if source.about != "Order" or (seen is None and "text" not in given):
            return outcome(
                request, title="Nothing to edit", text="The message is not in the last look. Look again.", is_error=True
            )
        text = given.get("text", seen.message.body if seen else "")
        order, mistakes = _checked(text) if request.method == "POST" else (None, [])
        if order is not None and given.get("send"):
            valid = order
            return await self._done(
                request, "Sent as new", lambda: self._send(name, source, [message_id], text), valid.order_id
            )
        try:
            known = await run_in_threadpool(lambda: self._known(order)) if order is not None else None
        except FAILURES as error:
            return _problem(request, error)
        return ask(
            request,
            "rejected_edit.html",
            name=name,
            source=source,
            message_id=message_id,
            text=text,
            mistakes=mistakes,
            order=order,
            known=known,
            is_same=known is not None and order is not None and known.order_digest == order.digest(),
            command=self._desk.command("orders", "rejected", "resend", message_id, "--with", "order.json")
            if not source.is_dead
            else None,
        )

    async def _done(
        self, request: Request, title: str, run: Callable[[], str], order_id: str | None = None
    ) -> Response:
        try:
            text = await run_in_threadpool(run)
        except FAILURES as error:
            return _problem(request, error)
        self._depths.forget()
        if order_id is None:
            return outcome(request, title=title, text=text)
        console_of(request).poller.soon()
        return ask(request, "rejected_sent.html", title=title, text=text, order_id=order_id)

    def _queue(self, source: Source) -> Queue:
        connection = self._desk.connection
        return Queue(connection.sqs, connection.outputs[source.output])

    def _read_depths(self) -> dict[str, Depth]:
        connection = self._desk.connection
        return {name: depth(connection.sqs, connection.outputs[source.output]) for name, source in SOURCES.items()}

    def _count(self, source: Source) -> int:
        with explained():
            return self._queue(source).count()

    def _seen(self, name: str, message_id: str) -> Seen | None:
        look = self._looks.get(name)
        return look.messages.get(message_id) if look else None

    def _known(self, order: Order) -> LedgerEntry | None:
        with explained():
            return self._desk.connection.ledger.get(order.order_id)

    def _left(self, name: str, ids: Sequence[str]) -> None:
        if look := self._looks.get(name):
            self._looks[name] = look.without(ids)

    def _send(self, name: str, source: Source, ids: list[str], body: str | None = None) -> str:
        """Send these messages to the queue that they return to. Each that was sent is in the log."""
        new: list[str] = []
        done: list[str] = []
        unlogged = ""
        with self._desk.action(self._verb(source), f"message {ids[0]}" if len(ids) == 1 else source.what):
            connection, queue = self._desk.connection, self._queue(source)
            back = connection.outputs[source.back]
            with queue.sample(MOST, ids) as found:
                for message in found:
                    if message.message_id in ids:
                        new.append(resend(connection.sqs, queue.url, back, message.message, body))
                        done.append(message.message_id)
                        self._left(name, done)
                        edited = ", with an edited body" if body is not None else ""
                        unlogged = self._desk.record(
                            self._verb(source), f"message {message.message_id}", f"sent as {new[-1]}{edited}"
                        )
        if not done:
            raise NotShown(
                "Nothing was sent",
                f"No such message is among {MOST} received. Somebody else's look may hide it for now: try again.",
            )
        missing = len(ids) - len(done)
        hidden = f" {missing} not found: they may be hidden for now." if missing else ""
        names = f"as {new[0]}" if len(new) == 1 else f"{len(new)} messages"
        return f"Sent to the {source.back_name} {names}, and no longer in the {source.what}.{hidden}{unlogged}"

    def _verb(self, source: Source) -> str:
        return "redrive" if source.is_dead else "resend"

    def _purge(self, name: str, source: Source, _ids: list[str]) -> str:
        with self._desk.action("purge", source.what):
            self._queue(source).purge()
        unlogged = self._desk.record("purge", source.what, "purged")
        self._looks.pop(name, None)
        return f"{source.title}: all messages are deleted. SQS takes up to a minute.{unlogged}"

    def _redrive(self, name: str, source: Source, _ids: list[str]) -> str:
        with self._desk.action("redrive", source.what):
            connection = self._desk.connection
            dead, alive = self._queue(source), Queue(connection.sqs, connection.outputs[source.back])
        unlogged = self._desk.record("redrive", source.what, "started")
        self._moves[name] = Moved("RUNNING", 0)
        threading.Thread(target=self._move, args=(name, source, dead, alive), daemon=True).start()
        return f"SQS moves the messages. The page shows how many; the operations log gets a line at the end.{unlogged}"

    def _move(self, name: str, source: Source, dead: Queue, alive: Queue) -> None:
        try:
            with self._desk.action("redrive", source.what):
                for moved in redrive(dead, alive, REDRIVE_PER_SECOND):
                    self._moves[name] = moved
                    self._depths.forget()
            self._looks.pop(name, None)
            self._desk.record("redrive", source.what, f"{moved.status}: {moved.messages} moved")
        except FAILURES as error:
            self._moves[name] = str(problem_of(error))
            logger.warning("the redrive of %s cannot be followed", source.what, exc_info=True)

    def _command(self, source: Source, action: str, ids: Sequence[str]) -> str | None:
        if action == "purge":
            return self._desk.command("orders", *source.purge_command())
        if action == "redrive":
            return self._desk.command("orders", "dlq", "redrive", *source.command[1:])
        if source.is_dead or len(ids) > 1:
            return None
        return self._desk.command("orders", "rejected", "resend", *ids)

    def _commands(self, source: Source, message_id: str) -> list[str]:
        name, *options = source.command
        return [self._desk.command("orders", name, "show", message_id, *options)]


def _source(given: Mapping[str, str]) -> tuple[str, Source]:
    """The queue that an address or a form names; the rejected-orders queue for any other name."""
    name = given.get("queue", "")
    name = name if name in SOURCES else "rejected"
    return name, SOURCES[name]


def _problem(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    return outcome(request, title=problem.title, text=problem.text, is_error=True)


def _checked(text: str) -> tuple[Order | None, list[tuple[str, str]]]:
    """The order, or its mistakes: fields and reasons."""
    try:
        return parse_order(text), []
    except InvalidOrder as error:
        return None, [(each.field, each.reason) for each in error.errors] or [("", f"{error.code}: {error}")]
