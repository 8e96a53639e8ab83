"""One local stack for all end-to-end tests: template.yaml on a free port, deployed as `make up` deploys it."""

import pytest
from browsers import browser  # noqa: F401 (a fixture)

from tests.e2e.deployed_pipeline import DeployedPipeline
from tests.roles import calls_of, refused
from tools.pipeline import local_stack
from tools.sample_data import load_samples

WAIT_SECONDS = 5
"""Long enough for a test to read an order while it waits, even on a busy machine."""


@pytest.fixture(scope="session")
def stack():
    # With `faults` the stack records what each function calls. A worker takes most of a second of CPU to start, so
    # there are few.
    with local_stack(parameters={"WaitSeconds": str(WAIT_SECONDS)}, faults=True, concurrency=3) as running:
        load_samples(running)
        yield running
        assert refused(calls_of(running)) == {}


@pytest.fixture(scope="session")
def pipeline(stack):
    return DeployedPipeline(stack)
