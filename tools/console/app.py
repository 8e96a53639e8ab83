"""The console as an application: its screens in the order of the navigation, and the executions of the same stack."""

from typing import Final

from starlette.applications import Starlette

from durable_local import console
from tools.console.desk import Desk
from tools.console.display import FILTERS
from tools.console.screens import agreement, failures, orders, overview, rejected, send

SCREENS: Final = (overview, orders, failures, rejected, send, agreement)
"""Each has a function `section(desk)`."""

EXECUTIONS: Final = "/executions"


def app(desk: Desk, guard: console.Guard) -> Starlette:
    """The application. `guard` says which requests pass."""
    sections = [screen.section(desk) for screen in SCREENS]
    executions = console.executions_section(desk.source, stack=desk.given.stack, path=EXECUTIONS, record=desk.record)
    made = console.create_app(
        [*sections, executions],
        guard,
        title="Order pipeline",
        notices=desk.notices,
        poll_seconds=desk.source.poll_seconds,
    )
    made.state.console.environment.filters.update(FILTERS)
    return made
