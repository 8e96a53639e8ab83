"""The one endpoint of the stack: a list of steps, in the order in which a request passes them (see `server`)."""

import asyncio
import functools
import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from aiohttp import web

from durable_local.errors import ApiError
from durable_local.gateway.incoming import Incoming

logger = logging.getLogger(__name__)

NextStep = Callable[[Incoming], Awaitable[web.StreamResponse]]


class Step(Protocol):
    """One step: it answers the request, or gives it to the next step."""

    async def handle(self, request: Incoming, next_step: NextStep) -> web.StreamResponse:
        """The answer. An ApiError that it raises becomes the answer."""


class FrontDoor:
    """Sends each request through the steps. The last step answers every request."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._first: NextStep = _no_step
        for step in reversed(steps):
            self._first = functools.partial(_answer, step, self._first)

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        """Answers one request, also when a step fails."""
        return await self._first(Incoming(http))


async def _answer(step: Step, next_step: NextStep, request: Incoming) -> web.StreamResponse:
    try:
        return await step.handle(request, next_step)
    except ApiError as error:
        return _error_response(error)
    except (ConnectionResetError, asyncio.CancelledError):
        raise
    except Exception:
        logger.exception("%s %s", request.method, request.http.raw_path)
        return _error_response(ApiError("ServiceException", "the local stack failed; see its log", 500))


async def _no_step(request: Incoming) -> web.StreamResponse:
    raise LookupError(f"no step answered {request.method} {request.path}")


def _error_response(error: ApiError) -> web.Response:
    headers = error.headers | {"x-amzn-RequestId": str(uuid.uuid4())}
    return web.Response(status=error.status, headers=headers, body=error.body)
