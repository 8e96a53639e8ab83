"""The HTTP API by which a test sets the rules and MiniStack reads them. `client` calls it for a test."""

import asyncio
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web

from durable_local.faults.actions import Delay, Redeliver
from durable_local.faults.register import Register
from durable_local.faults.rules import (
    CALLS,
    CONTROL_PREFIX,
    EVENT_SOURCE,
    INJECTIONS,
    REQUESTS,
    RULES,
    Request,
)


class Control:
    """Answers requests about the register."""

    def __init__(self, register: Register) -> None:
        self._register = register

    async def handle(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> web.Response:
        """The answer; 404 for an unknown path."""
        answer: Any = None
        match method, path.removeprefix(CONTROL_PREFIX).split("/"):
            case "POST", ["rules"]:
                answer = self._register.add(RULES.validate_json(body))
            case "DELETE", ["rules"]:
                self._register.clear()
            case "POST", ["rules", number, "release"]:
                self._register.release(int(number))
            case "GET", ["injections"]:
                answer = INJECTIONS.dump_python(self._register.injections(int(query.get("after", "0"))), mode="json")
            case "GET", ["requests"]:
                answer = REQUESTS.dump_python(self._register.requests(query.get("text", "")), mode="json")
            case "GET", ["calls"]:
                answer = CALLS.dump_python(self._register.calls(), mode="json")
            case "POST", ["deliveries"]:
                answer = await self._deliveries(json.loads(body))
            case _:
                return web.Response(status=HTTPStatus.NOT_FOUND)
        return web.json_response(answer)

    async def _deliveries(self, asked: dict[str, Any]) -> list[float | None]:
        """For each message that an event source mapping receives or deletes: in how many seconds it becomes visible.

        None: no change. Answers after the longest delay.
        """
        again: list[float | None] = []
        delay = 0.0
        for message in asked["messages"]:
            request = Request(EVENT_SOURCE, asked["operation"], asked["function"], None, message)
            active = self._register.due(request)
            action = active.rule.action if active else None
            if active:
                self._register.done(active, request)
            again.append(action.after if isinstance(action, Redeliver) else None)
            if isinstance(action, Delay):
                delay = max(delay, action.seconds)
        await asyncio.sleep(delay)
        return again
