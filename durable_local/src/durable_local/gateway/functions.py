"""What MiniStack knows of a function: whether it is durable, and which version a qualifier means now."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from aws_durable_execution_sdk_python_testing.child_dispatcher import parse_function_target

from durable_local.errors import invalid_parameter, not_found
from durable_local.ministack.patches.aliases import drawn
from durable_local.settings import ACCOUNT, REGION

if TYPE_CHECKING:
    import aiohttp

    from durable_local.ministack.child import MiniStackAddress

# A deployment changes functions inside MiniStack, after its CloudFormation call has been answered. So what is
# remembered of a function is forgotten by time as well as by the calls that pass through the front door.
MEMORY_SECONDS = 1.0


@dataclass(frozen=True)
class FunctionReference:
    """A function as a caller names it: by name, by partial or full ARN, with or without a qualifier."""

    name: str
    qualifier: str | None

    @classmethod
    def parse(cls, text: str, qualifier: str | None = None) -> FunctionReference:
        """`text` as it stood in the URL, decoded; `qualifier` as given beside it.

        Raises ApiError as Lambda answers: 404 for another account's or region's function, 400 for two
        different qualifiers.
        """
        try:
            target = parse_function_target(text)
        except ValueError:
            message = f"Function name is not valid: {text}"
            raise invalid_parameter(message) from None
        if target.account_id not in (None, ACCOUNT) or target.region not in (None, REGION):
            message = f"Function not found: {text}"
            raise not_found(message)
        if target.qualifier and qualifier and target.qualifier != qualifier:
            message = "The derived qualifier from the function name does not match the specified qualifier."
            raise invalid_parameter(message)
        return cls(target.name, target.qualifier or qualifier)

    def __str__(self) -> str:
        arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.name}"
        return f"{arn}:{self.qualifier}" if self.qualifier else arn


@dataclass(frozen=True)
class DurableConfig:
    """Both as in the template: seconds, days."""

    execution_timeout: int
    retention_period: int


@dataclass(frozen=True)
class FunctionVersion:
    """A function at the version its qualifier stood for when it was asked; `$LATEST` if there was none."""

    name: str
    version: str
    durable: DurableConfig | None
    dead_letter_arn: str | None = None


class Functions:
    """Asks MiniStack, and remembers for a moment which functions are plain: those calls must cost nothing."""

    def __init__(self, session: aiohttp.ClientSession, address: MiniStackAddress) -> None:
        self._session = session
        self._base = f"{address.url}/2015-03-31/functions"
        self._headers = address.headers("lambda")
        self._plain_until: dict[FunctionReference, float] = {}

    def forget(self) -> None:
        """To be called when a request that may change a function passes through."""
        self._plain_until.clear()

    def is_known_plain(self, reference: FunctionReference) -> bool:
        """Whether it was not durable a moment ago."""
        return self._plain_until.get(reference, 0) > time.monotonic()

    async def describe(self, reference: FunctionReference) -> FunctionVersion:
        """The function at its qualifier now; raises ApiError (404) when there is none.

        An alias with weights means its second version as often as they say: each call draws anew.
        """
        function = await self._at(reference)
        if function.durable is None or reference.qualifier in (None, "$LATEST", function.version):
            return function
        version = drawn(await self._alias(reference), random.random)
        return await self._at(replace(reference, qualifier=version)) if version else function

    async def versions(self, reference: FunctionReference) -> frozenset[str] | None:
        """The versions that its qualifier stands for now: an alias with weights has two. None without a qualifier.

        Raises ApiError (404) when there is no such function, version or alias.
        """
        function = await self._at(reference)
        if reference.qualifier is None:
            return None
        if reference.qualifier == function.version:
            return frozenset({function.version})
        alias = await self._alias(reference)
        second = (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
        # MiniStack may have drawn the version it answered with.
        return frozenset({alias.get("FunctionVersion", function.version), *second})

    async def _alias(self, reference: FunctionReference) -> dict[str, Any]:
        url = f"{self._base}/{quote(reference.name)}/aliases/{quote(reference.qualifier or '')}"
        async with self._session.get(url, headers=self._headers) as response:
            if response.status != HTTPStatus.OK:
                return {}
            alias: dict[str, Any] = await response.json(content_type=None)
            return alias

    async def _at(self, reference: FunctionReference) -> FunctionVersion:
        url = f"{self._base}/{quote(reference.name)}/configuration"
        query = {"Qualifier": reference.qualifier} if reference.qualifier else {}
        async with self._session.get(url, params=query, headers=self._headers) as response:
            if response.status != HTTPStatus.OK:
                message = f"Function not found: {reference}"
                raise not_found(message)
            configuration: dict[str, Any] = await response.json(content_type=None)
        function = FunctionVersion(
            name=configuration["FunctionName"],
            version=configuration["Version"],
            durable=_durable_config(configuration),
            dead_letter_arn=(configuration.get("DeadLetterConfig") or {}).get("TargetArn"),
        )
        if function.durable is None:
            self._plain_until[reference] = time.monotonic() + MEMORY_SECONDS
        return function


def _durable_config(configuration: dict[str, Any]) -> DurableConfig | None:
    config = configuration.get("DurableConfig")
    if not config:
        return None
    # CloudFormation hands numbers over as the template spelled them; Lambda's defaults where it was silent.
    return DurableConfig(
        execution_timeout=int(config.get("ExecutionTimeout", 86_400)),
        retention_period=int(config.get("RetentionPeriodInDays", 14)),
    )
