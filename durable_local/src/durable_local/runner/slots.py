"""How many invocations of durable functions run at once on this machine.

A handler that waits for the execution of another durable function has a slot that the other may need. With a few slots
that is a deadlock, so there is one more slot while it waits.
"""

import contextlib
from collections.abc import Iterator

from aws_durable_execution_sdk_python_testing.threads import DaemonThreadPool


class Slots(DaemonThreadPool):
    """The runner's pool of threads; each thread waits for one invocation."""

    @contextlib.contextmanager
    def one_more(self) -> Iterator[None]:
        """One more slot during a block. Its thread stays idle afterwards."""
        with self._lock:
            self._max_workers += 1
            if not self._queue.empty():
                self._adjust_thread_count()
        try:
            yield
        finally:
            with self._lock:
                self._max_workers -= 1
