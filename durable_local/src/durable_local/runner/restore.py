"""Continues the callbacks and chained invokes of an execution after a restart, from their stored times."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from aws_durable_execution_sdk_python.lambda_service import (
    CallbackOptions,
    Operation,
    OperationAction,
    OperationStatus,
    OperationType,
    OperationUpdate,
)

from durable_local.runner.clock import ScaledClock
from durable_local.runner.record import ExecutionRecord
from durable_local.runner.store import Store


@dataclass(frozen=True)
class Restore:
    """The three callables are the runner's own."""

    store: Store
    clock: ScaledClock
    schedule_callback_timeouts: Callable[[str, CallbackOptions, str], None]
    invoke_child: Callable[[str, str, str, str | None, str | None], None]
    report_end_of_child: Callable[[str], None]

    def operations(self, record: ExecutionRecord) -> None:
        """Continues each started operation that is neither a step nor a wait."""
        for operation in record.operations:
            if operation.status is OperationStatus.STARTED:
                if operation.operation_type is OperationType.CALLBACK:
                    self._callback(record, operation)
                elif operation.operation_type is OperationType.CHAINED_INVOKE:
                    self._chained_invoke(record, operation)

    def _callback(self, record: ExecutionRecord, operation: Operation) -> None:
        """Its timeout counts from its start. The time of the last heartbeat is not stored: that timeout restarts."""
        options = _start_of(record, operation).callback_options
        if options is None or operation.callback_details is None or operation.start_timestamp is None:
            return
        timeout = options.timeout_seconds
        if timeout > 0:
            due = operation.start_timestamp + timedelta(seconds=timeout)
            timeout = max(1, math.ceil((due - self.clock.now()).total_seconds()))
        self.schedule_callback_timeouts(
            record.durable_execution_arn,
            CallbackOptions(timeout, options.heartbeat_timeout_seconds),
            operation.callback_details.callback_id,
        )

    def _chained_invoke(self, record: ExecutionRecord, operation: Operation) -> None:
        """A durable target continues by itself or has ended. A plain one is invoked again."""
        child = record.chained_invoke_children.get(operation.operation_id)
        if child is not None:
            if self.store.load(child).is_complete:
                self.report_end_of_child(child)
            return
        start = _start_of(record, operation)
        if start.chained_invoke_options is not None:
            self.invoke_child(
                record.durable_execution_arn,
                operation.operation_id,
                start.chained_invoke_options.function_name,
                start.chained_invoke_options.tenant_id,
                start.payload,
            )


def _start_of(record: ExecutionRecord, operation: Operation) -> OperationUpdate:
    """The checkpoint that started the operation: it has the options, and the operation does not."""
    return next(
        update
        for update in record.updates
        if update.operation_id == operation.operation_id and update.action is OperationAction.START
    )
