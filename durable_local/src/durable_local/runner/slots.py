"""How many invocations of durable functions run at once on this machine.

A handler that waits for the execution of another durable function holds a slot that the other needs: on Lambda
there are a thousand, here a few would soon all be waiting for each other. While it waits, there is one more.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from aws_durable_execution_sdk_python_testing.threads import DaemonThreadPool

if TYPE_CHECKING:
    from collections.abc import Iterator


class Slots(DaemonThreadPool):
    """The runner's pool of threads, each waiting for one invocation, with room for those that wait for others."""

    @contextlib.contextmanager
    def one_more(self) -> Iterator[None]:
        """For the length of a block. The thread stays afterwards, idle: they are never more than waited at once."""
        with self._lock:
            self._max_workers += 1
            if not self._queue.empty():
                self._adjust_thread_count()
        try:
            yield
        finally:
            with self._lock:
                self._max_workers -= 1
