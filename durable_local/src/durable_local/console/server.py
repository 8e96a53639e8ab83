"""Serves a console on 127.0.0.1 until Ctrl-C."""

import asyncio
import contextlib
import ctypes
import secrets
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from durable_local.console.guard import Guard
from durable_local.errors import LocalStackError
from durable_local.settings import HOST

# The streams end by themselves at Ctrl-C; this is for a request that still waits for AWS.
END_SECONDS = 1

M_ARENA_MAX = -8  # malloc.h of glibc


def run(make_app: Callable[[Guard], Starlette], port: int, *, read_only: bool) -> None:
    """Prints the address once and serves until Ctrl-C. `port` 0: any free one. Raises LocalStackError if it is in use.

    `make_app` gets the guard that the requests must pass.
    """
    _use_one_heap()
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
            # The printed address answers at once, also while the server still starts.
            listener.listen()
        except OSError as error:
            raise LocalStackError(
                f"port {port} cannot be used ({error.strerror}); choose another with --port"
            ) from error
        guard = Guard(f"{HOST}:{listener.getsockname()[1]}", secrets.token_urlsafe(24), read_only)
        server = ConsoleServer(make_app(guard))
        print(f"The console is at {guard.address}\nCtrl-C ends it.", flush=True)
        # uvicorn raises the signal again when it has ended.
        with contextlib.suppress(KeyboardInterrupt):
            server.run([listener])


def _use_one_heap() -> None:
    """Without this, glibc has up to eight heaps for each core, and each keeps what its threads once needed.

    So memory would grow for as long as a page is open. Other C libraries have no `mallopt`.
    """
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


class ConsoleServer(uvicorn.Server):
    """uvicorn, whose end also ends the streams of open pages: it would wait for them."""

    def __init__(self, app: Starlette) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_level="warning",
                access_log=False,
                server_header=False,
                ws="none",
                timeout_graceful_shutdown=END_SECONDS,
            )
        )
        self._poller = app.state.console.poller
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serves until `handle_exit`."""
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ends the server; from a signal or from any thread."""
        if self._loop:
            self._loop.call_soon_threadsafe(self._poller.close)
        super().handle_exit(sig, frame)
