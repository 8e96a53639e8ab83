"""The real SAM CLI against the endpoint: build, deploy beside another stack, delete.

`sam deploy` and `sam delete` are given nothing but AWS's own environment variables, AWS_ENDPOINT_URL among them.
"""

import json
import os
import platform
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

from durable_local.ministack.patches.interpreters import find_python

REPOSITORY = Path(__file__).parents[2]
SAM = REPOSITORY / ".venv-sam" / "bin" / "sam"
ARCHITECTURE = {"aarch64": "arm64", "arm64": "arm64"}.get(platform.machine(), "x86_64")
STACK = "orders-by-sam"


@pytest.fixture(scope="module")
def sam(stack):
    def run(*arguments, **more):
        environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **stack.environment, **more}
        ran = subprocess.run(
            [SAM, *map(str, arguments)],
            cwd=REPOSITORY,
            env={**environment, "SAM_CLI_TELEMETRY": "0", "SAM_CLI_POLL_DELAY": "0.2", "LANG": "C.UTF-8"},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr

    return run


@pytest.fixture(scope="module")
def deployed(sam, stack, tmp_path_factory):
    """The pipeline's outputs, deployed by `sam deploy` under another name than the fixture's stack.

    Skipped without Lambda's Python, which `sam build` needs.
    """
    python = find_python("3.13")
    if python is None:
        pytest.skip("the built bundle: `sam build` needs Python 3.13, and there is none on PATH, from pyenv or from uv")
    folder = tmp_path_factory.mktemp("built")
    architecture = ("--parameter-overrides", f"Architecture={ARCHITECTURE}")
    cache = ("--cached", "--cache-dir", folder / "cache")
    path = os.pathsep.join((str(Path(python).parent), os.environ["PATH"]))
    sam("build", "--build-dir", folder / "build", *cache, *architecture, PATH=path)
    template = folder / "build" / "template.yaml"
    sam(
        *("deploy", "--stack-name", STACK, "--template-file", template, "--no-confirm-changeset"),
        *("--resolve-s3", "--capabilities", "CAPABILITY_IAM"),
        *("--parameter-overrides", f"Architecture={ARCHITECTURE}", "WaitSeconds=1"),
    )
    [described] = stack.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
    yield {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
    sam("delete", "--stack-name", STACK, "--no-prompts")
    # The template retains them; the next deployment under this name makes its own.
    for table in stack.client("dynamodb").list_tables()["TableNames"]:
        if table.startswith(STACK):
            stack.client("dynamodb").delete_table(TableName=table)


def test_an_order_passes_the_stack_that_sam_deployed(deployed, stack, eventually):
    """On Lambda's Python: the bundle's compiled dependencies fit no other."""
    sample = next(
        json.loads(line, parse_float=Decimal)
        for line in (REPOSITORY / "samples" / "customers.jsonl").read_text().splitlines()
    )
    dynamodb = stack.client("dynamodb")
    dynamodb.put_item(TableName=deployed["CustomersTableName"], Item=attributes(sample))
    order = json.dumps({"orderId": "ORDER-1", "customerId": sample["customerId"]})
    stack.client("sqs").send_message(QueueUrl=deployed["OrdersQueueUrl"], MessageBody=order)

    def state():
        key = {"orderId": {"S": "ORDER-1"}}
        item = dynamodb.get_item(TableName=deployed["LedgerTableName"], Key=key).get("Item", {})
        return item.get("state", {}).get("S") in {"COMPLETED", "FAILED"} and item

    assert eventually(state, 60)["state"] == {"S": "COMPLETED"}


def test_sam_delete_keeps_the_tables_that_the_template_retains(sam, stack, tmp_path):
    """DeletionPolicy: RetainExceptOnCreate.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-attribute-deletionpolicy.html
    """
    template = tmp_path / "template.yaml"
    template.write_text(
        "Resources:\n"
        "  Queue: {Type: AWS::SQS::Queue, Properties: {QueueName: deleted-by-sam}}\n"
        "  Table:\n"
        "    Type: AWS::DynamoDB::Table\n"
        "    DeletionPolicy: RetainExceptOnCreate\n"
        "    Properties:\n"
        "      TableName: retained-by-sam\n"
        "      BillingMode: PAY_PER_REQUEST\n"
        "      AttributeDefinitions: [{AttributeName: id, AttributeType: S}]\n"
        "      KeySchema: [{AttributeName: id, KeyType: HASH}]\n"
    )
    sam("deploy", "--stack-name", "short-lived", "--template-file", template, "--no-confirm-changeset")
    sqs, dynamodb = stack.client("sqs"), stack.client("dynamodb")
    assert sqs.list_queues(QueueNamePrefix="deleted-by-sam")["QueueUrls"]

    sam("delete", "--stack-name", "short-lived", "--no-prompts")
    assert not sqs.list_queues(QueueNamePrefix="deleted-by-sam").get("QueueUrls")
    assert "retained-by-sam" in dynamodb.list_tables()["TableNames"]
    with pytest.raises(stack.client("cloudformation").exceptions.ClientError, match="does not exist"):
        stack.client("cloudformation").describe_stacks(StackName="short-lived")


def attributes(item):
    from boto3.dynamodb.types import TypeSerializer

    return {name: TypeSerializer().serialize(value) for name, value in item.items()}
