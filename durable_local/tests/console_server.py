"""A console in this process, on a port of its own."""

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from durable_local.console import Guard, Section, create_app
from durable_local.console.server import ConsoleServer


@dataclass
class Served:
    guard: Guard
    app: Any

    @property
    def base(self) -> str:
        return f"http://{self.guard.host}"

    @property
    def poller(self) -> Any:
        return self.app.state.console.poller


@contextlib.contextmanager
def served(
    sections: Sequence[Section],
    *,
    port: int = 0,
    token: str = "secret",  # noqa: S107 - of a test
    read_only: bool = False,
    **options: Any,
) -> Iterator[Served]:
    def make(guard: Guard) -> Any:
        return create_app(sections, guard, title="the console", **options)

    with serving(make, port=port, token=token, read_only=read_only) as running:
        yield running


@contextlib.contextmanager
def serving(
    make_app: Callable[[Guard], Any],
    *,
    port: int = 0,
    token: str = "secret",  # noqa: S107 - of a test
    read_only: bool = False,
) -> Iterator[Served]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        guard = Guard(f"127.0.0.1:{listener.getsockname()[1]}", token, read_only)
        app = make_app(guard)
        server = ConsoleServer(app)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the console did not start"
                time.sleep(0.01)
            yield Served(guard, app)
        finally:
            server.handle_exit(signal.SIGINT, None)
            thread.join()
