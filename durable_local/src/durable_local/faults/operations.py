"""Finds the AWS operation of a request in AWS's own models."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from botocore.loaders import Loader

if TYPE_CHECKING:
    from collections.abc import Mapping

# The JSON protocols name the operation in a header: DynamoDB_20120810.UpdateItem.
TARGET = "X-Amz-Target"
SERVICES = {"DynamoDB": "dynamodb", "AmazonSQS": "sqs", "AWSEvents": "events"}
PARAMETER = re.compile(r"\{[^}]+\}")


def operation_of(method: str, path: str, headers: Mapping[str, str]) -> tuple[str, str] | None:
    """Service and operation; None for a service without faults. `path`: encoded, without the query."""
    if target := headers.get(TARGET):
        prefix, _, operation = target.partition(".")
        service = SERVICES.get(prefix.partition("_")[0])
        return (service, operation) if service else None
    for operation_method, pattern, operation in _lambda_operations():
        if method == operation_method and pattern.fullmatch(path):
            return "lambda", operation
    return None


@cache
def _lambda_operations() -> tuple[tuple[str, re.Pattern[str], str], ...]:
    """Method, path and name of each, with the fewest path parameters first: they are more exact."""
    operations = Loader().load_service_model("lambda", "service-2")["operations"].values()
    by_exactness = sorted(operations, key=lambda operation: operation["http"]["requestUri"].count("{"))
    return tuple(
        (operation["http"]["method"], _pattern(operation["http"]["requestUri"]), operation["name"])
        for operation in by_exactness
    )


def _pattern(uri: str) -> re.Pattern[str]:
    literals = PARAMETER.split(uri.partition("?")[0].rstrip("/"))
    return re.compile("[^/]+".join(map(re.escape, literals)) + "/?")
