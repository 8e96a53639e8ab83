"""Lambda's quota of started executions, on request, to test back-pressure.

300 a second in most Regions: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
"""

import threading
import time
from http import HTTPStatus

from durable_local.errors import ApiError


class StartQuota:
    """A token bucket of size `per_second`, filled at that rate. None: no limit."""

    def __init__(self, per_second: int | None) -> None:
        self._per_second = per_second
        self._tokens = float(per_second or 0)
        self._filled = time.monotonic()
        self._lock = threading.Lock()

    def take(self) -> None:
        """Takes a token; raises ApiError (429) when there is none."""
        if self._per_second is None:
            return
        with self._lock:
            now = time.monotonic()
            self._tokens = min(self._per_second, self._tokens + (now - self._filled) * self._per_second)
            self._filled = now
            if self._tokens < 1:
                raise ApiError(
                    "TooManyRequestsException",
                    "Rate exceeded: durable executions started",
                    HTTPStatus.TOO_MANY_REQUESTS,
                    {"Reason": "CallerRateLimitExceeded"},
                )
            self._tokens -= 1
