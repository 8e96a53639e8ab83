"""One queue of tasks per execution, on threads that all executions share.

The runner serializes what happens to an execution on a lane, and gives each lane a thread for as long as
the execution lives, its waits included. Thousands of waiting orders would be thousands of idle threads. A
lane here takes a shared thread only while it has something to do. No lane task waits for another lane, so
few threads are enough.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from aws_durable_execution_sdk_python_testing.worker.execution_worker import ExecutionWorker
from aws_durable_execution_sdk_python_testing.worker.lane import SerialTaskLane
from aws_durable_execution_sdk_python_testing.worker.registry import ExecutionRegistry

if TYPE_CHECKING:
    from collections.abc import Callable

    from aws_durable_execution_sdk_python_testing.scheduler import Scheduler
    from aws_durable_execution_sdk_python_testing.stores.base import ExecutionStore

T = TypeVar("T")

THREADS = 8


class SharedThreadLane(SerialTaskLane):
    """A lane without a thread of its own: first in, first out, one at a time."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        # The base class would create its thread here; only its interface is wanted.
        self._threads = threads
        self._tasks: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._lock = threading.Lock()
        self._stopped = False
        self._draining = False

    def submit(self, fn: Callable[[], T]) -> Future[T]:
        """Queues `fn`; raises RuntimeError once stopped, which makes the registry hand out a fresh lane."""
        future: Future[T] = Future()
        with self._lock:
            if self._stopped:
                message = "the lane is stopped"
                raise RuntimeError(message)
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
            except BaseException as error:  # noqa: BLE001 - belongs to whoever waits for the future
                future.set_exception(error)
            else:
                future.set_result(result)

    def stop(self, *, wait: bool = True) -> None:  # noqa: ARG002
        """Takes no more tasks; those queued still run, as in the base class."""
        with self._lock:
            self._stopped = True

    def is_running(self) -> bool:
        """Whether it takes tasks."""
        return not self._stopped


class SharedThreadRegistry(ExecutionRegistry):
    """Hands out the runner's per-execution workers, on lanes without threads."""

    def __init__(self, store: ExecutionStore, scheduler: Scheduler) -> None:
        super().__init__(store, scheduler)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="lane")

    def get_or_create(self, execution_arn: str) -> ExecutionWorker:
        """The one worker of an execution that is not over."""
        with self._lock:
            if self._shut_down:
                message = "the registry is shut down"
                raise RuntimeError(message)
            worker = self._workers.get(execution_arn)
            if worker is None:
                lane = SharedThreadLane(self._threads)
                worker = ExecutionWorker(execution_arn, self._store, self._scheduler, self, lane)
                self._workers[execution_arn] = worker
            return worker

    def shutdown(self) -> None:
        """Drops every worker, and the threads once they are done: a task left undone would be waited for for ever."""
        super().shutdown()
        self._threads.shutdown(wait=False)
