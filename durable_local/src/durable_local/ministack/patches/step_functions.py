# mypy: disable-error-code="import-not-found"
"""Step Functions' `lambda:invoke` with the parameters that decide how a durable function starts.

MiniStack reads `FunctionName` and `Payload`. Without `InvocationType` it waits for the end of what was to be started
by event; without `Qualifier` a durable function is invoked without one, which Lambda refuses.
https://docs.aws.amazon.com/step-functions/latest/dg/connect-lambda.html
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

INVOKE = "states:::lambda:invoke"


def install() -> None:
    """Wraps what a task state calls."""
    from ministack.services import lambda_svc, stepfunctions  # noqa: PLC0415 - not before sys.executable is set

    call = stepfunctions._invoke_resource  # noqa: SLF001 - there is no public way

    def called(resource: str, parameters: Any) -> Any:
        if INVOKE not in resource or not isinstance(parameters, dict):
            return call(resource, parameters)
        if qualifier := parameters.get("Qualifier"):
            parameters = {**parameters, "FunctionName": f"{parameters.get('FunctionName')}:{qualifier}"}
        if parameters.get("InvocationType") != "Event":
            return call(resource, parameters)
        reference = stepfunctions._resolve_lambda_function_ref(parameters.get("FunctionName", ""), optimized=True)  # noqa: SLF001
        function, config, _ = lambda_svc._get_func_record_for_ref(reference)  # noqa: SLF001
        if not function:
            return call(resource, parameters)  # which says so
        record = lambda_svc._execution_record_for_config(function, config)  # noqa: SLF001
        lambda_svc.invoke_async_with_retry(record, parameters.get("Payload", {}))
        return {"StatusCode": int(HTTPStatus.ACCEPTED)}

    stepfunctions._invoke_resource = called  # noqa: SLF001
