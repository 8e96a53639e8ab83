# mypy: disable-error-code="import-not-found"
"""What a function's qualifier means to MiniStack's own event sources and to its Invoke.

- An alias may send a part of its traffic to a second version (`RoutingConfig`). MiniStack keeps the weights and
  sends everything to the first. https://docs.aws.amazon.com/lambda/latest/dg/configuring-alias-routing.html
- A record that MiniStack looks up names the function without the qualifier it was asked for. Whether there was one
  decides whether a durable function may be started at all (see durable_targets), so here it keeps it.

For Invoke of a durable function the front door chooses the version itself.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

Record = dict[str, Any]


def install() -> None:
    """Wraps MiniStack's look-ups by qualifier, and its Invoke."""
    from ministack.services import lambda_svc  # noqa: PLC0415 - not before sys.executable is set

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


def version_of(function: Record, qualifier: str, chance: Callable[[], float] = random.random) -> str:
    """The version that one event for `qualifier` goes to: drawn, if that is an alias with weights."""
    alias = (function.get("aliases") or {}).get(qualifier) or {}
    weights: dict[str, float] = (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    drawn = chance()
    for version, weight in weights.items():
        if drawn < weight:
            return version
        drawn -= weight
    return qualifier
