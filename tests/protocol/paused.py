"""The pipeline's code in threads that stop before each request to AWS: a test decides what happens in between."""

import threading
from collections.abc import Callable
from typing import Any

from shared.errors import OrderError

PATIENCE_S = 60
"""For the next request or the end of code that has no reason to take long."""


class Killed(BaseException):
    """The process is gone: no code of ours may catch this."""


class Call(threading.Thread):
    """A call that runs to its first request, and on to the next one each time it is told to.

    `request` is what it is about to ask for, None once it has ended; then it has a `result` or an `error`.
    """

    def __init__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(daemon=True)
        self._call = lambda: function(*args, **kwargs)
        self._may_go_on = threading.Semaphore(0)
        self._stands = threading.Semaphore(0)
        self._killed = False
        self.request: str | None = None
        self.result: Any = None
        self.error: BaseException | None = None
        self.start()
        self._wait()

    def run(self) -> None:
        try:
            self.result = self._call()
        except BaseException as error:  # noqa: BLE001 (whoever let it go on is told)
            self.error = error
        self.request = None
        self._stands.release()

    def go_on(self) -> None:
        """Make the request, and run to the next one or to the end. Raises what no code of ours raises on purpose."""
        assert self.request is not None, "it has ended"
        self._may_go_on.release()
        self._wait()
        if not isinstance(self.error, OrderError | Killed | None):
            raise self.error

    def kill(self) -> None:
        """End it before its next request, wherever it stands."""
        if self.request is not None:
            self._killed = True
            self.go_on()

    def _wait(self) -> None:
        if not self._stands.acquire(timeout=PATIENCE_S):
            raise TimeoutError(f"no request and no end within {PATIENCE_S} s")

    def pause(self, request: str) -> None:
        self.request = request
        self._stands.release()
        self._may_go_on.acquire()
        if self._killed:
            raise Killed


def before_request(request: str) -> None:
    """Stop here until let on. Code outside a `Call` goes on at once."""
    call = threading.current_thread()
    if isinstance(call, Call):
        call.pause(request)
