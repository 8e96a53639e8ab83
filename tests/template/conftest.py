"""The template in two forms, as written (`template`, for all tiers) and translated by SAM, and its handlers."""

import importlib
import sys
from types import SimpleNamespace

import pytest

from tests.conftest import set_lambda_variables
from tools.template_check import translated as translation_of


@pytest.fixture(scope="session")
def translated():
    """The CloudFormation template that SAM translates it to."""
    return translation_of()


@pytest.fixture(scope="session")
def resources(translated):
    return translated["Resources"]


@pytest.fixture(scope="session")
def properties(resources):
    """A resource's properties by its name."""
    return lambda name: resources[name]["Properties"]


@pytest.fixture(scope="session")
def parameters(template):
    return template["Parameters"]


@pytest.fixture(scope="session")
def handlers():
    """The five handler modules, imported as on Lambda."""
    with pytest.MonkeyPatch.context() as patch:
        set_lambda_variables(patch)
        for name, value in {
            "ORCHESTRATOR_ARN": "arn:aws:lambda:us-east-1:123456789012:function:f:prod",
            "ENRICHER_ARN": "arn:aws:lambda:us-east-1:123456789012:function:e",
            "REJECTED_ORDERS_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/rejected",
            "LEDGER_TABLE": "ledger",
            "CUSTOMERS_TABLE": "customers",
            "OPERATIONS_TABLE": "operations",
            "EVENT_BUS": "bus",
            "ORDER_ID_PREFIX": "",
            "PUBLISHER_SOURCE": "mapping",
            "STACK_ID": "stack",
            "WAIT_SECONDS": "2",
            "EXECUTION_TIMEOUT_SECONDS": "900",
            "LEDGER_RETENTION_DAYS": "0",
        }.items():
            patch.setenv(name, value)
        names = (
            "ingest.handler",
            "orchestrator.handler",
            "enricher.handler",
            "reconciler.handler",
            "publisher.handler",
        )
        for name in names:
            patch.delitem(sys.modules, name, raising=False)
        return SimpleNamespace(**{name.split(".")[0]: importlib.import_module(name) for name in names})
