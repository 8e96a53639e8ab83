"""Returns the identity of the stack, so that commands can see whether it runs."""

import os
from collections.abc import Callable
from datetime import datetime

from aiohttp import web

from durable_local.gateway.front_door import NextStep
from durable_local.gateway.incoming import Incoming
from durable_local.settings import HEALTH_PATH, Settings


class Health:
    """Answers at `HEALTH_PATH`. `now`: the stack's clock."""

    def __init__(self, settings: Settings, now: Callable[[], datetime]) -> None:
        self._now = now
        self._identity = {
            "directory": str(settings.directory),
            "pid": str(os.getpid()),
            "keep": str(int(settings.keep)),
            "timeScale": f"{settings.time_scale:g}",
        }

    async def handle(self, request: Incoming, next_step: NextStep) -> web.StreamResponse:
        """The stack's directory, process id, `keep`, time scale and time."""
        if request.path != HEALTH_PATH:
            return await next_step(request)
        return web.json_response({**self._identity, "now": self._now().isoformat()})
