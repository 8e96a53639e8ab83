"""Values that many pages show and that cost requests: read in the background, once for all, and kept for a while."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from durable_local.console.problem import FAILURES, Problem, problem_of
from tools.console.desk import explained

T = TypeVar("T")

FIRST_SECONDS: Final = 0.15
"""How long a page waits for the first value, so that a page of a fast stack is complete at once."""

_REST: Final = 5

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading(Generic[T]):
    """The last value, None before the first, and why the last read failed, if it did."""

    value: T | None = None
    problem: Problem | None = None


class Kept(Generic[T]):
    """What `read` returns, read again when somebody looks after `seconds`. A look does not wait for that."""

    def __init__(self, read: Callable[[], T], seconds: float) -> None:
        self._read = read
        self._seconds = seconds
        self._lock = threading.Lock()
        self._is_reading = False
        self._read_at = float("-inf")
        self._first = threading.Event()
        self._now: Reading[T] = Reading()

    def begin(self) -> None:
        """Begin to read if the value is old."""
        with self._lock:
            if not self._is_reading and time.monotonic() - self._read_at >= self._seconds:
                self._is_reading = True
                threading.Thread(target=self._refresh, daemon=True).start()

    def look(self) -> Reading[T]:
        """What is known now."""
        self.begin()
        self._first.wait(FIRST_SECONDS)
        return self._now

    def forget(self) -> None:
        """Read again at the next look: something was changed."""
        self._read_at = float("-inf")

    def _refresh(self) -> None:
        self._read_at = time.monotonic()
        try:
            with explained():
                found: Reading[T] = Reading(self._read())
        except FAILURES as error:
            found = Reading(self._now.value, problem_of(error))
        except Exception:
            # A panel that stops for ever says less than one that says so.
            logger.exception("a panel cannot be read")
            found = Reading(
                self._now.value, Problem("The console has an error", "The terminal where it runs has the details.")
            )
        self._now = found
        self._is_reading = False
        self._first.set()


def paced(read: Callable[[], T]) -> Callable[[], T]:
    """`read`, which is not repeated before five times its last duration has passed: until then, what it returned.

    So an open page takes at most about a sixth of the time of what it reads from, however slow that is.
    """
    last: list[tuple[float, T]] = []

    def paced_read() -> T:
        if last and time.monotonic() < last[0][0]:
            return last[0][1]
        began = time.monotonic()
        found = read()
        now = time.monotonic()
        last[:] = [(now + _REST * (now - began), found)]
        return found

    return paced_read
