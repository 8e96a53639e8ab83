"""Applies a function's reserved concurrency to all of its versions.

MiniStack looks for the limit in the record of the invoked version, which never has it, so an invocation of a version
or an alias has no limit: see durable_local/docs/upstream/ministack-reserved-concurrency-of-versions.md.
https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
"""

from typing import Any

from .patching import Original, Patch

LAMBDA = "ministack.services.lambda_svc"
patch = Patch(__name__)
functions = patch.uses(LAMBDA, "_functions")


@patch.replaces(LAMBDA, "_reserved_concurrency")
def limit_of(original: Original, record: dict[str, Any], config: dict[str, Any]) -> Any:
    """The limit of the function, not of the version."""
    return original(functions.get().get(config.get("FunctionName")) or record, config)
