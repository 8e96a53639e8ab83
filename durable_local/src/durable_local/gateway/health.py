"""Says which stack this is, so that commands can tell whether it runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from durable_local.gateway.front_door import NextStep
    from durable_local.gateway.incoming import Incoming
    from durable_local.settings import Settings

HEALTH_PATH = "/_local_stack/health"


class Health:
    """Answers at `HEALTH_PATH`."""

    def __init__(self, settings: Settings) -> None:
        self._identity = {
            "directory": str(settings.directory),
            "pid": str(os.getpid()),
            "keep": str(int(settings.keep)),
            "timeScale": f"{settings.time_scale:g}",
        }

    async def handle(self, request: Incoming, next_step: NextStep) -> web.StreamResponse:
        """The stack's directory, process id, `keep` and time scale."""
        return web.json_response(self._identity) if request.path == HEALTH_PATH else await next_step(request)
