"""One local stack with faults for every exhaustive test: template.yaml, with a short wait."""

import pytest

from tools.local_stack import local_stack


@pytest.fixture(scope="session")
def stack():
    with local_stack(parameters={"WaitSeconds": "1"}, faults=True) as running:
        yield running
