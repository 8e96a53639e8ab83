"""Pauses and resumes intake from a page."""

import contextlib
import threading
from collections.abc import Sequence
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from durable_local.console import ask, outcome
from durable_local.console.pages import form
from durable_local.console.problem import FAILURES, problem_of
from tools.console.desk import Desk
from tools.console.kept import Kept

SAYS = {
    "pause": (
        "Pause intake",
        (
            "No message leaves the orders queue until intake is resumed. Orders that have begun continue. SQS deletes "
            "a message that is older than the queue's retention."
        ),
    ),
    "resume": ("Resume intake", "Messages of the orders queue are received again and become orders."),
}


def intake_routes(desk: Desk, shown: Kept[Any]) -> Sequence[Route]:
    """The question and the action. `shown` is read again after it."""

    async def question(request: Request) -> Response:
        action = request.query_params.get("action", "")
        if action not in SAYS:
            return outcome(request, title="Refused", text="There is no such action.", is_error=True)
        title, says = SAYS[action]
        command = desk.command("orders", action, "--intake")
        hidden = {"action": action}
        return ask(request, "confirm.html", post="/intake", hidden=hidden, title=title, says=says, command=command)

    async def act(request: Request) -> Response:
        action = (await form(request)).get("action", "")
        if action not in SAYS:
            return outcome(request, title="Refused", text="There is no such action.", is_error=True)

        def resume() -> str:
            with desk.action("resume", "intake"):
                desk.connection.intake.resume()
            return f"Intake is resumed.{desk.record('resume', 'intake', 'is resumed')}"

        def pause() -> str:
            with desk.action("pause", "intake"):
                intake = desk.connection.intake
            # It ends when ingest is idle, which can take minutes.
            threading.Thread(target=_pause, args=(desk, intake, shown), daemon=True).start()
            return "Intake is being paused. The overview shows when it is; the operations log gets a line then."

        try:
            text = await run_in_threadpool({"pause": pause, "resume": resume}[action])
        except FAILURES as error:
            problem = problem_of(error)
            return outcome(request, title=problem.title, text=problem.text, is_error=True)
        shown.forget()
        return outcome(request, title=SAYS[action][0], text=text)

    return [Route("/intake", question, methods=["GET"]), Route("/intake", act, methods=["POST"])]


def _pause(desk: Desk, intake: Any, shown: Kept[Any]) -> None:
    with contextlib.suppress(*FAILURES), desk.action("pause", "intake"):
        intake.pause()
        desk.record("pause", "intake", "is paused")
    shown.forget()
