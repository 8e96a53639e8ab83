"""What `make build` makes, by itself on Lambda's Python, and as the real SAM CLI deploys it to the endpoint.

`sam deploy` and `sam delete` are given nothing but AWS's own environment variables, AWS_ENDPOINT_URL among them.
"""

import ast
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from durable_local.ministack.patches.interpreters import find_python
from tests.e2e.deployed_pipeline import COMPLETED, DeployedPipeline, states
from tools.pipeline import ROOT
from tools.sample_data import load_samples

SAM = ROOT / ".venv-sam" / "bin" / "sam"
ARCHITECTURE = {"aarch64": "arm64", "arm64": "arm64"}.get(platform.machine(), "x86_64")
ELF_MACHINES = {"x86_64": 62, "arm64": 183}
STACK = "orders-by-sam"
# What the handlers read at import. A value that is missing here fails the import.
ENVIRONMENT = {
    "AWS_REGION": "eu-central-1",
    "AWS_DEFAULT_REGION": "eu-central-1",
    **dict.fromkeys(("CUSTOMERS_TABLE", "LEDGER_TABLE", "OPERATIONS_TABLE", "EVENT_BUS", "PUBLISHER_SOURCE"), "name"),
    **dict.fromkeys(("WAIT_SECONDS", "EXECUTION_TIMEOUT_SECONDS", "LEDGER_RETENTION_DAYS"), "900"),
    "ORDER_ID_PREFIX": "",
    "REJECTED_ORDERS_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/123456789012/rejected",
    "ORCHESTRATOR_ARN": "arn:aws:lambda:eu-central-1:123456789012:function:orchestrator:prod",
    "ENRICHER_ARN": "arn:aws:lambda:eu-central-1:123456789012:function:enricher",
    "STACK_ID": "arn:aws:cloudformation:eu-central-1:123456789012:stack/orders/0a1b2c3d-0000-0000-0000-000000000000",
}
IMPORT_THE_HANDLERS = """
import importlib, json, sys
folder, *handlers = sys.argv[1:]
sys.path.insert(0, folder)
import boto3
made, client = [], boto3.client
boto3.client = lambda *a, **k: made.append(client(*a, **k)) or made[-1]
for handler in handlers:
    module, _, name = handler.rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))
files = [getattr(module, "__file__", None) or "" for module in sys.modules.values()]
print(json.dumps({
    "modules": sum(file.startswith(folder) for file in files),
    "packages elsewhere": [path for path in sys.path if "site-packages" in path],
    "services": sorted({c.meta.service_model.service_name for c in made}),
    "operations": {c.meta.service_model.service_name: len(c.meta.service_model.operation_names) for c in made},
}))
"""


def build(folder, architecture=ARCHITECTURE, root=ROOT):
    """Runs `make build`; the path of the archive."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    # The environment is installed, and a copy of the sources has no lock file for it.
    ran = subprocess.run(
        ["make", "-o", ".venv/.dev", "build", f"BUILD={folder}", f"ARCHITECTURE={architecture}"],
        cwd=root,
        env=inherited,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return folder / "code.zip"


@pytest.fixture(scope="module")
def python():
    """The path of a Python of Lambda's version."""
    found = find_python("3.13")
    if found is None:
        pytest.skip("the bundle: `make build` needs Python 3.13, and there is none on PATH, from pyenv or from uv")
    return found


@pytest.fixture(scope="module")
def bundle(python, tmp_path_factory):
    """The archive for this machine, made by `make build`."""
    return build(tmp_path_factory.mktemp("built") / "build")


@pytest.fixture(scope="module")
def unpacked(bundle, tmp_path_factory):
    """A folder with the bundle's files, and nothing of the checkout."""
    folder = tmp_path_factory.mktemp("task")
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def imported(python, unpacked):
    """What the handlers imported and made, on Lambda's Python with nothing but the bundle on its path.

    All sources are replaced, so only byte code that Python uses without a look at them can run.
    """
    for path in unpacked.rglob("*.py"):
        path.write_text("raise ImportError('not from byte code')")
    handlers = sorted(set(re.findall(r"^ +Handler: (\S+)$", (ROOT / "template.yaml").read_text(), re.MULTILINE)))
    assert len(handlers) >= 6
    ran = subprocess.run(
        [python, "-I", "-S", "-B", "-c", IMPORT_THE_HANDLERS, unpacked, *handlers],
        cwd=unpacked,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.fixture(scope="module")
def sam(stack):
    def run(*arguments):
        environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **stack.environment}
        ran = subprocess.run(
            [SAM, *map(str, arguments)],
            cwd=ROOT,
            env={**environment, "SAM_CLI_TELEMETRY": "0", "SAM_CLI_POLL_DELAY": "0.2", "LANG": "C.UTF-8"},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr

    return run


@pytest.fixture(scope="module")
def deployed(sam, stack, bundle):
    """The pipeline of the bundle, deployed by `sam deploy` under another name than the fixture's stack."""
    sam(
        *("deploy", "--stack-name", STACK, "--template-file", bundle.with_name("template.yaml")),
        *("--no-confirm-changeset", "--resolve-s3", "--capabilities", "CAPABILITY_IAM"),
        *("--parameter-overrides", "WaitSeconds=1"),
    )
    [described] = stack.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
    beside = replace(stack, outputs={output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]})
    load_samples(beside)
    yield DeployedPipeline(beside)
    sam("delete", "--stack-name", STACK, "--no-prompts")
    # The template retains them; the next deployment under this name makes its own.
    for table in stack.client("dynamodb").list_tables()["TableNames"]:
        if table.startswith(STACK):
            stack.client("dynamodb").delete_table(TableName=table)


def test_every_handler_imports_with_nothing_but_the_bundle(imported):
    assert imported["modules"] > 200
    assert imported["packages elsewhere"] == []


def test_the_bundle_has_the_data_of_every_client_that_the_code_makes(imported):
    calls = [node for path in (ROOT / "src").rglob("*.py") for node in ast.walk(ast.parse(path.read_text()))]
    made = [call for call in calls if isinstance(call, ast.Call) and ast.unparse(call.func) == "boto3.client"]
    assert {ast.literal_eval(call.args[0]) for call in made} == set(imported["services"])
    assert all(operations > 10 for operations in imported["operations"].values())


def test_the_bundle_has_the_byte_code_of_every_module_and_is_small(bundle):
    with zipfile.ZipFile(bundle) as archive:
        sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
    suffixes = Counter(PurePosixPath(name).suffix for name in sizes)
    assert suffixes[".py"] == suffixes[".pyc"] > 200
    # Without what botocore has for other services: 46 MB unpacked before byte code.
    assert bundle.stat().st_size < 10_000_000
    assert sum(sizes.values()) < 25_000_000


def test_two_builds_in_two_folders_are_byte_identical(bundle, tmp_path):
    copy = tmp_path / "another checkout"
    for name in ("src", "tools"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Makefile", "template.yaml"):
        shutil.copy(ROOT / name, copy / name)
    (copy / ".venv").symlink_to(ROOT / ".venv")
    again = build(tmp_path / "a build", root=copy)
    assert again.read_bytes() == bundle.read_bytes()
    assert again.with_name("template.yaml").read_bytes() == bundle.with_name("template.yaml").read_bytes()


def test_a_bundle_is_built_for_another_processor_than_this_machine(python, tmp_path):
    [other] = ELF_MACHINES.keys() - {ARCHITECTURE}
    with zipfile.ZipFile(build(tmp_path / "other", other)) as archive:
        compiled = [name for name in archive.namelist() if name.endswith(".so")]
        machines = {int.from_bytes(archive.read(name)[18:20], "little") for name in compiled}
    assert machines == {ELF_MACHINES[other]}
    # `sam deploy` cannot give it to functions of this machine's processor.
    assert f"Default: {other}\n    AllowedValues: [{other}]\n" in (tmp_path / "other" / "template.yaml").read_text()


def test_without_pythons_of_lambdas_version_the_build_says_how_to_get_one(tmp_path):
    path = tmp_path / "bin"
    path.mkdir()
    for name in ("bash", "env", "uname", "python3"):
        (path / name).symlink_to(shutil.which(name) if name != "python3" else sys.executable)
    ran = subprocess.run(
        [shutil.which("make"), "-o", ".venv/.dev", "build", f"BUILD={tmp_path / 'build'}"],
        cwd=ROOT,
        env={"PATH": str(path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode != 0
    assert "uv python install 3.13" in ran.stderr
    assert not (tmp_path / "build").exists()


def test_an_order_and_its_events_pass_the_stack_that_sam_deployed(deployed, stack):
    queue = deployed.sqs.create_queue(QueueName=f"events-of-{STACK}")["QueueUrl"]
    named = {"QueueUrl": queue, "AttributeNames": ["QueueArn"]}
    arn = deployed.sqs.get_queue_attributes(**named)["Attributes"]["QueueArn"]
    bus = {"EventBusName": deployed.outputs["OrderEventsBusName"]}
    stack.client("events").put_rule(Name="all", EventPattern=json.dumps({"source": ["orders"]}), **bus)
    stack.client("events").put_targets(Rule="all", Targets=[{"Id": "queue", "Arn": arn}], **bus)

    deployed.send(['{"orderId": "ORDER-1", "customerId": "CUST-00004"}'])
    entry = deployed.ended("ORDER-1")
    assert states(entry) == COMPLETED
    assert entry.enrichment["enrichedData"]["profile"]["kind"] == "CUSTOMER"
    [event] = deployed.until(lambda: deployed.sqs.receive_message(QueueUrl=queue).get("Messages"), "an event")
    assert json.loads(event["Body"])["detail"]["orderId"] == "ORDER-1"


def test_a_bad_message_is_rejected_by_the_bundle(deployed):
    """The code that finds the mistakes is imported only then, and the reject is sent with SQS's client."""
    deployed.send(['{"orderId": 7}'])
    assert deployed.rejected('{"orderId": 7}')["reasonCode"] == "INVALID_ORDER"


def test_a_sweep_of_the_bundle_reads_both_lists(deployed):
    """Paginators have a file of their own in botocore's data."""
    answer = deployed.functions.invoke(FunctionName=deployed.outputs["OrderSweepArn"])
    assert "FunctionError" not in answer, answer["Payload"].read()


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
