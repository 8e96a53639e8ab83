"""Imports the handlers of the Python functions that were deployed, so that `up` can say at once which ones fail.

Lambda says so at the first invocation. The workers stay: the first invocation uses them.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from durable_local import clients, keys
from durable_local.ministack.patches.worker_program import ONLY_IMPORT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from durable_local.settings import Settings

# The front door gives an Invoke with this header to MiniStack, also that of a durable function.
ONLY_IMPORT_HEADER = "X-Local-Stack-Only-Import"
CONCURRENCY = 2


def errors(settings: Settings, functions: Mapping[str, str]) -> dict[str, str]:
    """The errors of those `functions` (names, by any key) whose handlers cannot be imported."""
    aws_lambda: Any = clients.client(settings.endpoint, keys.of(settings).credentials, "lambda")
    aws_lambda.meta.events.register("before-call.lambda.Invoke", _add_header)
    with ThreadPoolExecutor(CONCURRENCY) as callers:
        found = callers.map(lambda name: _error(aws_lambda, name), functions.values())
        return {name: error for name, error in zip(functions, found, strict=True) if error}


def _error(aws_lambda: Any, function: str) -> str | None:
    try:
        versions = aws_lambda.get_paginator("list_versions_by_function").paginate(FunctionName=function)
        newest = max((each for page in versions for each in page["Versions"]), key=_age)
        if not newest.get("Runtime", "").startswith("python"):
            return None
        event = json.dumps(ONLY_IMPORT).encode()
        answer = aws_lambda.invoke(FunctionName=function, Qualifier=newest["Version"], Payload=event)
    except (ClientError, BotoCoreError):
        return None  # a throttled function, for example: its first invocation will say it
    if "FunctionError" not in answer:
        return None
    report = json.loads(answer["Payload"].read())
    return f"{report['errorType']}: {report['errorMessage']}"


def _age(version: dict[str, Any]) -> int:
    return int(version["Version"]) if version["Version"].isdecimal() else 0


def _add_header(params: dict[str, Any], **_: Any) -> None:
    params["headers"][ONLY_IMPORT_HEADER] = "1"
