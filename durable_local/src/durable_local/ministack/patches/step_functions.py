"""Reads the parameters of Step Functions' `lambda:invoke` that decide how a durable function starts.

MiniStack reads `FunctionName` and `Payload` only. Without `InvocationType` it waits for an asynchronous start to end.
Without `Qualifier` it invokes a durable function by its unqualified name, which Lambda refuses.
https://docs.aws.amazon.com/step-functions/latest/dg/connect-lambda.html
"""

from http import HTTPStatus
from typing import Any

from .patching import Original, Patch

INVOKE = "states:::lambda:invoke"
LAMBDA = "ministack.services.lambda_svc"
STATES = "ministack.services.stepfunctions"

patch = Patch(__name__)
find = patch.uses(LAMBDA, "_get_func_record_for_ref")
execution_record = patch.uses(LAMBDA, "_execution_record_for_config")
invoke_async = patch.uses(LAMBDA, "invoke_async_with_retry")
reference_of = patch.uses(STATES, "_resolve_lambda_function_ref")


@patch.replaces(STATES, "_invoke_resource")
def invoke_resource(original: Original, resource: str, parameters: Any) -> Any:
    """What a task state calls."""
    if INVOKE not in resource or not isinstance(parameters, dict):
        return original(resource, parameters)
    if qualifier := parameters.get("Qualifier"):
        parameters = {**parameters, "FunctionName": f"{parameters.get('FunctionName')}:{qualifier}"}
    if parameters.get("InvocationType") != "Event":
        return original(resource, parameters)
    function, config, _ = find.call(reference_of.call(parameters.get("FunctionName", ""), optimized=True))
    if not function:
        return original(resource, parameters)  # which reports it
    invoke_async.call(execution_record.call(function, config), parameters.get("Payload", {}))
    return {"StatusCode": int(HTTPStatus.ACCEPTED)}
