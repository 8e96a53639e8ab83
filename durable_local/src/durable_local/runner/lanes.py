"""One queue of tasks (lane) for each execution, on threads that all executions share.

The runner's own lane has a thread until its execution ends, so thousands of waiting executions would need thousands
of threads. A lane here uses a shared thread only while it has tasks. No task waits for another lane, so a few threads
are enough.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from aws_durable_execution_sdk_python_testing.scheduler import Scheduler
from aws_durable_execution_sdk_python_testing.stores.base import ExecutionStore
from aws_durable_execution_sdk_python_testing.worker.execution_worker import ExecutionWorker
from aws_durable_execution_sdk_python_testing.worker.lane import SerialTaskLane
from aws_durable_execution_sdk_python_testing.worker.registry import ExecutionRegistry

T = TypeVar("T")

THREADS = 8


class SharedThreadLane(SerialTaskLane):
    """A lane without a thread of its own: first in, first out, one at a time."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        # Without super().__init__(), which starts a thread: only the interface of the base class is used.
        self._threads = threads
        self._tasks: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._lock = threading.Lock()
        self._stopped = False
        self._draining = False

    def submit(self, fn: Callable[[], T]) -> Future[T]:
        """Queues `fn`; raises RuntimeError after `stop`, and the registry then creates a new lane."""
        future: Future[T] = Future()
        with self._lock:
            if self._stopped:
                raise RuntimeError("the lane is stopped")
            self._tasks.append((fn, future))
            if not self._draining:
                self._draining = True
                self._threads.submit(self._drain)
        return future

    def _drain(self) -> None:
        while True:
            with self._lock:
                if not self._tasks:
                    self._draining = False
                    return
                task, future = self._tasks.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = task()
            except BaseException as error:  # noqa: BLE001 - the future has it
                future.set_exception(error)
            else:
                future.set_result(result)

    def stop(self, *, wait: bool = True) -> None:  # noqa: ARG002
        """Accepts no more tasks. Queued tasks still run, as in the base class."""
        with self._lock:
            self._stopped = True

    def is_running(self) -> bool:
        """Whether it accepts tasks."""
        return not self._stopped


class SharedThreadRegistry(ExecutionRegistry):
    """Creates the runner's workers, one for each execution, on lanes without threads."""

    def __init__(self, store: ExecutionStore, scheduler: Scheduler) -> None:
        super().__init__(store, scheduler)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="lane")

    def get_or_create(self, execution_arn: str) -> ExecutionWorker:
        """The worker of an execution that has not ended."""
        with self._lock:
            if self._shut_down:
                raise RuntimeError("the registry is shut down")
            worker = self._workers.get(execution_arn)
            if worker is None:
                lane = SharedThreadLane(self._threads)
                worker = ExecutionWorker(execution_arn, self._store, self._scheduler, self, lane)
                self._workers[execution_arn] = worker
            return worker

    def shutdown(self) -> None:
        """Drops every worker. Queued tasks still run, because others wait for their results."""
        super().shutdown()
        self._threads.shutdown(wait=False)
