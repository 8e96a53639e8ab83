"""Finds the AWS operation of a request in AWS's own models, and the resources that it is about."""

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import parse_qs, unquote

from botocore.loaders import Loader

# The JSON protocols name the operation in a header: DynamoDB_20120810.UpdateItem.
TARGET = "X-Amz-Target"
SERVICES = {"DynamoDB": "dynamodb", "AmazonSQS": "sqs", "AWSEvents": "events"}
PARAMETER = re.compile(r"\{[^}]+\}")
LAMBDA_RESOURCE = re.compile(r"/(?:functions|durable-executions|event-source-mappings)/([^/]+)")
SIGNED_FOR = re.compile(r"Credential=[^/]+/[^/]+/[^/]+/([^/]+)/")


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


def unknown_operation(method: str, path: str, headers: Mapping[str, str]) -> tuple[str, str]:
    """The service that a request is signed for, and its target or its method and path."""
    signed = SIGNED_FOR.search(headers.get("Authorization", ""))
    return signed[1] if signed else "?", headers.get(TARGET) or f"{method} {path}"


def resources_of(service: str, path: str, query: str, body: bytes) -> frozenset[str]:
    """What a request is about: tables and indexes, a queue, event buses, a function, an execution, an event source.

    An index is `table/index/name`, a function with a qualifier `function:qualifier`. None for an unknown form.
    """
    if service == "lambda":
        found = LAMBDA_RESOURCE.search(path)
        qualifiers = parse_qs(query).get("Qualifier", [])
        return frozenset([":".join([unquote(found[1]), *qualifiers])] if found else [])
    try:
        fields = json.loads(body)
    except ValueError:
        return frozenset()
    return frozenset(_named_in(service, fields)) if isinstance(fields, dict) else frozenset()


def _named_in(service: str, fields: dict[str, Any]) -> list[str]:
    match service, fields:
        case "dynamodb", {"TableName": table, "IndexName": index}:
            return [f"{table}/index/{index}"]
        case "dynamodb", {"TableName": table}:
            return [table]
        case "dynamodb", {"RequestItems": tables}:
            return list(tables)
        case "sqs", {"QueueUrl": url}:
            return [url.rpartition("/")[2]]
        case "events", {"Entries": entries}:
            return [entry.get("EventBusName", "default") for entry in entries]
    return []


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
