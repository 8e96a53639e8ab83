"""Starts an execution by name: once, with any number of callers."""

from __future__ import annotations

import threading
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING

from durable_local.errors import ApiError

if TYPE_CHECKING:
    from durable_local.function_reference import FunctionVersion
    from durable_local.runner.quota import StartQuota
    from durable_local.runner.record import ExecutionRecord
    from durable_local.runner.runner import DurableRunner
    from durable_local.runner.store import Store


class NamedStarts:
    """Finds an execution by its function and name, for as long as the execution is kept, or starts a new one."""

    def __init__(self, runner: DurableRunner, store: Store, quota: StartQuota) -> None:
        self._runner = runner
        self._quota = quota
        self._store = store
        self._lock = threading.Lock()

    def start(
        self,
        function: FunctionVersion,
        name: str | None,
        payload: str,
        tenant_id: str | None = None,
        *,
        by_event: bool = False,
    ) -> ExecutionRecord:
        """A new execution, or the existing one of that name, running or ended, if its payload is the same.

        Raises ApiError: 409 for another payload, 429 above the quota. `by_event`: an asynchronous invocation.
        """
        name = name or str(uuid.uuid4())
        with self._lock:
            existing = self._store.named(function.name, name)
            if existing is None:
                self._quota.take()
                execution = self._runner.create(function, name, payload, tenant_id, by_event=by_event)
        if existing is None:
            self._runner.launch(execution)
            return execution
        if existing.start_input.input != payload:
            raise ApiError(
                "DurableExecutionAlreadyStartedException",
                f"A durable execution named {name} was already started with another payload: "
                f"{existing.durable_execution_arn}",
                HTTPStatus.CONFLICT,
                {"DurableExecutionArn": existing.durable_execution_arn},
            )
        return existing
