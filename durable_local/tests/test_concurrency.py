"""A function's reserved concurrency, which its versions and aliases share.

https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
"""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.config import Config


def test_only_invocations_above_the_reserved_concurrency_are_throttled(stack, tmp_path, eventually):
    client = stack.client("lambda", Config(retries={"total_max_attempts": 1}))
    single, let_go = stack.outputs["Single"], tmp_path / "let go"
    hold = json.dumps({"hold": str(let_go)}).encode()
    with ThreadPoolExecutor(1) as caller:
        held = caller.submit(client.invoke, FunctionName=single, Payload=hold)
        eventually(Path(f"{let_go}.reached").exists)
        for reference in (single, single.rpartition(":")[0]):
            with pytest.raises(client.exceptions.TooManyRequestsException) as throttled:
                client.invoke(FunctionName=reference)
            assert throttled.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
            assert throttled.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
        assert "FunctionError" not in client.invoke(FunctionName=stack.outputs["Plain"])
        let_go.touch()
        assert "FunctionError" not in held.result(timeout=20)
    assert "FunctionError" not in client.invoke(FunctionName=single)


def test_a_durable_execution_waits_for_reserved_concurrency(stack, aws_lambda, tmp_path, eventually, end):
    """Its throttled invocations are retried like failed ones."""

    def start(name):
        return aws_lambda.invoke(
            FunctionName=stack.outputs["SingleDurable"],
            InvocationType="Event",
            Payload=json.dumps({"hold": str(tmp_path / name)}).encode(),
        )["DurableExecutionArn"]

    def failures(arn):
        events = aws_lambda.get_durable_execution_history(DurableExecutionArn=arn)["Events"]
        details = [event.get("InvocationCompletedDetails", {}) for event in events]
        return [detail["Error"]["Payload"]["ErrorType"] for detail in details if "Error" in detail]

    first = start("first")
    eventually((tmp_path / "first.reached").exists)
    second = start("second")
    assert eventually(lambda: failures(second))[0] == "TooManyRequestsException"
    assert not (tmp_path / "second.reached").exists()
    (tmp_path / "second").touch()
    (tmp_path / "first").touch()
    assert end(first)["Status"] == "SUCCEEDED"
    assert end(second)["Status"] == "SUCCEEDED"
    assert failures(first) == []
    assert set(failures(second)) == {"TooManyRequestsException"}
