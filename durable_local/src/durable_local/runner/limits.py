"""Lambda's limits of one execution: a checkpoint that would exceed one is refused.

Operations and bytes written are quotas of Lambda that cannot be increased:
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html. The limits of one payload, with their codes and
texts, are those that AWS's SDK for Go records from the service (aws/aws-durable-execution-sdk-go,
`durable/durabletest`); aws-durable-execution-sdk-python#342 confirms that of a step. The runner itself checks chained
invokes and errors.

Our reading, without a source: the texts for the two quotas; their code, the only one in the model of
CheckpointDurableExecution for an error of the caller that is not a rate; that an operation counts once, with all its
attempts, and the execution itself does not count (3,000 steps fit: aws-durable-execution-sdk-python#710). The durable
SDK fails the execution with the error that it gets here.
"""

from typing import Any

from aws_durable_execution_sdk_python.lambda_service import ErrorObject, OperationAction, OperationType, OperationUpdate
from aws_durable_execution_sdk_python_testing.child_dispatcher import payload_size_bytes
from aws_durable_execution_sdk_python_testing.exceptions import AwsApiException, InvalidParameterValueException

from durable_local.runner.record import ExecutionRecord

MAX_OPERATIONS = 3_000
MAX_WRITTEN_BYTES = 100 * 1024 * 1024
MAX_STEP_RESULT_BYTES = 262_144
MAX_RESULT_BYTES = 6_291_456
STEP_RESULT = frozenset({OperationAction.SUCCEED, OperationAction.RETRY})


class ValidationException(AwsApiException):
    """The request does not fit the API's model."""

    http_status_code = 400

    def to_dict(self) -> dict[str, Any]:
        """The body of the answer."""
        return {"Type": "ValidationException", "message": str(self)}


def check(record: ExecutionRecord, updates: list[OperationUpdate]) -> None:
    """Raises ValidationException or InvalidParameterValueException if `updates` exceed a limit."""
    for position, update in enumerate(updates, 1):
        if update.operation_type is OperationType.EXECUTION and _size(update.payload) > MAX_RESULT_BYTES:
            raise ValidationException(
                f"1 validation error detected: Value at 'updates.{position}.member.payload' failed to satisfy "
                f"constraint: Member must have length less than or equal to {MAX_RESULT_BYTES}"
            )
    for update in updates:
        is_result = update.operation_type is OperationType.STEP and update.action in STEP_RESULT
        if is_result and _size(update.payload) > MAX_STEP_RESULT_BYTES:
            message = f"STEP output payload size must be less than or equal to {MAX_STEP_RESULT_BYTES} bytes."
            raise InvalidParameterValueException(message)
    if _operations(record, updates) > MAX_OPERATIONS:
        raise InvalidParameterValueException(f"A durable execution may have {MAX_OPERATIONS} operations.")
    if _written(record, updates) > MAX_WRITTEN_BYTES:
        raise InvalidParameterValueException(f"A durable execution may write {MAX_WRITTEN_BYTES} bytes.")


def _operations(record: ExecutionRecord, updates: list[OperationUpdate]) -> int:
    ids = {operation.operation_id for operation in record.operations if _counts(operation.operation_type)}
    ids.update(update.operation_id for update in updates if _counts(update.operation_type))
    return len(ids)


def _counts(kind: OperationType) -> bool:
    return kind is not OperationType.EXECUTION


def _written(record: ExecutionRecord, updates: list[OperationUpdate]) -> int:
    """Bytes of payloads: the input, the checkpoints, and the results of callbacks and other functions."""
    checkpointed = sum(_size(update.payload) + _size_of_error(update.error) for update in [*record.updates, *updates])
    answered = 0
    for operation in record.operations:
        for details in (operation.callback_details, operation.chained_invoke_details):
            if details is not None:
                answered += _size(details.result) + _size_of_error(details.error)
    return _size(record.start_input.input) + checkpointed + answered


def _size(payload: str | None) -> int:
    return 0 if payload is None else payload_size_bytes(payload)


def _size_of_error(error: ErrorObject | None) -> int:
    return 0 if error is None else len(str(error.to_dict()))
