"""How MiniStack is served: by uvicorn, which reads HTTP in C, with one system call for each response."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from uvicorn import Config, Server
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

MAX_HELD_BYTES = 64 * 1024


class OneWrite:
    """A transport that sends at once what one turn of the event loop writes.

    uvicorn writes the headers and the body of a response separately. Each is a system call here, and one more at the
    front door, which reads them. That was a third of MiniStack's CPU.
    """

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._held: list[bytes] = []
        self._size = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Holds the data until the turn ends; large data is sent, so that the transport can ask for a pause."""
        if not self._held:
            asyncio.get_running_loop().call_soon(self._send)
        self._held.append(data)
        self._size += len(data)
        if self._size > MAX_HELD_BYTES:
            self._send()

    def close(self) -> None:
        """Sends what is held, and closes."""
        self._send()
        self._transport.close()

    def _send(self) -> None:
        held, self._held, self._size = self._held, [], 0
        if held and not self._transport.is_closing():
            self._transport.writelines(held)


class Protocol(HttpToolsProtocol):
    """uvicorn's, with that transport."""

    def connection_made(self, transport: Any) -> None:
        """Wraps the transport."""
        super().connection_made(OneWrite(transport))  # type: ignore[arg-type]


async def serve(app: Any, listener: socket.socket) -> None:
    """Serves until it is cancelled."""
    config = Config(
        app,
        http=Protocol,
        ws="wsproto",
        lifespan="on",
        log_config=None,
        access_log=False,
        # MiniStack's responses have these headers.
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
    )
    await _Server(config).serve([listener])


class _Server(Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals alone: uvicorn would wait for open requests."""
        yield
