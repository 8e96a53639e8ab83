"""Runs the pipeline's code in threads that stop before each request to AWS, so that a test decides the interleaving."""

import threading
from collections.abc import Callable
from typing import Any

from shared.errors import OrderError

TIMEOUT_SECONDS = 60
"""The limit for reaching the next request or the end. The code needs much less."""


class Killed(BaseException):
    """The process was killed. The pipeline's code must not catch this."""


class Call(threading.Thread):
    """A call that runs to its first request, and then one request further at each `go_on`.

    `request` is the request that it will make next; None after its end, when it has a `result` or an `error`.
    """

    def __init__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(daemon=True)
        self._call = lambda: function(*args, **kwargs)
        self._may_go_on = threading.Semaphore(0)
        self._stopped = threading.Semaphore(0)
        self._killed = False
        self.request: str | None = None
        self.result: Any = None
        self.error: BaseException | None = None
        self.start()
        self._wait()

    def run(self) -> None:
        try:
            self.result = self._call()
        except BaseException as error:  # noqa: BLE001 (`go_on` raises it)
            self.error = error
        self.request = None
        self._stopped.release()

    def go_on(self) -> None:
        """Makes the request, and runs to the next one or to the end. Raises an unexpected error."""
        assert self.request is not None, "the call has ended"
        self._may_go_on.release()
        self._wait()
        if not isinstance(self.error, OrderError | Killed | None):
            raise self.error

    def kill(self) -> None:
        """Kills the call before its next request."""
        if self.request is not None:
            self._killed = True
            self.go_on()

    def _wait(self) -> None:
        if not self._stopped.acquire(timeout=TIMEOUT_SECONDS):
            raise TimeoutError(f"no request and no end within {TIMEOUT_SECONDS} s")

    def pause(self, request: str) -> None:
        self.request = request
        self._stopped.release()
        self._may_go_on.acquire()
        if self._killed:
            raise Killed


def before_request(request: str) -> None:
    """Stops a `Call` until its `go_on`. Code outside a `Call` continues at once."""
    call = threading.current_thread()
    if isinstance(call, Call):
        call.pause(request)
