"""Builds a console out of sections: one navigation, one set of templates, one poller, one guard."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from durable_local.console import display
from durable_local.console.guard import STATIC, Guard, GuardMiddleware
from durable_local.console.live import Poller

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Section:
    """One entry of the navigation with its pages.

    `path`: the address of its first page; its routes begin with it. `templates`: folders, searched after the
    console's own.
    """

    title: str
    path: str
    routes: Sequence[BaseRoute]
    templates: Sequence[Path] = ()


@dataclass
class Console:
    """What every page of one console has: `request.app.state.console`."""

    sections: Sequence[Section]
    guard: Guard
    poller: Poller
    environment: Environment
    title: str
    notices: Sequence[str] = ()
    # Says to a page of an earlier process that it is one.
    instance: str = field(default_factory=lambda: secrets.token_hex(4))


def create_app(
    sections: Sequence[Section],
    guard: Guard,
    *,
    title: str,
    notices: Sequence[str] = (),
    poll_seconds: float = 1,
) -> Starlette:
    """The console as an ASGI application.

    `notices`: sentences that every page shows above its content, such as that the clock is faster. `poll_seconds`: how
    often what is open is read again.
    """
    console = Console(
        sections, guard, Poller(poll_seconds), _environment(sections), title, _with_read_only(guard, notices)
    )

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        polling = asyncio.create_task(console.poller.run())
        yield
        polling.cancel()

    async def first(_request: Request) -> Response:
        return RedirectResponse(sections[0].path)

    app = Starlette(
        routes=[
            Mount(STATIC.rstrip("/"), StaticFiles(directory=HERE / "static")),
            *(route for section in sections for route in section.routes),
            *([] if any(section.path == "/" for section in sections) else [Route("/", first)]),
        ],
        middleware=[Middleware(GuardMiddleware, guard=guard)],
        lifespan=lifespan,
    )
    app.state.console = console
    return app


def _with_read_only(guard: Guard, notices: Sequence[str]) -> list[str]:
    return [*(["Read-only: this console shows everything and changes nothing."] if guard.read_only else []), *notices]


def _environment(sections: Sequence[Section]) -> Environment:
    folders = [HERE / "templates", *(folder for section in sections for folder in section.templates)]
    environment = Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(display.FILTERS)
    # Not imported by each template: a stream renders one block, without what stands around it.
    environment.globals["ui"] = environment.get_template("ui.html").module
    return environment
