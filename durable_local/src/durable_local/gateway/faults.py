"""Does to requests what the rules of the fault register say."""

import asyncio
import json
import os
import re
import signal
from collections.abc import Coroutine
from http import HTTPStatus
from pathlib import Path
from typing import Any
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
    Withhold,
    point_of,
)
from durable_local.faults.control import Control
from durable_local.faults.operations import operation_of, resources_of, unknown_operation
from durable_local.faults.register import Active, Register
from durable_local.faults.rules import CONTROL_PREFIX, Call, Request
from durable_local.gateway.front_door import NextStep
from durable_local.gateway.incoming import Incoming
from durable_local.ministack.child import HANDLER

# The signal that the action sends to the worker.
SIGNALS = {Kill: signal.SIGKILL, Orphan: signal.SIGKILL, Stall: signal.SIGSTOP}
# In the user agent of an SDK inside a worker: see ministack/patches/callers.py.
CALLER = re.compile(rf"\bapp/{re.escape(HANDLER)}-(\d+)\b")


class FaultInjection:
    """Gives a request to the next step, or does what a rule says."""

    def __init__(self, register: Register, directory: Path) -> None:
        self._register = register
        self._directory = directory
        self._control = Control(register)
        self._later: set[asyncio.Task[Any]] = set()

    async def handle(self, request: Incoming, next_step: NextStep) -> web.StreamResponse:
        """Reads the whole body: a rule matches text in it, and may apply the request twice."""
        body = await request.body()
        if request.path.startswith(CONTROL_PREFIX):
            return await self._control.handle(request.method, request.path, request.http.query, body)
        seen = self._seen(request, body)
        active = self._register.due(seen) if seen is not None else None
        if seen is None or active is None:
            return await next_step(request)
        return await _Fault(self, active, seen, request, next_step).answer()

    def _seen(self, request: Incoming, body: bytes) -> Request | None:
        operation = operation_of(request.method, request.path, request.headers)
        caller = CALLER.search(request.headers.get("User-Agent", ""))
        pid = int(caller[1]) if caller else None
        function = processes.worker(self._directory, pid) if pid else None
        if function is not None:
            service, name = operation or unknown_operation(request.method, request.path, request.headers)
            resources = resources_of(service, request.path, request.query, body) or {""}
            self._register.add_calls(Call(function, service, name, resource) for resource in resources)
        if operation is None:
            return None
        name = request.headers.get("X-Amz-Durable-Execution-Name", "")
        text = "\n".join([unquote(request.path), unquote(request.query), name, body.decode(errors="replace")])
        return Request(*operation, function, pid if function else None, text)

    def done(self, active: Active, seen: Request) -> None:
        """Records an applied action."""
        self._register.done(active, seen)

    def signal(self, seen: Request, number: signal.Signals) -> bool:
        """Sends a signal to the worker that made the request; False when that process has ended."""
        if seen.pid is None or processes.worker(self._directory, seen.pid) != seen.function:
            return False
        try:
            os.kill(seen.pid, number)
        except ProcessLookupError:
            return False
        return True

    def later(self, seconds: float, what: Coroutine[Any, Any, Any]) -> None:
        """Runs `what` after `seconds`, also when the request is cancelled."""

        async def wait() -> None:
            await asyncio.sleep(seconds)
            await what

        task = asyncio.create_task(wait())
        self._later.add(task)
        task.add_done_callback(self._later.discard)


class _Fault:
    """One rule, applied to one request.

    A response of more than a megabyte is streamed: the caller may have it before an action at `Point.APPLIED`. No
    function of the tests gets such a response.
    """

    def __init__(
        self, faults: FaultInjection, active: Active, seen: Request, request: Incoming, next_step: NextStep
    ) -> None:
        self._faults = faults
        self._active = active
        self._action = active.rule.action
        self._seen = seen
        self._request = request
        self._next_step = next_step

    async def answer(self) -> web.StreamResponse:
        """The next step's answer, or the one of the action."""
        at = point_of(self._action)
        if at is Point.BEFORE and (instead := await self._act()) is not None:
            return instead
        answer = await self._apply()
        if at is Point.APPLIED and (instead := await self._act()) is not None:
            return instead
        if isinstance(self._action, Withhold):
            return _without(self._action.response_field, answer)
        if at is Point.ANSWERED:
            await answer.prepare(self._request.http)
            await answer.write_eof()
            await self._act()
        return answer

    async def _apply(self) -> web.StreamResponse:
        return await self._next_step(self._request)

    async def _act(self) -> web.StreamResponse | None:
        """Applies the action and records it. Returns an answer if the action ends the request, else None."""
        number = SIGNALS.get(type(self._action))
        if number is not None and not self._faults.signal(self._seen, number):
            return None
        self._faults.done(self._active, self._seen)
        await self._wait_or_repeat()
        match self._action:
            case Fail(status, code, message):
                return _failure(status, code, message)
            case Answer(body, status, headers):
                return web.Response(text=body, status=status, headers=headers)
            case Cut() | Kill() | Orphan():
                return self._cut()
        return None

    async def _wait_or_repeat(self) -> None:
        match self._action:
            case Delay(seconds):
                await asyncio.sleep(seconds)
            case Hold():
                # Shielded, because other requests wait for the same release.
                await asyncio.shield(asyncio.wrap_future(self._active.released))
            case Twice(0):
                await self._apply()
            case Twice(after) | Orphan(after):
                self._faults.later(after, self._apply())
            case Stall(seconds, Point.BEFORE):
                await asyncio.sleep(seconds)
                self._faults.signal(self._seen, signal.SIGCONT)
            case Stall(seconds):
                self._faults.later(seconds, self._continue_worker())

    async def _continue_worker(self) -> None:
        self._faults.signal(self._seen, signal.SIGCONT)

    def _cut(self) -> web.Response:
        if self._request.http.transport is not None:
            self._request.http.transport.abort()
        return web.Response()


def _without(field: str, answer: web.StreamResponse) -> web.StreamResponse:
    """The answer without a field of its JSON object. An error is unchanged."""
    if not isinstance(answer, web.Response) or answer.status != HTTPStatus.OK or not isinstance(answer.body, bytes):
        return answer
    fields = json.loads(answer.body)
    fields.pop(field, None)
    return web.json_response(fields, status=answer.status)


def _failure(status: int, code: str, message: str) -> web.Response:
    """The error code in a header, where Lambda's SDK reads it, and in the body, where DynamoDB's and SQS's do."""
    error = ApiError(code, message, status, {"__type": code})
    return web.Response(status=error.status, headers=error.headers, body=error.body)
