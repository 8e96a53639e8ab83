"""Stands before the front door, and does to requests what the rules say."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from typing import TYPE_CHECKING
from urllib.parse import unquote

from aiohttp import web

from durable_local import processes
from durable_local.errors import ApiError
from durable_local.faults.actions import (
    Answer,
    Cut,
    Delay,
    Fail,
    Hold,
    Kill,
    Orphan,
    Point,
    Stall,
    Twice,
    point_of,
)
from durable_local.faults.control import Control
from durable_local.faults.operations import operation_of
from durable_local.faults.rules import Request
from durable_local.gateway.front_door import refusal
from durable_local.gateway.paths import CONTROL_PREFIX
from durable_local.ministack.child import HANDLER

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path
    from typing import Any

    from durable_local.faults.register import Active, Register
    from durable_local.gateway.front_door import FrontDoor

# The signal that a worker gets first.
STRIKES = {Kill: signal.SIGKILL, Orphan: signal.SIGKILL, Stall: signal.SIGSTOP}
# In the user agent of a worker's SDK: see ministack/patches/callers.py.
CALLER = re.compile(rf"\bapp/{re.escape(HANDLER)}-(\d+)\b")


class FaultyDoor:
    """Answers a request by the front door behind it, or as a rule wants it."""

    def __init__(self, door: FrontDoor, register: Register, directory: Path) -> None:
        self._door = door
        self._register = register
        self._directory = directory
        self._control = Control(register)
        self._later: set[asyncio.Task[Any]] = set()

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """As the front door's."""
        # Whole, unlike the front door's: a rule reads the body, and may have it applied twice.
        try:
            body = await self._door.body_of(request)
        except ApiError as error:
            return refusal(error)
        if request.raw_path.startswith(CONTROL_PREFIX):
            return await self._control(request.method, request.path, request.query, body)
        seen = self._seen(request, body)
        active = self._register.due(seen) if seen is not None else None
        if seen is None or active is None:
            return await self._door.answer(request, body)
        return await _Fault(self, active, seen, request, body).answer()

    def _seen(self, request: web.BaseRequest, body: bytes) -> Request | None:
        path, _, query = request.raw_path.partition("?")
        operation = operation_of(request.method, path, request.headers)
        if operation is None:
            return None
        caller = CALLER.search(request.headers.get("User-Agent", ""))
        pid = int(caller[1]) if caller else None
        function = processes.worker(self._directory, pid) if pid else None
        name = request.headers.get("X-Amz-Durable-Execution-Name", "")
        text = "\n".join([unquote(path), unquote(query), name, body.decode(errors="replace")])
        return Request(*operation, function, pid if function else None, text)

    async def apply(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """What the request asks for, done."""
        return await self._door.answer(request, body)

    def done(self, active: Active, seen: Request) -> None:
        """Counts what was carried out."""
        self._register.done(active, seen)

    def signal(self, seen: Request, number: signal.Signals) -> bool:
        """Sends a signal to the worker that made the request; False when it is gone."""
        if seen.pid is None or processes.worker(self._directory, seen.pid) != seen.function:
            return False
        try:
            os.kill(seen.pid, number)
        except ProcessLookupError:
            return False
        return True

    def later(self, seconds: float, what: Coroutine[Any, Any, Any]) -> None:
        """Does it then, whatever becomes of the request."""

        async def wait() -> None:
            await asyncio.sleep(seconds)
            await what

        task = asyncio.create_task(wait())
        self._later.add(task)
        task.add_done_callback(self._later.discard)


class _Fault:
    """One rule, carried out on one request.

    An answer of more than a megabyte may have been streamed to the caller by the time it was applied: what is to
    happen between the two then comes too late. No function here gets one.
    """

    def __init__(
        self, faulty: FaultyDoor, active: Active, seen: Request, request: web.BaseRequest, body: bytes
    ) -> None:
        self._faulty = faulty
        self._active = active
        self._action = active.rule.action
        self._seen = seen
        self._request = request
        self._body = body

    async def answer(self) -> web.StreamResponse:
        """The answer of the front door, or what the action makes of it."""
        at = point_of(self._action)
        if at is Point.BEFORE and (instead := await self._carry_out()) is not None:
            return instead
        answer = await self._apply()
        if at is Point.APPLIED and (instead := await self._carry_out()) is not None:
            return instead
        if at is Point.ANSWERED:
            await answer.prepare(self._request)
            await answer.write_eof()
            await self._carry_out()
        return answer

    async def _apply(self) -> web.StreamResponse:
        return await self._faulty.apply(self._request, self._body)

    async def _carry_out(self) -> web.StreamResponse | None:
        """Counts the action if it was done. An answer when the request ends with it, None when it goes on."""
        strike = STRIKES.get(type(self._action))
        if strike is not None and not self._faulty.signal(self._seen, strike):
            return None
        self._faulty.done(self._active, self._seen)
        await self._take_time()
        match self._action:
            case Fail(status, code, message):
                return _failure(status, code, message)
            case Answer(body, status, headers):
                return web.Response(text=body, status=status, headers=headers)
            case Cut() | Kill() | Orphan():
                return self._cut()
        return None

    async def _take_time(self) -> None:
        match self._action:
            case Delay(seconds):
                await asyncio.sleep(seconds)
            case Hold():
                # Shielded: others wait for the same release.
                await asyncio.shield(asyncio.wrap_future(self._active.released))
            case Twice(0):
                await self._apply()
            case Twice(after) | Orphan(after):
                self._faulty.later(after, self._apply())
            case Stall(seconds, Point.BEFORE):
                await asyncio.sleep(seconds)
                self._faulty.signal(self._seen, signal.SIGCONT)
            case Stall(seconds):
                self._faulty.later(seconds, self._go_on())

    async def _go_on(self) -> None:
        self._faulty.signal(self._seen, signal.SIGCONT)

    def _cut(self) -> web.Response:
        if self._request.transport is not None:
            self._request.transport.abort()
        return web.Response()


def _failure(status: int, code: str, message: str) -> web.Response:
    """Lambda's SDK reads the code from a header, DynamoDB's and SQS's from the body: the answer has both."""
    error = ApiError(code, message, status, {"__type": code})
    return web.Response(status=error.status, headers=error.headers, body=error.body)
