"""Any template, deployed as a second stack: what starts its functions, and what is refused or reported."""

import base64
import json
import urllib.request
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from durable_local import LocalStackError

FIXTURE = Path(__file__).parent / "fixture"
ROLE = "arn:aws:iam::000000000000:role/none"


@pytest.fixture(scope="module")
def beside(stack):
    """Deploys a template to the running stack under another name."""

    def deploy(template, name, **parameters):
        settings = replace(stack.settings, template=template, stack_name=name, parameters=parameters)
        return replace(stack, settings=settings).deploy()

    return deploy


@pytest.fixture(scope="module")
def sources(beside):
    soon = (datetime.now(UTC) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%S")
    return beside(FIXTURE / "sources.yaml", "sources", Once=f"at({soon})")


@pytest.fixture
def started_with(sources, aws_lambda, eventually):
    """Waits for a succeeded execution whose input has a text in it; the input, parsed."""

    def wait(text):
        def look():
            listed = aws_lambda.list_durable_executions_by_function(
                FunctionName=sources.outputs["DurableName"], Statuses=["SUCCEEDED"]
            )
            for execution in listed["DurableExecutions"]:
                arn = execution["DurableExecutionArn"]
                payload = aws_lambda.get_durable_execution(DurableExecutionArn=arn)["InputPayload"]
                if text in payload:
                    return json.loads(payload)
            return None

        return eventually(look)

    return wait


def test_two_stacks_do_not_share_a_name_or_an_environment(sources, stack, aws_lambda):
    results = [
        json.loads(aws_lambda.invoke(FunctionName=deployed.outputs["Durable"])["Payload"].read())["greeting"]
        for deployed in (stack, sources)
    ]
    assert results == ["hello", "from its own stack"]


def test_a_function_may_have_several_aliases(sources, aws_lambda):
    for alias in ("Durable", "Second"):
        assert aws_lambda.invoke(FunctionName=sources.outputs[alias])["ExecutedVersion"] == "1"


def test_a_durable_function_invokes_one_of_another_stack(sources, stack, aws_lambda):
    payload = json.dumps({"invoke": sources.outputs["Durable"], "with": {}}).encode()
    result = aws_lambda.invoke(FunctionName=stack.outputs["Durable"], Payload=payload)["Payload"].read()
    assert json.loads(result)["answer"]["greeting"] == "from its own stack"


def test_a_queue_is_emptied_when_its_durable_executions_end(sources, stack, started_with, eventually):
    """https://docs.aws.amazon.com/lambda/latest/dg/durable-invoking-esm.html"""
    sqs, url = stack.client("sqs"), sources.outputs["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="from the queue")
    assert started_with("from the queue")["Records"][0]["eventSource"] == "aws:sqs"

    def left():
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return sum(map(int, attributes.values()))

    eventually(lambda: left() == 0)


def test_a_rule_starts_an_execution(stack, started_with):
    entry = {"Source": "tests.announcements", "DetailType": "Announced", "Detail": '{"who": "the rule"}'}
    stack.client("events").put_events(Entries=[entry])
    assert started_with("the rule")["detail-type"] == "Announced"


def test_a_rule_with_an_unqualified_durable_target_starts_nothing(sources, stack, started_with, aws_lambda):
    """https://docs.aws.amazon.com/lambda/latest/dg/durable-invoking.html"""
    entry = {"Source": "tests.announcements", "DetailType": "Announced", "Detail": '{"who": "one rule of two"}'}
    stack.client("events").put_events(Entries=[entry])
    assert started_with("one rule of two")
    listed = aws_lambda.list_durable_executions_by_function(
        FunctionName=sources.outputs["DurableName"], Qualifier="$LATEST"
    )
    assert not listed["DurableExecutions"]


def test_a_topic_starts_an_execution(sources, stack, started_with):
    stack.client("sns").publish(TopicArn=sources.outputs["TopicArn"], Message="from the topic")
    assert started_with("from the topic")["Records"][0]["Sns"]["Message"] == "from the topic"


def test_a_tables_stream_starts_an_execution(sources, stack, started_with):
    stack.client("dynamodb").put_item(TableName=sources.outputs["WatchedName"], Item={"id": {"S": "from the table"}})
    assert started_with("from the table")["Records"][0]["eventName"] == "INSERT"


def test_a_buckets_notification_starts_an_execution(sources, stack, started_with):
    """https://docs.aws.amazon.com/lambda/latest/dg/with-s3.html"""
    stack.client("s3").put_object(Bucket=sources.outputs["BucketName"], Key="from-the-bucket", Body=b"an order")
    [record] = started_with("from-the-bucket")["Records"]
    assert (record["eventSource"], record["eventName"]) == ("aws:s3", "ObjectCreated:Put")


def test_a_data_stream_starts_an_execution(sources, stack, started_with):
    """https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html"""
    data = base64.b64encode(b"from the data stream").decode()
    stack.client("kinesis").put_record(
        StreamName=sources.outputs["StreamName"], Data=b"from the data stream", PartitionKey="an order"
    )
    assert started_with(data)["Records"][0]["eventSource"] == "aws:kinesis"


@pytest.mark.parametrize(("api", "stage"), [("RestApiId", "Prod"), ("HttpApiId", "$default")])
def test_an_api_answers_with_the_result_of_a_durable_execution(sources, stack, started_with, api, stage):
    """https://docs.aws.amazon.com/lambda/latest/dg/services-apigateway.html"""
    url = f"{stack.endpoint}/restapis/{sources.outputs[api]}/{stage}/_user_request_/orders"
    order = json.dumps({"from": api}).encode()
    request = urllib.request.Request(url, order, {"Content-Type": "application/json"}, method="POST")
    with urllib.request.urlopen(request, timeout=30) as response:
        assert json.load(response)["greeting"] == "from its own stack"
    event = started_with(api)
    assert json.loads(event["body"]) == {"from": api}
    assert "x-local-stack-secret" not in {name.lower() for name in event["headers"]}


@pytest.fixture
def output_of(sources, stack, eventually):
    """Runs a state machine to its end; returns its output."""
    client = stack.client("stepfunctions")

    def run(machine, event):
        arn = client.start_execution(stateMachineArn=sources.outputs[machine], input=json.dumps(event))["executionArn"]

        def look():
            execution = client.describe_execution(executionArn=arn)
            return execution if execution["status"] != "RUNNING" else None

        execution = eventually(look)
        assert execution["status"] == "SUCCEEDED", execution
        return json.loads(execution["output"])

    return run


def test_a_task_state_waits_for_the_end_of_a_durable_execution(output_of):
    """https://docs.aws.amazon.com/step-functions/latest/dg/connect-lambda.html"""
    assert output_of("MachineArn", {"from": "a machine"})["input"] == {"from": "a machine"}


def test_a_task_state_that_invokes_by_event_does_not_wait(output_of, started_with, tmp_path):
    assert output_of("StarterArn", {"hold": str(tmp_path / "let go")})["StatusCode"] == 202
    (tmp_path / "let go").touch()
    assert started_with(str(tmp_path))


def test_code_may_be_a_zip(beside, aws_lambda, tmp_path):
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        archive.writestr("index.py", "def handler(event, context):\n    return 'from a zip'\n")
    (tmp_path / "template.yaml").write_text(
        "Transform: AWS::Serverless-2016-10-31\n"
        "Resources: {F: {Type: 'AWS::Serverless::Function', Properties:\n"
        "  {Handler: index.handler, Runtime: python3.13, CodeUri: code.zip}}}\n"
        "Outputs: {F: {Value: !Ref F}}\n"
    )
    zipped = beside(tmp_path / "template.yaml", "zipped").outputs["F"]
    assert aws_lambda.invoke(FunctionName=zipped)["Payload"].read() == b'"from a zip"'


def function(**properties):
    defaults = {
        "Handler": "index.handler",
        "Runtime": "python3.13",
        "Role": ROLE,
        "Code": {"ZipFile": "handler = print"},
    }
    return {"F": {"Type": "AWS::Lambda::Function", "Properties": {**defaults, **properties}}}


def mapping(**properties):
    named = {"FunctionName": {"Ref": "F"}, "EventSourceArn": "arn:aws:sqs:eu-central-2:000000000000:none"}
    return {**function(), "M": {"Type": "AWS::Lambda::EventSourceMapping", "Properties": {**named, **properties}}}


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        ({"P": {"Type": "AWS::CodeDeploy::Application"}}, "AWS::CodeDeploy::Application"),
        (function(Runtime="java21"), "Runtime java21 is not supported"),
        (function(PackageType="Image", Code={"ImageUri": "an/image"}), "container images"),
        (function(FileSystemConfigs=[{"Arn": "an:arn", "LocalMountPath": "/mnt/a"}]), "FileSystemConfigs"),
        ({"A": {"Type": "AWS::ApiGatewayV2::Api", "Properties": {"Body": {"openapi": "3.0.1"}}}}, "Body of AWS::ApiG"),
        (mapping(TumblingWindowInSeconds=10), "TumblingWindowInSeconds"),
        (mapping(EventSourceArn="arn:aws:kafka:eu-central-2:000000000000:cluster/a/b"), "event sources of kafka"),
    ],
    ids=["type", "runtime", "image", "files", "routes", "window", "source"],
)
def test_an_unsupported_resource_is_refused_by_name(beside, tmp_path, resources, said):
    (tmp_path / "template.yaml").write_text(json.dumps({"Resources": resources}))
    with pytest.raises(LocalStackError, match=said):
        beside(tmp_path / "template.yaml", "refused")


def test_sam_decides_by_the_value_of_a_parameter(beside, tmp_path):
    """With a DeploymentPreference, SAM adds resources of CodeDeploy, which this stack refuses."""
    (tmp_path / "f.py").write_text("def handler(event, context): ...\n")
    plain = {
        "Runtime": "python3.13",
        "Handler": "f.handler",
        "CodeUri": ".",
        "AutoPublishAlias": "live",
        "DeploymentPreference": {"Enabled": {"Ref": "Shift"}, "Type": "AllAtOnce"},
    }
    template = {
        "Transform": "AWS::Serverless-2016-10-31",
        "Parameters": {"Shift": {"Type": "String", "Default": "false"}},
        "Resources": {"F": {"Type": "AWS::Serverless::Function", "Properties": plain}},
        "Outputs": {"Shift": {"Value": {"Ref": "Shift"}}},
    }
    (tmp_path / "template.yaml").write_text(json.dumps(template))
    assert beside(tmp_path / "template.yaml", "shifts").outputs == {"Shift": "false"}
    with pytest.raises(LocalStackError, match="AWS::CodeDeploy::Application"):
        beside(tmp_path / "template.yaml", "shifts", Shift="true")
    with pytest.raises(LocalStackError, match="AWS::CodeDeploy::Application"):
        beside(tmp_path / "template.yaml", "shifts-from-the-start", Shift="true")
    assert beside(tmp_path / "template.yaml", "shifts").outputs == {"Shift": "false"}


@pytest.mark.parametrize(
    ("compiled", "said"),
    [
        ("_c.cpython-313-mips-linux-gnu.so", "built for mips"),
        ("_c.cpython-399-{here}-linux-gnu.so", "no python3.99 on PATH"),
    ],
)
def test_code_for_another_machine_is_refused_at_deployment(beside, tmp_path, compiled, said):
    import platform

    with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        archive.writestr("package/" + compiled.format(here=platform.machine()), b"")
    (tmp_path / "template.yaml").write_text(json.dumps({"Resources": function(Code="code.zip")}))
    with pytest.raises(LocalStackError, match=said):
        beside(tmp_path / "template.yaml", "refused")


def test_ignored_properties_are_reported(beside, tmp_path):
    """A property without effect here: the stack is deployed and reports it."""
    table = {
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
    }
    (tmp_path / "template.yaml").write_text(
        json.dumps({"Resources": {"T": {"Type": "AWS::DynamoDB::Table", "Properties": table}}})
    )
    assert beside(tmp_path / "template.yaml", "passed-over").notices == [
        "T (AWS::DynamoDB::Table): Not carried out by the local stack: PointInTimeRecoverySpecification"
    ]


def test_a_schedule_starts_an_execution(started_with):
    """Last in the file: MiniStack checks schedules every few seconds, and the other tests run meanwhile."""
    assert started_with("the schedule") == {"from": "the schedule"}
