"""The stack's one clock: real time, or faster, so that a wait of two days passes in seconds.

Waits, retries, callbacks, timeouts, retention and all timestamps of an execution use it. Handlers and MiniStack
(visibility timeouts, schedules, function timeouts) use real time.
"""

from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import Any

from aws_durable_execution_sdk_python_testing.clock import real_now
from aws_durable_execution_sdk_python_testing.scheduler import Event, Scheduler


class ScaledClock:
    """Starts now, or at `not_before` if that is later, and runs `scale` times as fast as real time."""

    def __init__(self, scale: float = 1, not_before: datetime | None = None) -> None:
        self.scale = scale
        self._real_start = real_now()
        self._start = max(self._real_start, not_before or self._real_start)

    def now(self) -> datetime:
        """The time on this clock."""
        return self._start + (real_now() - self._real_start) * self.scale

    def arm(self, wake: datetime) -> float:
        """Seconds of this clock until `wake`, for the scaled scheduler."""
        return max((wake - self.now()).total_seconds(), 0.0)

    def allowance(self, real_work: timedelta) -> timedelta:
        """How much longer `real_work`, measured on this clock, appears than it was.

        On a fast clock, one second of work must not use an hour of ExecutionTimeout.
        """
        return real_work * (1 - 1 / self.scale)


class ScaledScheduler(Scheduler):
    """Its delays are seconds of the stack's clock."""

    def __init__(self, scale: float = 1) -> None:
        super().__init__()
        self._scale = scale

    def call_later(
        self, func: Callable[[], Any], delay: float = 0, count: int | None = 1, completion_event: Event | None = None
    ) -> Future[Any]:
        """Calls `func` once `delay` has passed on the stack's clock."""
        return super().call_later(func, delay / self._scale, count, completion_event)
