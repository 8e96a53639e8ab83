"""Hypothesis as this tier uses it, and what several of its files share."""

import os
from io import StringIO
from types import SimpleNamespace
from uuid import uuid4

import pytest
from aws_lambda_powertools import Logger
from hypothesis import HealthCheck, settings

settings.register_profile(
    "unit",
    max_examples=200,
    deadline=None,
    derandomize="CI" in os.environ,
    # moto starts once for all examples of a test, and each example uses names of its own; and how long examples take
    # to make says something of a busy machine alone.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("unit")


@pytest.fixture
def log():
    """Where `logger` writes."""
    return StringIO()


@pytest.fixture
def logger(log):
    # Powertools shares the handlers of a service's loggers, so each test is a service of its own.
    return Logger(service=f"test-{uuid4()}", level="INFO", stream=log)


@pytest.fixture
def lambda_context():
    """What Lambda passes beside an event, with half a minute left."""
    return SimpleNamespace(
        function_name="orders-Function",
        memory_limit_in_mb=1024,
        invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:orders-Function",
        aws_request_id="00000000-0000-4000-8000-000000000000",
        get_remaining_time_in_millis=lambda: 30_000,
    )
