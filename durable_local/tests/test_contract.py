"""Lambda's behaviour, one fact a test, in plain boto3: true for the local stack and for AWS.

`make contract STACK=name` runs these against the stack of that name in the account and region of the shell's
credentials; it is deployed from fixture/contract with `sam build` and `sam deploy`. Without STACK they run against
the local stack. Only the test that kills workers needs the local stack.

Sources, unless a test names its own: https://docs.aws.amazon.com/durable-execution/sdk-reference/operations/ for
what an operation does, https://docs.aws.amazon.com/lambda/latest/api/ for what the API returns.
"""

import json
import os
import random
import re
import signal
import time
import uuid
from collections import Counter
from dataclasses import replace
from pathlib import Path

import boto3
import pytest

from durable_local import processes

TEMPLATE = Path(__file__).parent / "fixture" / "contract" / "template.yaml"
REAL_STACK = os.environ.get("CONTRACT_STACK")
SEED = 20_261_123


@pytest.fixture(scope="module")
def local(request):
    """The running local stack; skips what only it can show."""
    if REAL_STACK:
        pytest.skip("only the local stack can show this")
    return request.getfixturevalue("stack")


@pytest.fixture(scope="module")
def outputs(request):
    """The outputs of the stack under test: the real one that is named, or one deployed to the local stack."""
    if REAL_STACK:
        [described] = boto3.client("cloudformation").describe_stacks(StackName=REAL_STACK)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
    stack = request.getfixturevalue("stack")
    settings = replace(stack.settings, template=TEMPLATE, stack_name="contract", parameters={})
    return replace(stack, settings=settings).deploy().outputs


@pytest.fixture(scope="module")
def client(request):
    return boto3.client("lambda") if REAL_STACK else request.getfixturevalue("aws_lambda")


@pytest.fixture
def run(client, outputs):
    """Runs one operation to the end of its execution; the response and what it returned."""

    def synchronously(operation, **arguments):
        payload = json.dumps({"do": operation, **arguments}).encode()
        response = client.invoke(FunctionName=outputs["Operations"], Payload=payload)
        return response, json.loads(response["Payload"].read())

    return synchronously


@pytest.fixture
def start(client, outputs):
    """Starts one operation asynchronously; the execution's ARN."""

    def asynchronously(operation, **arguments):
        return client.invoke(
            FunctionName=outputs["Operations"],
            InvocationType="Event",
            Payload=json.dumps({"do": operation, **arguments}).encode(),
            DurableExecutionName=f"contract-{uuid.uuid4().hex}",
        )["DurableExecutionArn"]

    return asynchronously


@pytest.fixture
def end(client, eventually):
    """Waits for the end of an execution; what GetDurableExecution tells."""

    def ended(arn, seconds=60):
        def look():
            execution = client.get_durable_execution(DurableExecutionArn=arn)
            return execution["Status"] not in {"RUNNING", "PENDING"} and execution

        return eventually(look, seconds)

    return ended


@pytest.fixture
def events(client):
    """An execution's whole history."""

    def told(arn):
        pages = client.get_paginator("get_durable_execution_history").paginate(
            DurableExecutionArn=arn, IncludeExecutionData=True
        )
        return [event for page in pages for event in page["Events"]]

    return told


@pytest.fixture
def callback_id(events, eventually):
    """Waits for an execution's callback; its id."""

    def waiting(arn):
        def look():
            started = [event for event in events(arn) if event["EventType"] == "CallbackStarted"]
            return started and started[0]["CallbackStartedDetails"]["CallbackId"]

        return eventually(look)

    return waiting


def kinds(history, name=None):
    return [event["EventType"] for event in history if name is None or event.get("Name") == name]


def details(history, kind):
    """The details of all events of a kind."""
    return [event[f"{kind}Details"] for event in history if event["EventType"] == kind]


def only(history, kind):
    """The details of the only event of a kind."""
    [found] = details(history, kind)
    return found


def test_a_steps_result_is_in_the_history(run, events):
    response, result = run("step", **{"with": {"n": 1}})
    assert result == {"echo": {"n": 1}}
    history = events(response["DurableExecutionArn"])
    assert kinds(history, "step") == ["StepStarted", "StepSucceeded"]
    details = only(history, "StepSucceeded")
    assert "echo" in details["Result"]["Payload"]  # in the SDK's own serialisation
    assert details["RetryDetails"] == {"CurrentAttempt": 1}


def test_a_wait_ends_the_invocation_and_a_later_one_continues(run, events):
    response, result = run("wait")
    assert result == "waited"
    history = events(response["DurableExecutionArn"])
    assert kinds(history, "wait") == ["WaitStarted", "WaitSucceeded"]
    assert kinds(history).count("InvocationCompleted") == 2
    assert only(history, "WaitStarted")["Duration"] == 1


def test_a_child_context_is_the_parent_of_its_operations(run, events):
    response, result = run("child")
    assert result == [1, 2]
    history = events(response["DurableExecutionArn"])
    assert kinds(history, "child") == ["ContextStarted", "ContextSucceeded"]
    [child] = [event["Id"] for event in history if event["EventType"] == "ContextStarted"]
    assert {event["Name"] for event in history if event.get("ParentId") == child} == {"first", "pause", "second"}


def test_a_map_has_the_results_and_counts_the_failures(run):
    response, result = run("map", tolerate=1)
    assert "FunctionError" not in response
    assert result == {"results": [1, 4, 9], "succeeded": 3, "failed": 1}
    _, result = run("map")
    assert result["failed"] == 1


def test_parallel_branches_wait_at_the_same_time(run, client):
    response, result = run("parallel")
    assert result == {"results": [1, 2, 3], "succeeded": 3, "failed": 0}
    told = client.get_durable_execution(DurableExecutionArn=response["DurableExecutionArn"])
    assert (told["EndTimestamp"] - told["StartTimestamp"]).total_seconds() >= 1


def test_a_callback_returns_the_result_that_it_is_sent(start, end, callback_id, client):
    arn = start("callback")
    client.send_durable_execution_callback_success(CallbackId=callback_id(arn), Result=b'{"approved": true}')
    assert json.loads(json.loads(end(arn)["Result"])) == {"approved": True}


def test_a_callback_fails_with_the_error_it_is_sent(start, end, callback_id, client):
    arn = start("callback")
    error = {"ErrorType": "Declined", "ErrorMessage": "said the person"}
    client.send_durable_execution_callback_failure(CallbackId=callback_id(arn), Error=error)
    execution = end(arn)
    assert execution["Status"] == "FAILED"
    assert execution["Error"]["ErrorMessage"] == "said the person"


def test_a_callback_without_an_answer_times_out(start, end, events):
    arn = start("callback", timeout=1)
    assert end(arn)["Status"] == "FAILED"
    history = events(arn)
    assert "CallbackTimedOut" in kinds(history)
    started = only(history, "CallbackStarted")
    assert started["Timeout"] == 1
    assert "HeartbeatTimeout" not in started


def test_a_callback_whose_heartbeat_stops_times_out(start, end, callback_id, client, events):
    arn = start("callback", heartbeat=1)
    client.send_durable_execution_callback_heartbeat(CallbackId=callback_id(arn))
    assert end(arn)["Status"] == "FAILED"
    history = events(arn)
    assert "CallbackTimedOut" in kinds(history)
    assert only(history, "CallbackStarted")["HeartbeatTimeout"] == 1


def test_a_callbacks_submitter_gets_its_id(run):
    assert run("answered")[1] == "answered"


def test_wait_for_condition_repeats_with_its_last_state(run, events):
    response, result = run("condition")
    assert result == 3
    rounds = details(events(response["DurableExecutionArn"]), "StepSucceeded")
    assert [json.loads(each["Result"]["Payload"]) for each in rounds] == [1, 2, 3]
    assert [each["RetryDetails"]["CurrentAttempt"] for each in rounds] == [1, 2, 3]


@pytest.mark.parametrize(
    ("target", "given", "result", "version"),
    [
        ("plain", {"n": 1}, {"plain": {"n": 1}}, r"\$LATEST"),
        ("durable", {"do": "wait"}, "waited", r"\d+"),
    ],
)
def test_a_chained_invoke_suspends_the_caller_until_the_target_ends(run, events, target, given, result, version):
    """https://docs.aws.amazon.com/durable-execution/sdk-reference/operations/invoke/"""
    response, answer = run("invoke", target=target, **{"with": given})
    assert answer == result
    history = events(response["DurableExecutionArn"])
    assert kinds(history, "invoke") == ["ChainedInvokeStarted", "ChainedInvokeSucceeded"]
    assert re.fullmatch(version, only(history, "ChainedInvokeStarted")["ExecutedVersion"])


def test_a_chained_invoke_runs_for_a_tenant(run, events):
    response, result = run("invoke", target="tenants", tenant="blue")
    assert result["tenant"] == "blue"
    assert only(events(response["DurableExecutionArn"]), "ChainedInvokeStarted")["TenantId"] == "blue"


def test_each_tenant_has_workers_of_its_own(client, outputs):
    """https://docs.aws.amazon.com/lambda/latest/dg/tenant-isolation.html"""

    def invoke(tenant):
        response = client.invoke(FunctionName=outputs["Tenants"], TenantId=tenant)
        return json.loads(response["Payload"].read())

    blue, green, blue_again = map(invoke, ("blue", "green", "blue"))
    assert (blue["tenant"], green["tenant"]) == ("blue", "green")
    assert blue["worker"] != green["worker"]
    assert blue_again == blue


@pytest.mark.parametrize(("function", "given"), [("Tenants", {}), ("Plain", {"TenantId": "blue"})])
def test_a_tenant_id_is_for_functions_with_tenants_only(client, outputs, function, given):
    with pytest.raises(client.exceptions.InvalidParameterValueException, match="tenan"):
        client.invoke(FunctionName=outputs[function], **given)


@pytest.mark.parametrize(("target", "tenant"), [("tenants", None), ("plain", "blue")])
def test_a_chained_invoke_fails_for_a_wrong_tenant_id(run, target, tenant):
    assert "tenancy configuration" in run("invoke", target=target, tenant=tenant)[1]["caught"]


@pytest.mark.parametrize(
    ("target", "given", "said"),
    [("plain", {"fail": True}, "by the plain function"), ("durable", {"do": "error"}, "outside of any step")],
)
def test_the_error_of_a_chained_invokes_target_reaches_the_caller(run, target, given, said):
    assert said in run("invoke", target=target, **{"with": given})[1]["caught"]


def test_a_step_is_retried_by_its_strategy_between_invocations(run, events):
    response, attempt = run("retry")
    assert attempt == 3
    history = events(response["DurableExecutionArn"])
    assert Counter(kinds(history, "retry"))["StepFailed"] == 2
    assert only(history, "StepSucceeded")["RetryDetails"] == {"CurrentAttempt": 3}
    assert kinds(history).count("InvocationCompleted") >= 3


def test_the_type_and_text_of_a_steps_error_reach_the_handler(run):
    _, caught = run("step error")
    assert caught["type"].endswith("Refused")
    assert "negative" in caught["message"]


def test_an_error_that_leaves_the_handler_fails_the_execution_at_once(run, client, events):
    response, error = run("error")
    assert response["FunctionError"] == "Unhandled"
    assert error["errorMessage"] == "outside of any step"
    told = client.get_durable_execution(DurableExecutionArn=response["DurableExecutionArn"])
    assert told["Status"] == "FAILED"
    assert told["Error"]["ErrorType"].endswith("Refused")
    assert kinds(events(response["DurableExecutionArn"])).count("InvocationCompleted") == 1


def test_a_list_without_a_qualifier_has_the_executions_of_published_versions(start, end, client, outputs):
    """botocore's model says "all versions", an older API reference "$LATEST". The pipeline's sweep relies on it."""
    arn = start("step", **{"with": {}})
    function, _, name, _ = arn.split("/")
    assert function.rpartition(":")[2].isdigit()  # the version behind the alias
    end(arn)
    listed = client.list_durable_executions_by_function(
        FunctionName=outputs["OperationsName"], DurableExecutionName=name
    )
    assert [execution["DurableExecutionArn"] for execution in listed["DurableExecutions"]] == [arn]


@pytest.fixture
def weighted(client, outputs):
    """Sends all that the alias starts to a second version, by weight; `weighted(0.0)` to the first again."""
    name, alias = outputs["OperationsName"], outputs["Operations"].rpartition(":")[2]
    version = client.get_alias(FunctionName=name, Name=alias)["FunctionVersion"]
    description = f"of the contract tests, {uuid.uuid4().hex}"  # without a change no version is published
    client.update_function_configuration(FunctionName=name, Description=description)
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    second = client.publish_version(FunctionName=name)["Version"]
    assert second != version

    def route(weight):
        weights = {second: weight} if weight else {}
        client.update_alias(FunctionName=name, Name=alias, RoutingConfig={"AdditionalVersionWeights": weights})
        return second if weight else version

    yield route
    route(0.0)
    client.delete_function(FunctionName=name, Qualifier=second)


def test_a_start_that_a_weighted_alias_sends_to_another_version_joins_its_execution(client, outputs, weighted, end):
    """AWS's guide says that a name is unique in the account and Region, the API's reference "within the function".

    Neither says what an alias with weights does. The pipeline's canary relies on it: otherwise an order whose message
    is delivered twice during a canary starts twice.
    """
    name = f"contract-{uuid.uuid4().hex}"

    def start(payload):
        return client.invoke(
            FunctionName=outputs["Operations"],
            InvocationType="Event",
            Payload=json.dumps(payload).encode(),
            DurableExecutionName=name,
        )["DurableExecutionArn"]

    order = {"do": "wait"}
    first_version, first = weighted(0.0), start(order)
    second_version = weighted(1.0)
    assert start(order) == first
    assert end(first)["Version"] == first_version != second_version
    assert start(order) == first
    with pytest.raises(client.exceptions.DurableExecutionAlreadyStartedException):
        start({"do": "step", "with": {}})


def test_a_step_result_of_256_kilobytes_is_kept_for_the_next_invocation(run):
    assert run("large", bytes=262_142)[1] == 262_142  # and two quotation marks


def test_a_larger_step_result_fails_the_execution(run):
    """aws-durable-execution-sdk-python#342, and what AWS's SDK for Go records of the service's answers"""
    response, error = run("large", bytes=262_143)
    assert response["FunctionError"] == "Unhandled"
    assert "STEP output payload size must be less than or equal to 262144 bytes" in error["errorMessage"]


def test_a_result_of_a_megabyte_is_returned_whole(run):
    assert len(run("large result", bytes=1_000_000)[1]) == 1_000_000


def test_an_invocation_out_of_memory_is_retried(start, client, events, eventually):
    """https://docs.aws.amazon.com/lambda/latest/dg/durable-execution-sdk-retries.html"""
    if not REAL_STACK and not Path("/proc/self/status").exists():
        pytest.skip("here MemorySize is held against what /proc tells")
    arn = start("too much")

    def failures():
        details = [event.get("InvocationCompletedDetails", {}) for event in events(arn)]
        return [detail["Error"]["Payload"]["ErrorType"] for detail in details if "Error" in detail]

    eventually(lambda: len(failures()) >= 2, 60)
    client.stop_durable_execution(DurableExecutionArn=arn)
    assert set(failures()) == {"Runtime.OutOfMemory"}


EVERYTHING = {
    "step": {"echo": 1},
    "wait": "waited",
    "child": [1, 2],
    "map": {"results": [1, 4, 9], "succeeded": 3, "failed": 1},
    "parallel": {"results": [1, 2, 3], "succeeded": 3, "failed": 0},
    "callback": "answered",
    "condition": 3,
    "plain": {"plain": {"n": 1}},
    "retry": 3,
    "large": 200_000,
}


def test_every_kind_of_operation_ends_while_workers_are_killed(start, client, local, eventually):
    """Kills random workers at random times, from a fixed seed."""
    chance = random.Random(SEED)
    kills_left, killed = 4, []
    arn = start("everything")
    due = chance.uniform(0.2, 1.5)

    def workers():
        running = processes.of_stack(local.settings.directory)
        return sorted(pid for pid, arguments in running.items() if any("ministack-lambda-" in a for a in arguments))

    def look():
        nonlocal kills_left, due
        execution = client.get_durable_execution(DurableExecutionArn=arn)
        if execution["Status"] != "RUNNING":
            return execution
        if kills_left and time.monotonic() >= due and (pids := workers()):
            os.kill(victim := chance.choice(pids), signal.SIGKILL)
            killed.append(victim)
            kills_left -= 1
            due = time.monotonic() + chance.uniform(0.2, 1.5)
        return None

    execution = eventually(look, 120)
    assert execution["Status"] == "SUCCEEDED", execution.get("Error")
    result = json.loads(execution["Result"])
    assert result.pop("error")["type"].endswith("Refused")
    assert result == EVERYTHING
    assert killed
