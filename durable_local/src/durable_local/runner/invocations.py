"""When an execution's invocations ran, what they failed with, and when Lambda retries them."""

import json
import uuid
from datetime import datetime, timedelta
from typing import Any

from aws_durable_execution_sdk_python.lambda_service import ErrorObject

from durable_local.runner.clock import ScaledClock
from durable_local.runner.record import ExecutionRecord

FIRST_RETRY_SECONDS = 1.0
MAX_RETRY_SECONDS = 30.0


class Invocations:
    """The invocations that run or wait for a slot now. Times are on the stack's clock."""

    def __init__(self, clock: ScaledClock) -> None:
        self._clock = clock
        self._working_since: dict[str, datetime] = {}
        self._invoked_at: dict[str, datetime] = {}

    def queued(self, arn: str, at: datetime | None = None) -> None:
        """From `at` or now on, the execution waits for a slot or runs, unless it did already."""
        self._working_since.setdefault(arn, at or self._clock.now())

    def began(self, arn: str) -> None:
        """The handler is invoked now."""
        self._invoked_at[arn] = self._clock.now()

    def stopped(self, record: ExecutionRecord) -> None:
        """The invocation has ended: with an answer, without one, or before it began because of a pause."""
        record.worked = self.worked(record)
        self._working_since.pop(record.durable_execution_arn, None)
        record.begin_pause(self._clock.now())

    def worked(self, record: ExecutionRecord) -> timedelta:
        """How long all invocations of the execution have run or waited for a slot."""
        since = self._working_since.get(record.durable_execution_arn)
        return record.worked if since is None else record.worked + (self._clock.now() - since)

    def failed(self, record: ExecutionRecord, error: ErrorObject) -> bool:
        """Adds the failed invocation to the record, as in Lambda's history; False when none had begun."""
        began = self._invoked_at.pop(record.durable_execution_arn, None)
        if began is None:
            return False
        request_id = str(uuid.uuid4())
        record.record_invocation_completion(began, self._clock.now(), request_id)
        record.invocation_errors[request_id] = _invocation_error(error)
        return True

    def forget(self, arn: str) -> None:
        """Drops what is known of an execution that has ended."""
        self._working_since.pop(arn, None)
        self._invoked_at.pop(arn, None)


def retry_delay(failures: int) -> float:
    """Seconds until the next try, after so many failed invocations before this one."""
    return min(FIRST_RETRY_SECONDS * 2.0 ** min(failures, 16), MAX_RETRY_SECONDS)


def _invocation_error(error: ErrorObject) -> dict[str, Any]:
    """With the API's field names, from a function error with Invoke's field names, or from any other failure."""
    text = error.message or ""
    try:
        function_error = json.loads(text)
    except ValueError:
        function_error = None
    if not isinstance(function_error, dict):
        return {"ErrorType": "ServiceException", "ErrorMessage": text}
    names = {"ErrorType": "errorType", "ErrorMessage": "errorMessage", "StackTrace": "stackTrace"}
    return {name: function_error[field] for name, field in names.items() if function_error.get(field)}
