"""Fixtures for all tiers: the template's tables, AWS settings that reach no real service, Lambda's context."""

import gc
import os
import signal
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import boto3
import pytest
from aws_lambda_powertools import Logger
from awscli.customizations.cloudformation.yamlhelper import yaml_parse
from moto import mock_aws

from tests.moto_speed import create_routes

ROOT = Path(__file__).parents[1]
# A shell that runs the tests in the background ignores interrupts. Programs that a test interrupts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
# New objects before a collection. With Python's own number, collections are a seventh of the CPU of tests with moto.
gc.set_threshold(50_000, 20, 20)

LONGEST = ("tests/faults/test_every", "tests/faults/test_seeded", "tests/e2e", "durable_local/tests", "tests/protocol")


def pytest_collection_modifyitems(config, items):
    """The files that take longest come first, so that all processes of `make test` end at about the same time."""

    def place(item):
        folder = item.path.relative_to(config.rootpath).as_posix()
        return next((number for number, tier in enumerate(LONGEST) if folder.startswith(tier)), len(LONGEST))

    items.sort(key=place)


@pytest.fixture(scope="session")
def template():
    """template.yaml without SAM's translation, with intrinsic functions in their long form."""
    return yaml_parse((ROOT / "template.yaml").read_text())


def set_lambda_variables(monkeypatch):
    """The AWS variables of a function on Lambda, and none of the user's. Handlers create their clients from them."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def session():
    """boto3's session in all tests with moto: it reads the model of a service once, which takes 0.1 seconds."""
    create_routes("lambda")
    return boto3.Session()


@pytest.fixture
def aws(monkeypatch, session):
    """moto instead of AWS, empty for each test."""
    set_lambda_variables(monkeypatch)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", session)
    with mock_aws(config={"core": {"reset_boto3_session": False}}):
        yield


@pytest.fixture
def dynamodb(aws):
    return boto3.client("dynamodb")


def create_table(dynamodb, template, resource):
    """The template's table in moto."""
    properties = template["Resources"][resource]["Properties"]
    wanted = ("AttributeDefinitions", "BillingMode", "GlobalSecondaryIndexes", "KeySchema")
    options = {key: properties[key] for key in wanted if key in properties}
    if "StreamSpecification" in properties:  # CloudFormation enables a stream that has a view type
        options["StreamSpecification"] = {"StreamEnabled": True, **properties["StreamSpecification"]}
    dynamodb.create_table(TableName=resource, **options)
    return resource


@pytest.fixture
def ledger_table(dynamodb, template):
    return create_table(dynamodb, template, "LedgerTable")


@pytest.fixture
def operations_table(dynamodb, template):
    return create_table(dynamodb, template, "OperationsTable")


@pytest.fixture
def customers_table(dynamodb, template):
    return create_table(dynamodb, template, "CustomersTable")


@pytest.fixture
def log():
    """The stream to which `logger` writes."""
    return StringIO()


@pytest.fixture
def logger(log):
    # Powertools shares the handlers of a service's loggers, so each test is a service of its own.
    return Logger(service=f"test-{uuid4()}", level="INFO", stream=log)


@pytest.fixture
def lambda_context():
    """Lambda's context of an invocation with half a minute left."""
    return SimpleNamespace(
        function_name="orders-Function",
        memory_limit_in_mb=1024,
        invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:orders-Function",
        aws_request_id="00000000-0000-4000-8000-000000000000",
        get_remaining_time_in_millis=lambda: 30_000,
    )
