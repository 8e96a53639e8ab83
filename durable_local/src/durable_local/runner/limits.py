"""How much one execution may hold: what the checkpoint that would exceed it is answered.

Operations and bytes written are quotas of Lambda that cannot be increased:
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html. What one payload may have, with these codes
and words, is what AWS's SDK for Go notes that the service answered (aws/aws-durable-execution-sdk-go,
`durable/durabletest`); of a step's, aws-durable-execution-sdk-python#342 says the same. The runner has the limits of
chained invokes and of errors.

Our reading, as no source tells: the words for the two quotas; their code, the only one in the model of
CheckpointDurableExecution that blames the sender for more than his rate; that an operation counts once, however often
it is tried, and the execution itself not (3,000 steps do fit: aws-durable-execution-sdk-python#710). The durable SDK
fails the execution with whatever is answered here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_durable_execution_sdk_python.lambda_service import OperationAction, OperationType
from aws_durable_execution_sdk_python_testing.child_dispatcher import payload_size_bytes
from aws_durable_execution_sdk_python_testing.exceptions import AwsApiException, InvalidParameterValueException

if TYPE_CHECKING:
    from aws_durable_execution_sdk_python.lambda_service import ErrorObject, OperationUpdate

    from durable_local.runner.record import ExecutionRecord

MOST_OPERATIONS = 3_000
MOST_WRITTEN_BYTES = 100 * 1024 * 1024
LARGEST_STEP_RESULT_BYTES = 262_144
LARGEST_RESULT_BYTES = 6_291_456
STEP_RESULT = frozenset({OperationAction.SUCCEED, OperationAction.RETRY})


class ValidationException(AwsApiException):
    """The request does not fit the API's model."""

    http_status_code = 400

    def to_dict(self) -> dict[str, Any]:
        """As the runner's own."""
        return {"Type": "ValidationException", "message": str(self)}


def check(record: ExecutionRecord, updates: list[OperationUpdate]) -> None:
    """Raises ValidationException or InvalidParameterValueException if `updates` would be too much."""
    for position, update in enumerate(updates, 1):
        if update.operation_type is OperationType.EXECUTION and _size(update.payload) > LARGEST_RESULT_BYTES:
            raise ValidationException(
                f"1 validation error detected: Value at 'updates.{position}.member.payload' failed to satisfy "
                f"constraint: Member must have length less than or equal to {LARGEST_RESULT_BYTES}"
            )
    for update in updates:
        is_result = update.operation_type is OperationType.STEP and update.action in STEP_RESULT
        if is_result and _size(update.payload) > LARGEST_STEP_RESULT_BYTES:
            message = f"STEP output payload size must be less than or equal to {LARGEST_STEP_RESULT_BYTES} bytes."
            raise InvalidParameterValueException(message)
    if _operations(record, updates) > MOST_OPERATIONS:
        message = f"A durable execution may have {MOST_OPERATIONS} operations."
        raise InvalidParameterValueException(message)
    if _written(record, updates) > MOST_WRITTEN_BYTES:
        message = f"A durable execution may write {MOST_WRITTEN_BYTES} bytes."
        raise InvalidParameterValueException(message)


def _operations(record: ExecutionRecord, updates: list[OperationUpdate]) -> int:
    ids = {operation.operation_id for operation in record.operations if _counts(operation.operation_type)}
    ids.update(update.operation_id for update in updates if _counts(update.operation_type))
    return len(ids)


def _counts(kind: OperationType) -> bool:
    return kind is not OperationType.EXECUTION


def _written(record: ExecutionRecord, updates: list[OperationUpdate]) -> int:
    """Bytes of payloads: the input, what checkpoints brought, what callbacks and other functions answered."""
    brought = sum(_size(update.payload) + _size_of_error(update.error) for update in [*record.updates, *updates])
    answered = 0
    for operation in record.operations:
        for details in (operation.callback_details, operation.chained_invoke_details):
            if details is not None:
                answered += _size(details.result) + _size_of_error(details.error)
    return _size(record.start_input.input) + brought + answered


def _size(payload: str | None) -> int:
    return 0 if payload is None else payload_size_bytes(payload)


def _size_of_error(error: ErrorObject | None) -> int:
    return 0 if error is None else len(str(error.to_dict()))
