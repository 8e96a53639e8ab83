"""A function: as a caller names it, and as one version of it is configured."""

from __future__ import annotations

from dataclasses import dataclass

from aws_durable_execution_sdk_python_testing.child_dispatcher import is_valid_tenant_id, parse_function_target

from durable_local.errors import invalid_parameter, not_found
from durable_local.settings import ACCOUNT, REGION


@dataclass(frozen=True)
class FunctionReference:
    """A function as a caller names it: by name, partial ARN or full ARN, with or without a qualifier."""

    name: str
    qualifier: str | None

    @classmethod
    def parse(cls, text: str, qualifier: str | None = None) -> FunctionReference:
        """`text` is the decoded name in the URL, `qualifier` the query parameter.

        Raises ApiError as Lambda does: 404 for a function of another account or region, 400 for two different
        qualifiers.
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
    """A function's DurableConfig: seconds and days, as in the template."""

    execution_timeout: int
    retention_period: int


@dataclass(frozen=True)
class FunctionVersion:
    """One version of a function: the one that the qualifier meant at the time of the request, or `$LATEST`."""

    name: str
    version: str
    durable: DurableConfig | None
    dead_letter_arn: str | None = None
    has_tenants: bool = False

    def check_tenant(self, tenant_id: str | None) -> None:
        """Raises ApiError unless a tenant id is given to exactly the functions with TenancyConfig."""
        if self.has_tenants and not (tenant_id and is_valid_tenant_id(tenant_id)):
            raise invalid_parameter(
                "The invoked function is enabled with tenancy configuration. Add a valid tenant ID in your request and "
                "try again."
            )
        if tenant_id and not self.has_tenants:
            raise invalid_parameter(
                "The invoked function is not enabled with tenancy configuration. Remove the tenant ID from your "
                "request and try again."
            )
