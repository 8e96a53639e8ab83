"""What a function's qualifier means to MiniStack's event sources and to its Invoke.

- An alias may send a part of its traffic to a second version (`RoutingConfig`). MiniStack stores the weights and sends
  everything to the first. https://docs.aws.amazon.com/lambda/latest/dg/configuring-alias-routing.html
- MiniStack accepts an alias of a version that does not exist, and weights that Lambda refuses.
- A record that MiniStack finds by a reference has no qualifier. A durable function may only be started with one (see
  durable_targets), so here the record keeps it.
"""

import random
from collections.abc import Callable
from typing import Any

from .patching import Original, Patch

Record = dict[str, Any]

LAMBDA = "ministack.services.lambda_svc"
patch = Patch(__name__)
functions = patch.uses(LAMBDA, "_functions")
record_of_qualifier = patch.uses(LAMBDA, "_effective_func_record_for_qualifier")
arn_of = patch.uses(LAMBDA, "_func_arn")
split_reference = patch.uses(LAMBDA, "_resolve_name_and_qualifier")
first_in_query = patch.uses(LAMBDA, "_qp_first")
error_response = patch.uses(LAMBDA, "error_response_json")


@patch.replaces(LAMBDA, "_get_func_record_for_ref")
def find_by_reference(original: Original, reference: str) -> tuple[Any, Any, str]:
    """The record at the version that is drawn for this event."""
    record, config, name = original(reference)
    _, qualifier = split_reference.call(reference)
    return (*_drawn_record(name, qualifier, record, config), name)


@patch.replaces(LAMBDA, "_get_func_record_for_qualifier")
def find_by_qualifier(original: Original, name: str, qualifier: str | None) -> tuple[Any, Any]:
    """The same by name and qualifier, also for GetFunctionConfiguration, which the gateway calls."""
    return _drawn_record(name, qualifier, *original(name, qualifier))


@patch.replaces(LAMBDA, "_invoke")
async def invoke(  # noqa: PLR0917 - MiniStack's signature
    original: Original,
    name: str,
    event: Any,
    headers: Record,
    path_qualifier: str | None = None,
    query_params: Record | None = None,
) -> Any:
    """Invokes the version that is drawn for this event."""
    if qualifier := path_qualifier or first_in_query.call(query_params or {}, "Qualifier"):
        path_qualifier = version_of(functions.get().get(name) or {}, qualifier)
    return await original(name, event, headers, path_qualifier, query_params)


@patch.replaces(LAMBDA, "_create_alias")
def create_alias(original: Original, name: str, data: Record) -> Any:
    """Refuses what Lambda refuses."""
    return _refused(name, data.get("Name", ""), data) or original(name, data)


@patch.replaces(LAMBDA, "_update_alias")
def update_alias(original: Original, name: str, alias: str, data: Record) -> Any:
    """Refuses what Lambda refuses."""
    return _refused(name, alias, data) or original(name, alias, data)


def _drawn_record(
    name: str, qualifier: str | None, record: Record | None, config: Record | None
) -> tuple[Record | None, Record | None]:
    if record is None or config is None or qualifier is None:
        return record, config
    function = functions.get().get(name)
    version = version_of(function or {}, qualifier)
    if version != qualifier:
        record, config = record_of_qualifier.call(function, version)
    if record is None or config is None:
        return record, config
    config = {**config, "FunctionArn": f"{arn_of.call(name)}:{qualifier}"}
    return {**record, "config": config}, config


def _refused(name: str, alias: str, data: Record) -> Any:
    function = functions.get().get(name)
    if function is None:
        return None
    # An update without a version keeps the version of the alias.
    wanted = {**(function["aliases"].get(alias) or {}), **{key: data[key] for key in data if data[key]}}
    reason = refusal(function, alias, wanted)
    return error_response.call(*reason) if reason else None


def version_of(function: Record, qualifier: str) -> str:
    """The version for one event: drawn by weight if `qualifier` is an alias with weights."""
    alias = (function.get("aliases") or {}).get(qualifier) or {}
    return drawn(alias, random.random) or qualifier


def drawn(alias: Record, chance: Callable[[], float]) -> str | None:
    """The second version of an alias with the probability of its weight; None for the first one."""
    left = chance()
    for version, weight in weights_of(alias).items():
        if left < weight:
            return version
        left -= weight
    return None


def weights_of(alias: Record) -> dict[str, float]:
    """The additional versions of an alias, each with its part of the traffic, from 0 to 1."""
    return (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}


def refusal(function: Record, name: str, alias: Record) -> tuple[str, str, int] | None:
    """Why Lambda refuses this alias of `function`: code, text, HTTP status."""
    versions = function.get("versions") or {}
    first, others = alias.get("FunctionVersion"), weights_of(alias)
    if name.isdecimal():
        return "ValidationException", f"An alias's name must not be a number: {name}", 400
    for version in filter(None, (first, *others)):
        if version != "$LATEST" and version not in versions:
            return (
                "ResourceNotFoundException",
                f"Function not found: {function['config']['FunctionArn']}:{version}",
                404,
            )
    if others and (first == "$LATEST" or "$LATEST" in others):
        return (
            "InvalidParameterValueException",
            "$LATEST is not supported for an alias pointing to more than 1 version",
            400,
        )
    if len(others) > 1:
        return (
            "InvalidParameterValueException",
            "Number of items in AdditionalVersionWeights cannot be greater than 1",
            400,
        )
    if any(not 0 <= float(weight) <= 1 for weight in others.values()):
        return "InvalidParameterValueException", "Weights must be from 0.0 to 1.0", 400
    return None
