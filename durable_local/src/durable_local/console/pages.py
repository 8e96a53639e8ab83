"""Answers: a page, a page that follows what it shows, a question, and what an action did."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from markupsafe import Markup
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse

from durable_local.console.app import Console
from durable_local.console.live import message
from durable_local.console.problem import FAILURES, Problem, problem_of

# How long a page waits for its content before it is shown without.
LOADING_SECONDS = 1

logger = logging.getLogger(__name__)

Context = Mapping[str, Any]


def console_of(request: Request) -> Console:
    """The console that answers this request."""
    console: Console = request.app.state.console
    return console


def render(request: Request, template: str, status: int = HTTPStatus.OK, **context: Any) -> Response:
    """A template as a whole, with what base.html needs."""
    console = console_of(request)
    html = console.environment.get_template(template).render(console=console, here=address(request), **context)
    return HTMLResponse(html, status)


def address(request: Request) -> str:
    """Path and query of the request."""
    return f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path


async def live_page(request: Request, template: str, read: Callable[[], Context], **context: Any) -> Response:
    """A page whose block `live` follows what `read` returns, and shows why if a read fails.

    `template` extends base.html and has a block `live`. The block sees `context`, what `read` returned, and `problem`,
    which is None or the reason why the last read failed; then it has the values of the last read that did not. `read`
    runs in a thread, and raises an error of botocore, a LocalStackError or NotShown if it fails. Tabs with the same
    address share its results.

    The page itself and its stream have the same address: the browser asks for a stream by the Accept header.
    """
    console = console_of(request)
    here = address(request)
    last: dict[str, Any] = {}

    def shown(problem: Problem | None) -> str:
        return fragment(console, template, problem, last.get("values"), {**context, "here": here})

    def make() -> str:
        try:
            last["values"] = read()
            return shown(None)
        except FAILURES as error:
            return shown(problem_of(error))
        except Exception:
            # One that does not expect this must not end the poller of all pages.
            logger.exception("%s cannot be shown", here)
            last.clear()
            return shown(Problem("The console has an error", "The terminal where it runs has the details."))

    if "text/event-stream" in request.headers.get("accept", ""):
        greeting = message(console.instance, "console-instance")
        return StreamingResponse(console.poller.stream(here, make, greeting), media_type="text/event-stream")
    reading = asyncio.create_task(console.poller.latest(here, make))
    await asyncio.wait({reading}, timeout=LOADING_SECONDS)
    # The stream brings what takes longer.
    live = reading.result() if reading.done() else console.environment.get_template("loading.html").render()
    return render(request, template, live=Markup(live), **context)  # noqa: S704


def fragment(console: Console, template: str, problem: Problem | None, values: Context | None, context: Context) -> str:
    """The block `live` of a template, below the problem if there is one; only the problem if nothing was read yet."""
    base = console.environment.get_template("problem.html").render(problem=problem, is_stale=values is not None)
    if values is None:
        return base
    chosen = console.environment.get_template(template)
    block = chosen.blocks["live"](chosen.new_context({"console": console, "problem": problem, **context, **values}))
    return base + "".join(block)


async def form(request: Request) -> QueryParams:
    """The fields of a submitted form. A field can come more than once: see `getlist`."""
    return QueryParams(parse_qsl((await request.body()).decode(), keep_blank_values=True))


def ask(request: Request, template: str = "ask.html", **context: Any) -> Response:
    """A question, shown as a dialog: what the action will do, its fields, and a button that does it."""
    return render(request, template, **context)


def outcome(request: Request, *, title: str, text: str, is_error: bool = False) -> Response:
    """What an action did, shown in the dialog that asked; open pages are read again at once."""
    console_of(request).poller.soon()
    return render(request, "outcome.html", title=title, text=text, is_error=is_error)
