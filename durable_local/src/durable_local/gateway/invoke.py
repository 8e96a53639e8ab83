"""Lambda's Invoke of a durable function: starts an execution, or finds the one of that name, and answers."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import re
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Never
from urllib.parse import parse_qs, unquote

from aiohttp import web
from aws_durable_execution_sdk_python_testing.execution import ExecutionStatus

from durable_local.errors import ApiError, invalid_parameter
from durable_local.function_reference import FunctionReference
from durable_local.ministack.child import HANDLER
from durable_local.ministack.imports import ONLY_IMPORT_HEADER

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Executor

    from durable_local.function_reference import DurableConfig, FunctionVersion
    from durable_local.gateway.front_door import NextStep
    from durable_local.gateway.functions import Functions
    from durable_local.gateway.incoming import Incoming
    from durable_local.runner.named_starts import NamedStarts
    from durable_local.runner.record import ExecutionRecord
    from durable_local.runner.runner import DurableRunner

INVOKE_PATH = re.compile(r"/2015-03-31/functions/([^/]+)/(?:response-streaming-)?invocations")
FUNCTION_WRITE_PATH = re.compile(r"/\d{4}-\d{2}-\d{2}/functions")
EXECUTION_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
MAX_SYNCHRONOUS_SECONDS = 900
MAX_PAYLOAD_BYTES = {"Event": 1024 * 1024, "RequestResponse": 6 * 1024 * 1024, "DryRun": 6 * 1024 * 1024}


class DurableInvoke:
    """Answers an Invoke of a durable function."""

    def __init__(self, functions: Functions, runner: DurableRunner, starts: NamedStarts, threads: Executor) -> None:
        self._functions = functions
        self._runner = runner
        self._starts = starts
        self._threads = threads

    async def handle(self, request: Incoming, next_step: NextStep) -> web.StreamResponse:
        """Raises ApiError for what Lambda refuses; gives an Invoke of a plain function to the next step."""
        invoke = INVOKE_PATH.fullmatch(request.path) if request.method == "POST" else None
        if invoke is None:
            try:
                return await next_step(request)
            finally:
                if _may_change_a_function(request):
                    self._functions.forget()
        try:
            reference = FunctionReference.parse(unquote(invoke[1]), parse_qs(request.query).get("Qualifier", [None])[0])
            function = await self._functions.describe(reference)
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            function = None  # MiniStack reports it
        if function is not None:
            function.check_tenant(request.headers.get("X-Amz-Tenant-Id"))
        if function is None or function.durable is None or ONLY_IMPORT_HEADER in request.headers:
            return await next_step(request)
        return await self._invoke(reference, function, function.durable, request.headers, await request.body())

    async def _invoke(
        self,
        reference: FunctionReference,
        function: FunctionVersion,
        durable: DurableConfig,
        headers: Mapping[str, str],
        body: bytes,
    ) -> web.Response:
        if reference.qualifier is None:
            message = "You cannot invoke a durable function using an unqualified ARN."
            raise invalid_parameter(message)
        kind = headers.get("X-Amz-Invocation-Type") or "RequestResponse"
        name = headers.get("X-Amz-Durable-Execution-Name")
        _check_name(name)
        payload = _payload(kind, body)
        if kind == "RequestResponse" and durable.execution_timeout > MAX_SYNCHRONOUS_SECONDS:
            message = (
                "You cannot synchronously invoke a durable function with an executionTimeout greater than 15 minutes."
            )
            raise invalid_parameter(message)
        if kind == "DryRun":
            return web.Response(status=HTTPStatus.NO_CONTENT, headers=_headers(function.version))

        loop = asyncio.get_running_loop()
        by_event = kind == "Event"
        tenant_id = headers.get("X-Amz-Tenant-Id")
        start = functools.partial(self._starts.start, function, name, payload, tenant_id, by_event=by_event)
        execution = await loop.run_in_executor(self._threads, start)
        if by_event:
            return web.Response(status=HTTPStatus.ACCEPTED, headers=_execution_headers(execution))
        end = self._runner.end_of(execution)
        if end is not None:
            from_handler = HANDLER in headers.get("User-Agent", "")
            with self._runner.slots.one_more() if from_handler else contextlib.nullcontext():
                # Shielded: the other callers of this execution wait for the same future.
                await asyncio.shield(asyncio.wrap_future(end))
        return _outcome(execution)


def _may_change_a_function(request: Incoming) -> bool:
    if request.method == "GET":
        return False
    is_cloudformation = "/cloudformation/" in request.headers.get("Authorization", "")
    return is_cloudformation or bool(FUNCTION_WRITE_PATH.match(request.path))


def _check_name(name: str | None) -> None:
    if name is not None and not EXECUTION_NAME.fullmatch(name):
        message = f"DurableExecutionName must be 1 to 64 of a-z, A-Z, 0-9, - and _; it was {name!r}."
        raise invalid_parameter(message)


def _payload(kind: str, body: bytes) -> str:
    limit = MAX_PAYLOAD_BYTES.get(kind)
    if limit is None:
        message = f"InvocationType must be RequestResponse, Event or DryRun; it was {kind!r}."
        raise invalid_parameter(message)
    if len(body) > limit:
        message = f"{len(body)} byte payload is too large for the {kind} invocation type (limit {limit} bytes)"
        raise ApiError("RequestTooLargeException", message, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    try:
        payload = body.decode() or "{}"
        json.loads(payload, parse_constant=_not_json)
    except (ValueError, RecursionError) as error:
        message = f"Could not parse request body into json: {error}"
        raise ApiError("InvalidRequestContentException", message) from error
    return payload


def _not_json(constant: str) -> Never:
    message = f"{constant} is not JSON"
    raise ValueError(message)


def _headers(version: str) -> dict[str, str]:
    return {"X-Amz-Executed-Version": version, "x-amzn-RequestId": str(uuid.uuid4())}


def _execution_headers(execution: ExecutionRecord) -> dict[str, str]:
    return _headers(execution.executed_version()) | {"X-Amz-Durable-Execution-Arn": execution.durable_execution_arn}


def _outcome(execution: ExecutionRecord) -> web.Response:
    headers = _execution_headers(execution) | {"Content-Type": "application/json"}
    if execution.current_status() is ExecutionStatus.SUCCEEDED:
        result = execution.result.result if execution.result else None
        return web.Response(body=(result or "null").encode(), headers=headers)
    body = json.dumps(_function_error(execution.error, execution.current_status()))
    return web.Response(body=body.encode(), headers=headers | {"X-Amz-Function-Error": "Unhandled"})


def _function_error(error: dict[str, Any], status: ExecutionStatus) -> dict[str, Any]:
    """The execution's error with the field names of a function error of Invoke."""
    body = {
        "errorMessage": error.get("ErrorMessage", f"The execution ended {status.value}."),
        "errorType": error.get("ErrorType", status.value),
    }
    if "StackTrace" in error:
        body["stackTrace"] = error["StackTrace"]
    if "ErrorData" in error:
        body["errorData"] = error["ErrorData"]
    return body
