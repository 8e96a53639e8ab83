"""What an operator does to an execution: pause, resume, delete; and what retention does.

https://docs.aws.amazon.com/lambda/latest/dg/durable-managing-executions.html; statuses, codes and defaults from
botocore's model of Lambda.
"""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from durable_local import local_stack

FIXTURE = Path(__file__).parent / "fixture" / "template.yaml"


@pytest.fixture
def start(aws_lambda, stack):
    def started(function="Durable", **payload):
        return aws_lambda.invoke(
            FunctionName=stack.outputs[function], InvocationType="Event", Payload=json.dumps(payload).encode()
        )["DurableExecutionArn"]

    return started


@pytest.fixture
def get(aws_lambda):
    return lambda arn: aws_lambda.get_durable_execution(DurableExecutionArn=arn)


@pytest.fixture
def becomes(get, eventually):
    """Waits for a status; the execution then."""

    def wait(arn, status):
        return eventually(lambda: execution if (execution := get(arn))["Status"] == status else None)

    return wait


@pytest.fixture
def events(aws_lambda):
    return lambda arn: aws_lambda.get_durable_execution_history(DurableExecutionArn=arn)["Events"]


@pytest.fixture
def waiting(start, events, eventually):
    """An execution that waits."""

    def reached(function="Durable", **payload):
        arn = start(function, **payload)
        eventually(lambda: events(arn)[-1]["EventType"] == "InvocationCompleted")
        return arn

    return reached


@pytest.fixture
def held(start, tmp_path, eventually, events):
    """An execution inside a step whose start was recorded, and the file that ends the step."""
    gate = tmp_path / "gate"
    arn = start(hold=str(gate))
    eventually((tmp_path / "gate.reached").exists)
    # The SDK does not wait for this checkpoint.
    eventually(lambda: ("StepStarted", "hold") in [(event["EventType"], event.get("Name")) for event in events(arn)])
    return arn, gate


def test_a_paused_execution_runs_no_code_while_its_wait_completes(aws_lambda, waiting, becomes, events, eventually):
    arn = waiting(wait=1)
    aws_lambda.pause_durable_execution(DurableExecutionArn=arn, Reason="the ledger is ill")
    paused = becomes(arn, "PAUSED")
    assert paused["PauseDetails"]["Reason"] == "the ledger is ill"
    assert paused["PauseDetails"]["ExecutionTimeoutPaused"] is True
    eventually(lambda: events(arn)[-1]["EventType"] == "WaitSucceeded")
    becomes(arn, "PAUSED")
    aws_lambda.resume_durable_execution(DurableExecutionArn=arn, Reason="it is well")
    assert "PauseDetails" not in becomes(arn, "SUCCEEDED")
    told = {event["EventType"]: event for event in events(arn)}
    assert told["ExecutionPaused"]["ExecutionPausedDetails"]["Reason"]["Payload"] == "the ledger is ill"
    assert told["ExecutionResumed"]["ExecutionResumedDetails"]["Reason"]["Payload"] == "it is well"
    assert [event["EventId"] for event in events(arn)] == list(range(1, len(events(arn)) + 1))


def test_an_invocation_under_way_pauses_at_its_next_checkpoint(aws_lambda, held, becomes, events):
    arn, gate = held
    aws_lambda.pause_durable_execution(DurableExecutionArn=arn)
    becomes(arn, "PAUSING")
    gate.touch()
    becomes(arn, "PAUSED")
    aws_lambda.resume_durable_execution(DurableExecutionArn=arn)
    becomes(arn, "SUCCEEDED")
    succeeded = [event["Name"] for event in events(arn) if event["EventType"] == "StepSucceeded"]
    assert succeeded == ["first", "hold", "held"]  # each once: the checkpoint at which it paused was kept


def test_a_resume_while_pausing_cancels_the_pause(aws_lambda, held, becomes, events):
    arn, gate = held
    aws_lambda.pause_durable_execution(DurableExecutionArn=arn)
    aws_lambda.resume_durable_execution(DurableExecutionArn=arn)
    becomes(arn, "RUNNING")
    gate.touch()
    becomes(arn, "SUCCEEDED")
    assert [event["EventType"] for event in events(arn)].count("InvocationCompleted") == 1


def test_a_pause_stops_the_execution_timeout_by_default(aws_lambda, waiting, becomes, get):
    stopped, running = waiting("Brief", wait=60), waiting("Brief", wait=60)
    aws_lambda.pause_durable_execution(DurableExecutionArn=stopped)
    aws_lambda.pause_durable_execution(DurableExecutionArn=running, ExecutionTimeoutPaused=False)
    becomes(running, "TIMED_OUT")
    assert get(stopped)["Status"] == "PAUSED"
    aws_lambda.resume_durable_execution(DurableExecutionArn=stopped)
    timed_out = becomes(stopped, "TIMED_OUT")
    assert timed_out["EndTimestamp"] - timed_out["StartTimestamp"] > timedelta(seconds=5.5)


def test_only_a_running_execution_pauses_and_only_a_paused_one_resumes(aws_lambda, start, waiting, becomes):
    conflict = aws_lambda.exceptions.ResourceConflictException
    ended = start()
    becomes(ended, "SUCCEEDED")
    running = waiting(wait=60)
    with pytest.raises(conflict):
        aws_lambda.pause_durable_execution(DurableExecutionArn=ended)
    for arn in (ended, running):
        with pytest.raises(conflict):
            aws_lambda.resume_durable_execution(DurableExecutionArn=arn)
    for _ in range(2):  # the same request again is the same request
        aws_lambda.pause_durable_execution(DurableExecutionArn=running, ClientToken="once")
    with pytest.raises(conflict):
        aws_lambda.pause_durable_execution(DurableExecutionArn=running, ClientToken="twice")
    for _ in range(2):
        aws_lambda.resume_durable_execution(DurableExecutionArn=running, ClientToken="once")
    aws_lambda.stop_durable_execution(DurableExecutionArn=running)


def test_a_paused_execution_is_stopped_and_listed_by_its_status(aws_lambda, stack, waiting, becomes):
    arn = waiting(wait=60)
    aws_lambda.pause_durable_execution(DurableExecutionArn=arn)
    becomes(arn, "PAUSED")

    def listed(status):
        executions = aws_lambda.list_durable_executions_by_function(
            FunctionName=stack.outputs["DurableName"], Statuses=[status]
        )["DurableExecutions"]
        return arn in {execution["DurableExecutionArn"] for execution in executions}

    assert listed("PAUSED")
    assert not listed("RUNNING")
    aws_lambda.stop_durable_execution(DurableExecutionArn=arn)
    becomes(arn, "STOPPED")


def test_an_ended_execution_is_deleted_with_its_name(aws_lambda, stack, get, eventually):
    def invoke(payload):
        return aws_lambda.invoke(FunctionName=stack.outputs["Durable"], Payload=payload, DurableExecutionName="deleted")

    arn = invoke(b"{}")["DurableExecutionArn"]
    answer = aws_lambda.delete_durable_execution(DurableExecutionArn=arn)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert answer["DeletionRequestTimestamp"]

    def gone():
        try:
            assert get(arn)["Status"] == "DELETING"
        except aws_lambda.exceptions.ResourceNotFoundException:
            return True
        return False

    eventually(gone)
    again = invoke(b'{"other": "payload"}')["DurableExecutionArn"]
    assert again != arn


def test_a_running_execution_is_not_deleted(aws_lambda, waiting):
    arn = waiting(wait=60)
    with pytest.raises(aws_lambda.exceptions.ResourceConflictException):
        aws_lambda.delete_durable_execution(DurableExecutionArn=arn)
    aws_lambda.stop_durable_execution(DurableExecutionArn=arn)


def test_retention_ends_days_after_the_execution(eventually):
    """RetentionPeriodInDays: "the number of days to retain execution history after a durable execution completes"."""
    with local_stack(template=FIXTURE, stack_name="retention", time_scale=86_400) as stack:
        client = stack.client("lambda")

        def invoke(payload):
            response = client.invoke(
                FunctionName=stack.outputs["Slow"], Payload=payload, DurableExecutionName="remembered"
            )
            return response["DurableExecutionArn"]

        arn = invoke(b"{}")

        def forgotten():
            try:
                client.get_durable_execution_history(DurableExecutionArn=arn)
            except client.exceptions.ResourceNotFoundException:
                return True
            return False

        eventually(forgotten)
        assert invoke(b'{"other": "payload"}') != arn
