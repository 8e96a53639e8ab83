"""Lambda's limits of one execution. https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from aws_durable_execution_sdk_python.identifier import OperationIdentifier
from aws_durable_execution_sdk_python.lambda_service import Operation, OperationStatus, OperationSubType, OperationType
from aws_durable_execution_sdk_python.lambda_service import OperationUpdate as Update
from aws_durable_execution_sdk_python_testing.exceptions import InvalidParameterValueException

from durable_local.function_reference import DurableConfig, FunctionVersion
from durable_local.runner import limits
from durable_local.runner.record import ExecutionRecord, start_input


def named(number):
    return OperationIdentifier(f"step-{number}", OperationSubType.STEP, operation_type=OperationType.STEP)


@pytest.fixture
def record():
    function = FunctionVersion("f", "1", DurableConfig(60, 1))
    started = replace(start_input(function, "name", "{}"), invocation_id="id")
    execution = ExecutionRecord("arn", started, [])
    execution.start(now=datetime.now(UTC))
    return execution


def test_an_execution_has_at_most_3000_operations(record):
    ended = [Operation(f"step-{number}", OperationType.STEP, OperationStatus.SUCCEEDED) for number in range(2_999)]
    record.operations.extend(ended)
    last = [Update.create_step_start(named(2_999)), Update.create_step_succeed(named(2_999), "1")]
    limits.check(record, last)
    limits.check(record, [Update.create_step_succeed(named(0), "1"), *last])  # one that there is does not count again
    with pytest.raises(InvalidParameterValueException, match="3000 operations"):
        limits.check(record, [*last, Update.create_step_start(named(3_000))])


def test_an_execution_writes_at_most_100_megabytes(record, monkeypatch):
    monkeypatch.setattr(limits, "MAX_WRITTEN_BYTES", 1_000)
    record.updates.append(Update.create_step_succeed(named(0), "x" * 500))
    limits.check(record, [Update.create_step_succeed(named(1), "x" * 498)])  # and two bytes of input
    with pytest.raises(InvalidParameterValueException, match="1000 bytes"):
        limits.check(record, [Update.create_step_succeed(named(1), "x" * 499)])
