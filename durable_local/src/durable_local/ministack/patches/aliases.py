# mypy: disable-error-code="import-not-found"
"""What a function's qualifier means to MiniStack's own event sources and to its Invoke.

- An alias may send a part of its traffic to a second version (`RoutingConfig`). MiniStack keeps the weights and
  sends everything to the first. https://docs.aws.amazon.com/lambda/latest/dg/configuring-alias-routing.html
- MiniStack takes an alias of a version that does not exist, and weights that Lambda refuses.
- A record that MiniStack looks up names the function without the qualifier it was asked for. Whether there was one
  decides whether a durable function may be started at all (see durable_targets), so here it keeps it.

For Invoke of a durable function the front door draws the version itself, with `drawn`.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

Record = dict[str, Any]


def install() -> None:
    """Wraps MiniStack's look-ups by qualifier, its Invoke, and what makes and changes an alias."""
    from ministack.services import lambda_svc  # noqa: PLC0415 - not before sys.executable is set

    _route(lambda_svc)
    _check(lambda_svc)


def _route(lambda_svc: Any) -> None:
    effective = lambda_svc._effective_func_record_for_qualifier  # noqa: SLF001 - there is no public way
    by_reference = lambda_svc._get_func_record_for_ref  # noqa: SLF001
    by_qualifier = lambda_svc._get_func_record_for_qualifier  # noqa: SLF001
    invoke = lambda_svc._invoke  # noqa: SLF001

    def at(name: str, qualifier: str | None, found: tuple[Record | None, Record | None]) -> tuple[Any, Any]:
        record, config = found
        if record is None or config is None or qualifier is None:
            return found
        version = version_of(lambda_svc._functions.get(name) or {}, qualifier)  # noqa: SLF001
        if version != qualifier:
            record, config = effective(lambda_svc._functions.get(name), version)  # noqa: SLF001
        if record is None or config is None:
            return found
        config = {**config, "FunctionArn": f"{lambda_svc._func_arn(name)}:{qualifier}"}  # noqa: SLF001
        return {**record, "config": config}, config

    def for_reference(reference: str) -> tuple[Any, Any, str]:
        record, config, name = by_reference(reference)
        _, qualifier = lambda_svc._resolve_name_and_qualifier(reference)  # noqa: SLF001
        return (*at(name, qualifier, (record, config)), name)

    def for_qualifier(name: str, qualifier: str | None) -> tuple[Any, Any]:
        return at(name, qualifier, by_qualifier(name, qualifier))

    async def weighted(
        name: str, event: Any, headers: Record, path_qualifier: str | None = None, query_params: Record | None = None
    ) -> Any:
        asked = path_qualifier or lambda_svc._qp_first(query_params or {}, "Qualifier")  # noqa: SLF001
        if asked:
            path_qualifier = version_of(lambda_svc._functions.get(name) or {}, asked)  # noqa: SLF001
        return await invoke(name, event, headers, path_qualifier, query_params)

    lambda_svc._get_func_record_for_ref = for_reference  # noqa: SLF001
    lambda_svc._get_func_record_for_qualifier = for_qualifier  # noqa: SLF001
    lambda_svc._invoke = weighted  # noqa: SLF001


def _check(lambda_svc: Any) -> None:
    create, update = lambda_svc._create_alias, lambda_svc._update_alias  # noqa: SLF001

    def checked(name: str, alias: str, data: Record, action: Callable[..., Any], *arguments: Any) -> Any:
        function = lambda_svc._functions.get(name)  # noqa: SLF001
        if function is not None:
            # An update that does not say which version means the one that the alias has.
            wanted = {**(function["aliases"].get(alias) or {}), **{key: data[key] for key in data if data[key]}}
            if refused := refusal(function, alias, wanted):
                return lambda_svc.error_response_json(*refused)
        return action(*arguments)

    lambda_svc._create_alias = lambda name, data: checked(name, data.get("Name", ""), data, create, name, data)  # noqa: SLF001
    lambda_svc._update_alias = lambda name, alias, data: checked(name, alias, data, update, name, alias, data)  # noqa: SLF001


def version_of(function: Record, qualifier: str) -> str:
    """What one event for `qualifier` goes to: a version that was drawn, if that is an alias with weights."""
    alias = (function.get("aliases") or {}).get(qualifier) or {}
    return drawn(alias, random.random) or qualifier


def drawn(alias: Record, chance: Callable[[], float]) -> str | None:
    """The second version of an alias as often as its weight says; None for the first one."""
    left = chance()
    for version, weight in weights_of(alias).items():
        if left < weight:
            return version
        left -= weight
    return None


def weights_of(alias: Record) -> dict[str, float]:
    """Versions beside the alias's first one, each with its part of the traffic, from 0 to 1."""
    return (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}


def refusal(function: Record, name: str, alias: Record) -> tuple[str, str, int] | None:
    """Why Lambda would not have this alias of `function`: code, text, HTTP status."""
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
