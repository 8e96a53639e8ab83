"""Hypothesis as this tier uses it, and what several of its files share."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "unit",
    max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "200")),
    deadline=None,
    derandomize="CI" in os.environ,
    # moto starts once for all examples of a test, and each example uses names of its own; and how long examples take
    # to make says something of a busy machine alone.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("unit")
