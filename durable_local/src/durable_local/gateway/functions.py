"""What MiniStack knows of a function: whether it is durable, and which version a qualifier means now."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from durable_local.errors import not_found
from durable_local.function_reference import DurableConfig, FunctionReference, FunctionVersion

if TYPE_CHECKING:
    import aiohttp

    from durable_local.ministack.child import MiniStackAddress

# A deployment changes functions inside MiniStack after its CloudFormation request is answered. So this cache expires
# by time as well as by the requests that pass through the front door.
CACHE_SECONDS = 1.0


class Functions:
    """Asks MiniStack, and caches its answers, so that calls and starts cost nothing extra."""

    def __init__(self, session: aiohttp.ClientSession, address: MiniStackAddress) -> None:
        self._session = session
        self._base = f"{address.url}/2015-03-31/functions"
        self._headers = address.headers("lambda")
        self._known: dict[FunctionReference, tuple[float, FunctionVersion]] = {}

    def forget(self) -> None:
        """Clears the cache, also of answers that are on their way. Call it after each request that may change one."""
        self._known = {}

    async def describe(self, reference: FunctionReference) -> FunctionVersion:
        """The version that the qualifier means now; raises ApiError (404) when there is none.

        For an alias with weights, MiniStack draws the version of each answer: see ministack/patches/aliases.py.
        """
        until, known = self._known.get(reference, (0.0, None))
        if known is not None and until > time.monotonic():
            return known
        # Not `self._known` after the requests: `forget` may have replaced it since.
        cache = self._known
        function = await self._ask(reference)
        if reference.qualifier in {None, function.version} or not _weights(await self._alias(reference)):
            cache[reference] = time.monotonic() + CACHE_SECONDS, function
        return function

    async def _ask(self, reference: FunctionReference) -> FunctionVersion:
        url = f"{self._base}/{quote(reference.name)}/configuration"
        query = {"Qualifier": reference.qualifier} if reference.qualifier else {}
        async with self._session.get(url, params=query, headers=self._headers) as response:
            if response.status != HTTPStatus.OK:
                message = f"Function not found: {reference}"
                raise not_found(message)
            configuration: dict[str, Any] = await response.json(content_type=None)
        return FunctionVersion(
            name=configuration["FunctionName"],
            version=configuration["Version"],
            durable=_durable_config(configuration),
            dead_letter_arn=(configuration.get("DeadLetterConfig") or {}).get("TargetArn"),
            has_tenants="TenancyConfig" in configuration,
        )

    async def versions(self, reference: FunctionReference) -> frozenset[str] | None:
        """The versions that the qualifier means now: two for an alias with weights. None without a qualifier.

        Raises ApiError (404) when there is no such function, version or alias.
        """
        function = await self.describe(reference)
        if reference.qualifier is None:
            return None
        if reference.qualifier == function.version:
            return frozenset({function.version})
        alias = await self._alias(reference)
        # `function.version` may be the second version, drawn by weight.
        return frozenset({alias.get("FunctionVersion", function.version), *_weights(alias)})

    async def _alias(self, reference: FunctionReference) -> dict[str, Any]:
        url = f"{self._base}/{quote(reference.name)}/aliases/{quote(reference.qualifier or '')}"
        async with self._session.get(url, headers=self._headers) as response:
            if response.status != HTTPStatus.OK:
                return {}
            alias: dict[str, Any] = await response.json(content_type=None)
            return alias


def _weights(alias: dict[str, Any]) -> dict[str, float]:
    return (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}


def _durable_config(configuration: dict[str, Any]) -> DurableConfig | None:
    config = configuration.get("DurableConfig")
    if not config:
        return None
    # CloudFormation keeps numbers as the template spells them. The defaults are Lambda's.
    return DurableConfig(
        execution_timeout=int(config.get("ExecutionTimeout", 86_400)),
        retention_period=int(config.get("RetentionPeriodInDays", 14)),
    )
