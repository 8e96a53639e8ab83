"""Executions of any durable function: a list, one execution, and what can be done to it."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from durable_local import executions
from durable_local.console import actions, pages
from durable_local.console.app import Section
from durable_local.console.problem import FAILURES, problem_of
from durable_local.console.source import Source
from durable_local.console.timeline import timeline

logger = logging.getLogger(__name__)

PAGE_SIZE = 50
# With a name prefix, which Lambda cannot filter by: how many executions one page looks at.
PREFIX_PAGES, PREFIX_PAGE_SIZE = 5, 200
# Without a chosen function: the newest of each, if there are few functions.
MAX_FUNCTIONS = 12
FUNCTIONS_SECONDS = 10
STATUSES = ("RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "STOPPED", "PAUSING", "PAUSED")


def _logged(action: str, arn: str, result: str) -> str:
    logger.warning("%s %s: %s", action, arn, result)
    return ""


def executions_section(
    source: Source,
    *,
    stack: str | None = None,
    path: str = "/executions",
    record: Callable[[str, str, str], str] | None = None,
) -> Section:
    """The section. `stack`: only the functions of this CloudFormation stack.

    `record` is called after each action with its name, the execution's ARN and what happened. What it returns is added
    to the text that the page shows.
    """
    views = _Views(source, stack, path, record or _logged)
    return Section(
        "Executions",
        path,
        [
            Route(path, views.listing),
            Route(f"{path}/one", views.one),
            Route(f"{path}/act", views.ask, methods=["GET"]),
            Route(f"{path}/act", views.act, methods=["POST"]),
        ],
        [Path(__file__).parent / "templates"],
    )


@dataclass(frozen=True)
class Filter:
    """What the address of the list says. Empty: any."""

    function: str = ""
    status: str = ""
    prefix: str = ""
    after: str = ""
    marker: str = ""

    @classmethod
    def of(cls, request: Request) -> "Filter":
        """The filter in the address."""
        return cls(**{name: request.query_params.get(name, "").strip() for name in cls.__dataclass_fields__})

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of ListDurableExecutionsByFunction."""
        given = {"Statuses": [self.status] if self.status else None, "StartedAfter": self.started_after}
        return {name: value for name, value in given.items() if value}

    @property
    def started_after(self) -> datetime | None:
        """None if nothing, or nothing readable, is given. Without an offset it is UTC."""
        try:
            after = datetime.fromisoformat(self.after)
        except ValueError:
            return None
        return after if after.tzinfo else after.replace(tzinfo=UTC)

    def address(self, path: str, **changed: str) -> str:
        """The list with this filter, changed."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__} | changed
        return f"{path}?{urlencode({name: value for name, value in values.items() if value})}"


@dataclass
class _Views:
    source: Source
    stack: str | None
    path: str
    record: Callable[[str, str, str], str]
    _functions: tuple[float, list[str]] = field(default=(float("-inf"), []))

    async def listing(self, request: Request) -> Response:
        chosen = Filter.of(request)

        def read() -> dict[str, Any]:
            functions = self._durable_functions()
            found, marker, looked_at = self._found(chosen, functions)
            return {"functions": functions, "executions": found, "next_marker": marker, "looked_at": looked_at}

        return await pages.live_page(
            request,
            "executions.html",
            read,
            chosen=chosen,
            path=self.path,
            statuses=STATUSES,
            source=self.source,
            too_many=MAX_FUNCTIONS,
        )

    async def one(self, request: Request) -> Response:
        arn = request.query_params.get("arn", "")

        def read() -> dict[str, Any]:
            client = self.source.client()
            execution = executions.describe(client, arn)
            return {
                "execution": execution,
                "timeline": timeline(executions.history(client, arn), self.source.now()),
                "commands": self.source.commands(
                    "get-durable-execution-history",
                    "--durable-execution-arn",
                    arn,
                    "--include-execution-data",
                    execution=arn,
                ),
                "possible": actions.possible(execution["Status"]),
            }

        return await pages.live_page(request, "execution.html", read, arn=arn, path=self.path, source=self.source)

    async def ask(self, request: Request) -> Response:
        name, arn = request.query_params.get("action", ""), request.query_params.get("arn", "")
        if name not in actions.ACTIONS:
            return pages.outcome(request, title="Refused", text=f"There is no action {name}.", is_error=True)
        action = actions.ACTIONS[name]
        callback = request.query_params.get("callback", "")
        command = self.source.commands(*action.command(arn, callback))[0]
        return pages.ask(
            request,
            "act.html",
            action=action,
            name=name,
            arn=arn,
            callback=callback,
            command=command,
            path=self.path,
        )

    async def act(self, request: Request) -> Response:
        given = await pages.form(request)
        action, arn = actions.ACTIONS.get(given.get("action", "")), given.get("arn", "")
        if action is None:
            return pages.outcome(request, title="Refused", text="There is no such action.", is_error=True)

        def run() -> str:
            try:
                client = self.source.client()
                action.run(client, arn, given)
                status = str(executions.describe(client, arn)["Status"])
            except FAILURES as error:
                self.record(action.title, arn, str(problem_of(error)))
                raise
            return f"{action.done} The execution is now {status}.{self.record(action.title, arn, status)}"

        try:
            text = await run_in_threadpool(run)
        except FAILURES as error:
            problem = problem_of(error)
            return pages.outcome(request, title=problem.title, text=problem.text, is_error=True)
        return pages.outcome(request, title=f"{action.title}: done", text=text)

    def _durable_functions(self) -> list[str]:
        """Their names, read again after some seconds."""
        read, functions = self._functions
        client = self.source.client()
        if time.monotonic() - read > FUNCTIONS_SECONDS:
            known = None if self.stack is None else self._of_stack(self.stack)
            functions = sorted(
                name
                for name, durable in executions.functions(client).items()
                if durable and (known is None or name in known)
            )
            self._functions = time.monotonic(), functions
        return functions

    def _of_stack(self, stack: str) -> set[str]:
        pages_ = self.source.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack)
        return {
            each["PhysicalResourceId"]
            for page in pages_
            for each in page["StackResourceSummaries"]
            if each["ResourceType"] == "AWS::Lambda::Function"
        }

    def _found(self, chosen: Filter, functions: list[str]) -> tuple[list[executions.Execution], str, int]:
        """The executions of one page, newest first; the marker of the next, if any; how many were looked at."""
        client = self.source.client()
        if not chosen.function:
            if len(functions) > MAX_FUNCTIONS:
                return [], "", 0
            each = [self._page(client, name, chosen, "", PAGE_SIZE)[0] for name in functions]
            newest = sorted((one for page in each for one in page), key=itemgetter("StartTimestamp"), reverse=True)
            matching = [one for one in newest if one["DurableExecutionName"].startswith(chosen.prefix)]
            return matching[:PAGE_SIZE], "", len(newest)
        marker, found, looked_at = chosen.marker, [], 0
        size = PREFIX_PAGE_SIZE if chosen.prefix else PAGE_SIZE
        for _ in range(PREFIX_PAGES if chosen.prefix else 1):
            page, marker = self._page(client, chosen.function, chosen, marker, size)
            looked_at += len(page)
            found += [one for one in page if one["DurableExecutionName"].startswith(chosen.prefix)]
            if len(found) >= PAGE_SIZE or not marker:
                break
        return found, marker, looked_at

    def _page(
        self, client: Any, function: str, chosen: Filter, marker: str, size: int
    ) -> tuple[list[executions.Execution], str]:
        more = {"Marker": marker} if marker else {}
        page = client.list_durable_executions_by_function(
            FunctionName=function, MaxItems=size, **chosen.arguments, **more
        )
        return page["DurableExecutions"], page.get("NextMarker", "")
