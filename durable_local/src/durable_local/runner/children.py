"""Child executions: what `context.invoke` of a durable function starts."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aws_durable_execution_sdk_python.lambda_service import ErrorObject
from aws_durable_execution_sdk_python_testing.child_dispatcher import (
    ChainedInvokeRequest,
    ChildOutcome,
    DispatchResult,
    FunctionTarget,
    RunInvocation,
    StartChild,
    _error_from_invoke_body,
    failed_to_start,
    function_not_found,
    result_outcome,
)
from aws_durable_execution_sdk_python_testing.exceptions import ResourceNotFoundException

from durable_local.errors import ApiError
from durable_local.function_reference import FunctionReference, FunctionVersion
from durable_local.runner.invoker import InvocationFailedError, MiniStackInvoker
from durable_local.runner.record import start_input

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class PlainInvocation(RunInvocation):
    """The runner's, and the version that it invokes."""

    version: str


def executed_version(dispatched: DispatchResult) -> str | None:
    """The version of the target that runs; None when nothing runs."""
    match dispatched:
        case StartChild(child_start=start):
            return start.function_qualifier
        case PlainInvocation(version=version):
            return version
    return None


class ChildDispatcher:
    """The testing SDK expects a list of all functions. This class asks MiniStack at each call instead.

    `describe` blocks for one request to MiniStack. That is allowed, as the runner does not call `dispatch` on a lane.
    """

    def __init__(self, describe: Callable[[FunctionReference], FunctionVersion], invoker: MiniStackInvoker) -> None:
        self._describe = describe
        self._invoker = invoker

    def preflight(self, target: FunctionTarget) -> ChildOutcome | None:  # noqa: ARG002
        """Must not block, so it accepts every target."""
        return None

    def dispatch(self, request: ChainedInvokeRequest) -> DispatchResult:
        """A durable target becomes a child execution, a plain one a single invocation."""
        reference = FunctionReference(request.function_name, request.qualifier)
        try:
            function = self._describe(reference)
        except ApiError:
            return function_not_found(str(reference))
        try:
            function.check_tenant(request.tenant_id)
        except ApiError as error:
            return failed_to_start(error.message, error.code)
        payload = request.payload if request.payload is not None else "{}"
        if function.durable is None:
            return PlainInvocation(lambda: self._run_once(request, payload), function.version)
        if request.qualifier is None:
            return failed_to_start(
                "You cannot invoke a durable function using an unqualified ARN.", "InvalidParameterValueException"
            )
        return StartChild(start_input(function, str(uuid.uuid4()), payload, request.tenant_id))

    def _run_once(self, request: ChainedInvokeRequest, payload: str) -> ChildOutcome:
        try:
            answer, is_error, _ = self._invoker.run(request.invoke_identifier(), payload, request.tenant_id)
        except ResourceNotFoundException as error:
            return ChildOutcome(error=ErrorObject(str(error), "ResourceNotFoundException", None, None))
        except InvocationFailedError as error:
            return ChildOutcome(error=ErrorObject(str(error), "ServiceException", None, None))
        text = answer.decode(errors="replace")
        return ChildOutcome(error=_error_from_invoke_body(text)) if is_error else result_outcome(text or None)
