"""What Lambda retries and what it fails at once.

Retried with backoff until ExecutionTimeout: crash, out of memory, function timeout, an error of the invocation.
Failed at once: an exception that leaves the handler, an answer that is not one of the durable SDK.
https://docs.aws.amazon.com/lambda/latest/dg/durable-execution-sdk-retries.html
"""

import io
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.config import Config

from durable_local import local_stack

FIXTURE = Path(__file__).parent / "fixture" / "template.yaml"


@pytest.fixture
def run(aws_lambda, stack, eventually):
    """Runs an execution to its end; returns it and the events of its invocations."""

    def ran(function="Durable", **payload):
        arn = aws_lambda.invoke(
            FunctionName=stack.outputs[function], InvocationType="Event", Payload=json.dumps(payload).encode()
        )["DurableExecutionArn"]

        def ended():
            execution = aws_lambda.get_durable_execution(DurableExecutionArn=arn)
            return execution if execution["Status"] != "RUNNING" else None

        execution = eventually(ended)
        events = aws_lambda.get_durable_execution_history(DurableExecutionArn=arn)["Events"]
        return execution, [event["InvocationCompletedDetails"] for event in events if _is_invocation(event)]

    return ran


def _is_invocation(event):
    return event["EventType"] == "InvocationCompleted"


@pytest.mark.parametrize(
    ("function", "way", "error"),
    [
        ("Durable", "crash_once", ("Runtime.ExitError", "Runtime exited with error: exit status 1")),
        ("Trouble", "kill_once", ("Runtime.ExitError", "Runtime exited with error: signal: killed")),
        ("Trouble", "raise_once", ("InvocationError", "as if Lambda had failed")),
    ],
)
def test_a_failed_invocation_is_retried_and_is_in_the_history(run, tmp_path, function, way, error):
    execution, invocations = run(function, **{way: str(tmp_path / "mark")})
    assert execution["Status"] == "SUCCEEDED"
    failed, succeeded = invocations
    error_type, message = error
    assert failed["Error"]["Payload"]["ErrorType"] == error_type
    assert failed["Error"]["Payload"]["ErrorMessage"].endswith(message)
    assert "Error" not in succeeded
    assert failed["StartTimestamp"] <= failed["EndTimestamp"] <= succeeded["StartTimestamp"]


def test_a_function_timeout_is_in_the_history(run, tmp_path):
    execution, invocations = run("Slow", hang_once=str(tmp_path / "mark"))
    assert execution["Status"] == "SUCCEEDED"
    assert "timed out" in invocations[0]["Error"]["Payload"]["ErrorMessage"].lower()


@pytest.mark.parametrize(
    ("function", "way"), [("Durable", "fail"), ("Trouble", "raise"), ("Trouble", "unserialisable")]
)
def test_an_error_of_the_handler_fails_the_execution_at_once(run, function, way):
    execution, invocations = run(function, **{way: True})
    assert execution["Status"] == "FAILED"
    assert execution["Error"]["ErrorMessage"]
    assert len(invocations) == 1


def test_a_result_too_large_for_a_response_is_a_checkpoint(run):
    """The durable SDK checkpoints a result that exceeds 6 MB with its envelope, before it answers."""
    execution, _ = run("Trouble", result_bytes=6_291_440)
    assert execution["Status"] == "SUCCEEDED"
    assert len(execution["Result"]) > 6_291_440


def test_a_result_of_more_than_six_megabytes_fails_the_execution(run):
    execution, invocations = run("Trouble", result_bytes=6_291_456)
    assert execution["Status"] == "FAILED"
    assert "less than or equal to 6291456" in execution["Error"]["ErrorMessage"]
    assert len(invocations) == 1


def test_a_stale_checkpoint_token_is_refused(aws_lambda, stack, run):
    execution, _ = run()
    arn = execution["DurableExecutionArn"]
    with pytest.raises(aws_lambda.exceptions.InvalidParameterValueException, match="Invalid checkpoint token"):
        aws_lambda.checkpoint_durable_execution(DurableExecutionArn=arn, CheckpointToken="c3RhbGU=", Updates=[])


@pytest.fixture
def fed(aws_lambda, stack, eventually):
    """Waits until the function has succeeded with an input that contains a text."""

    def with_input(text):
        def found():
            listed = aws_lambda.list_durable_executions_by_function(
                FunctionName=stack.outputs["FedName"], Statuses=["SUCCEEDED"]
            )["DurableExecutions"]
            executions = [
                aws_lambda.get_durable_execution(DurableExecutionArn=entry["DurableExecutionArn"]) for entry in listed
            ]
            return [execution for execution in executions if text in execution["InputPayload"]]

        return eventually(found)

    return with_input


def test_an_event_source_mapping_of_a_durable_function_starts_an_execution(stack, fed, eventually):
    """https://docs.aws.amazon.com/lambda/latest/dg/durable-invoking-esm.html"""
    sqs, url = stack.client("sqs"), stack.outputs["FeedQueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="from the queue")
    [execution] = fed("from the queue")
    assert execution["Version"] == "1"

    def left():
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        return {*sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values()}

    eventually(lambda: left() == {"0"})


def test_a_rule_starts_an_execution_of_a_durable_function(stack, fed):
    entry = {"Source": "fixture", "DetailType": "test", "Detail": json.dumps({"from": "the bus"})}
    stack.client("events").put_events(Entries=[entry])
    [execution] = fed("the bus")
    assert json.loads(execution["InputPayload"])["detail"] == {"from": "the bus"}


def test_a_topic_starts_an_execution_of_a_durable_function(stack, fed):
    stack.client("sns").publish(TopicArn=stack.outputs["FeedTopicArn"], Message="from the topic")
    [execution] = fed("from the topic")
    assert json.loads(execution["InputPayload"])["Records"][0]["EventSource"] == "aws:sns"


@pytest.fixture(scope="module")
def narrow():
    """One invocation of a durable function at once, and four started executions a second."""
    with local_stack(template=FIXTURE, stack_name="narrow", concurrency=1, starts_per_second=4) as running:
        yield running


def test_a_handler_that_waits_for_a_durable_function_frees_its_slot(narrow):
    """Lambda has a thousand slots; here it has the only one."""
    payload = json.dumps({"call": narrow.outputs["Durable"]}).encode()
    answer = narrow.client("lambda").invoke(FunctionName=narrow.outputs["Trouble"], Payload=payload)
    assert json.loads(answer["Payload"].read())["answer"]["greeting"] == "hello"


def test_starts_above_a_quota_are_throttled(narrow):
    """Lambda's is 300 a second: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""
    client = narrow.client("lambda", Config(retries={"total_max_attempts": 1}))

    def start(name):
        arguments = {"FunctionName": narrow.outputs["Durable"], "InvocationType": "Event"}
        return client.invoke(DurableExecutionName=name, **arguments)

    start("first")
    with pytest.raises(client.exceptions.TooManyRequestsException) as throttled:
        [start(f"more-{number}") for number in range(50)]
    assert throttled.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert throttled.value.response["Reason"] == "CallerRateLimitExceeded"
    assert throttled.value.response["retryAfterSeconds"] == "1"  # the header `Retry-After`, by its name in the model
    assert start("first")["StatusCode"] == 202  # joins: it is no start


def invoke_plain(stack, event):
    response = stack.client("lambda").invoke(FunctionName=stack.outputs["Plain"], Payload=json.dumps(event).encode())
    return response.get("FunctionError"), json.loads(response["Payload"].read())


def test_a_plain_handlers_error_has_class_and_stack_and_keeps_its_worker(stack):
    """https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html"""
    _, before = invoke_plain(stack, {})
    error, report = invoke_plain(stack, {"fail": True})
    assert error == "Unhandled"
    assert (report["errorType"], report["errorMessage"]) == ("ValueError", "as it was told")
    assert "plain.py" in report["stackTrace"][-1]
    assert report["requestId"]
    _, after = invoke_plain(stack, {})
    assert after["process"] == before["process"]


def test_a_result_that_is_not_json_is_a_marshal_error(stack):
    error, report = invoke_plain(stack, {"unserialisable": True})
    assert error == "Unhandled"
    assert report["errorType"] == "Runtime.MarshalError"
    assert "set is not JSON serializable" in report["errorMessage"]


needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="MemorySize is enforced by /proc")


@needs_proc
def test_only_an_invocation_above_its_memory_size_is_out_of_memory(stack, tmp_path):
    """https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""
    let_go = tmp_path / "let go"
    with ThreadPoolExecutor(1) as caller:
        neighbour = caller.submit(invoke_plain, stack, {"hold": str(let_go)})
        while not Path(f"{let_go}.reached").exists():
            assert not neighbour.done()
        for a_moment_or_for_ever in ({}, {"hold": str(tmp_path / "never")}):
            error, report = invoke_plain(stack, {"too_much": True, **a_moment_or_for_ever})
            assert error == "Unhandled"
            assert report.keys() == {"errorType", "errorMessage"}
            assert report["errorType"] == "Runtime.OutOfMemory"
            assert report["errorMessage"].endswith("Error: Runtime exited with error: signal: killed")
            assert invoke_plain(stack, {})[0] is None
        let_go.touch()
        error, answer = neighbour.result(timeout=20)
    assert error is None, answer
    assert answer["version"] == "$LATEST"


@needs_proc
def test_a_durable_execution_out_of_memory_is_retried_until_it_fits(run, tmp_path):
    execution, invocations = run("Trouble", too_much=2, marks=str(tmp_path))
    assert execution["Status"] == "SUCCEEDED"
    *failed, succeeded = invocations
    assert [invocation["Error"]["Payload"]["ErrorType"] for invocation in failed] == ["Runtime.OutOfMemory"] * 2
    assert "Error" not in succeeded
    assert len(list(tmp_path.iterdir())) == 3


@needs_proc
def test_a_durable_execution_always_out_of_memory_times_out(run, tmp_path):
    execution, invocations = run("BriefTrouble", too_much=1_000, marks=str(tmp_path))
    assert execution["Status"] == "TIMED_OUT"
    assert {invocation["Error"]["Payload"]["ErrorType"] for invocation in invocations} == {"Runtime.OutOfMemory"}
    assert len(invocations) >= 2


ENDS_WHEN_IMPORTED = """
import os, time
from pathlib import Path
if Path({ends!r}).exists():
    os._exit(3)
def handler(event, context):
    Path({reached!r}).touch()
    while not Path({let_go!r}).exists():
        time.sleep(0.01)
    return "let go"
"""


def test_a_worker_that_ends_at_its_start_ends_no_other_worker(stack, aws_lambda, tmp_path):
    paths = {name: tmp_path / name for name in ("ends", "reached", "let_go")}
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as code:
        code.writestr("index.py", ENDS_WHEN_IMPORTED.format(**{name: str(path) for name, path in paths.items()}))
    aws_lambda.create_function(
        FunctionName="ends-when-imported",
        Runtime="python3.13",
        Role="arn:aws:iam::000000000000:role/none",
        Handler="index.handler",
        Timeout=30,
        Code={"ZipFile": archive.getvalue()},
    )

    def invoke():
        return aws_lambda.invoke(FunctionName="ends-when-imported")

    with ThreadPoolExecutor(1) as caller:
        neighbour = caller.submit(invoke)
        while not paths["reached"].exists():
            assert not neighbour.done()
        paths["ends"].touch()
        report = json.loads(invoke()["Payload"].read())
        paths["let_go"].touch()
        assert neighbour.result(timeout=20)["Payload"].read() == b'"let go"'
    aws_lambda.delete_function(FunctionName="ends-when-imported")
    assert report["errorType"] == "Runtime.ExitError"
    assert report["errorMessage"].endswith("Runtime exited with error: exit status 3")
