"""Settings of Hypothesis for the unit tests, and fixtures for several of their files."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "unit",
    max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "100")),
    deadline=None,
    derandomize="CI" in os.environ,
    # moto starts once for all examples of a test, and each example uses names of its own. The time that an example
    # takes depends only on the load of the machine.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("unit")
