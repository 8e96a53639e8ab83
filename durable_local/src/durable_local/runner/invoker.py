"""Runs a handler once: one plain Invoke at MiniStack, of the version that the execution started with."""

from __future__ import annotations

import json
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote

import urllib3
from aws_durable_execution_sdk_python.lambda_service import (
    DurableExecutionInvocationOutput,
    ErrorObject,
    InvocationStatus,
)
from aws_durable_execution_sdk_python_testing.exceptions import ResourceNotFoundException
from aws_durable_execution_sdk_python_testing.invoker import InvokeResponse, LambdaInvoker

from durable_local.settings import HOST

if TYPE_CHECKING:
    from aws_durable_execution_sdk_python.execution import DurableExecutionInvocationInput
    from aws_durable_execution_sdk_python_testing.stores.base import ExecutionStore

    from durable_local.ministack.child import MiniStackAddress

# Longer than a function runs: at most 900 s. MiniStack enforces the function's Timeout.
READ_TIMEOUT_SECONDS = 960
CONNECT_TIMEOUT_SECONDS = 5


class InvocationFailedError(Exception):
    """The invocation crashed, timed out, was throttled or was not reached."""


class MiniStackInvoker(LambdaInvoker):
    """The runner's invoker without boto3 and without retries, with one connection for each concurrent invocation.

    MiniStack starts durable executions of its own only with `DurableConfig.Enabled`, which AWS's templates do not
    have. So an Invoke there is one run of the handler.
    """

    def __init__(self, address: MiniStackAddress, concurrency: int, store: ExecutionStore) -> None:
        super().__init__(lambda_client=None)
        self._store = store
        self._connections = urllib3.HTTPConnectionPool(
            HOST,
            address.port,
            maxsize=concurrency,
            retries=False,
            timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_SECONDS, read=READ_TIMEOUT_SECONDS),
            headers={**address.headers("lambda"), "Content-Type": "application/json"},
        )

    def inherit_endpoint(self, child_execution_arn: str, parent_execution_arn: str) -> None:
        """Does nothing: there is one endpoint."""

    def run(self, function: str, payload: str, tenant_id: str | None = None) -> tuple[bytes, bool, str]:
        """Invokes `name` or `name:version`; returns the answer, whether it is a function error, and the request id.

        Raises ResourceNotFoundException, or InvocationFailedError when the function was not run.
        """
        name, _, qualifier = function.partition(":")
        query = f"?Qualifier={quote(qualifier)}" if qualifier else ""
        try:
            response = self._connections.request(
                "POST",
                f"/2015-03-31/functions/{quote(name)}/invocations{query}",
                body=payload.encode(),
                headers={**self._connections.headers, **({"X-Amz-Tenant-Id": tenant_id} if tenant_id else {})},
            )
        except urllib3.exceptions.HTTPError as error:
            raise InvocationFailedError(str(error)) from error
        if response.status == HTTPStatus.NOT_FOUND:
            message = f"Function not found: {function}"
            raise ResourceNotFoundException(message)
        if response.status == HTTPStatus.TOO_MANY_REQUESTS:
            message = response.json().get("message")
            raise InvocationFailedError(json.dumps({"errorType": "TooManyRequestsException", "errorMessage": message}))
        if response.status != HTTPStatus.OK:
            raise InvocationFailedError(f"HTTP {response.status}: {response.data[:500]!r}")
        request_id = response.headers.get("x-amzn-requestid") or str(uuid.uuid4())
        return response.data, "X-Amz-Function-Error" in response.headers, request_id

    def invoke(  # noqa: PLR0917 - the runner's signature
        self,
        function_name: str,
        input: DurableExecutionInvocationInput,  # noqa: A002
        endpoint_url: str | None = None,  # noqa: ARG002
        tenant_id: str | None = None,
        account_id: str | None = None,  # noqa: ARG002
        region_name: str | None = None,  # noqa: ARG002
    ) -> InvokeResponse:
        """Runs the handler with `input`; raises InvocationFailedError for what Lambda retries."""
        if self._store.load(input.durable_execution_arn).is_complete:
            # It was stopped or timed out while it waited for a slot.
            raise InvocationFailedError("the execution has ended")
        answer, is_error, request_id = self.run(function_name, json.dumps(input.to_json_dict()), tenant_id)
        if is_error:
            report = json.loads(answer)
            if report.get("requestId") != "":
                raise InvocationFailedError(answer.decode(errors="replace"))
            # The handler could not be imported, and a retry would not import it either.
            error = ErrorObject(report["errorMessage"], report["errorType"], None, report["stackTrace"])
            return InvokeResponse(DurableExecutionInvocationOutput(InvocationStatus.FAILED, error=error), request_id)
        return InvokeResponse.from_payload(answer, request_id)
