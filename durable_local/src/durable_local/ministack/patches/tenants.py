"""Gives each tenant of a function workers of its own, and tells the handler the tenant's id.

MiniStack stores `TenancyConfig` and ignores it. The front door refuses an Invoke without a tenant id for such a
function, and one with a tenant id for any other.
https://docs.aws.amazon.com/lambda/latest/dg/tenant-isolation.html
"""

from __future__ import annotations

import contextvars
import hashlib
from typing import Any

from .patching import Original, Patch

LAMBDA = "ministack.services.lambda_svc"
RUNTIME = "ministack.core.lambda_runtime"

_tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="")

patch = Patch(__name__)


@patch.replaces(LAMBDA, "_invoke")
async def invoke(original: Original, name: str, event: Any, headers: dict[str, Any], *rest: Any) -> Any:
    """Remembers the tenant of the request."""
    _tenant.set(headers.get("x-amz-tenant-id") or "")
    return await original(name, event, headers, *rest)


@patch.replaces(RUNTIME, "_worker_key")
def worker_key(original: Original, *arguments: Any) -> str:
    """A hash: MiniStack splits the key at colons, which a tenant id may have."""
    key: str = original(*arguments)
    return f"{key}-{hashlib.sha256(tenant.encode()).hexdigest()}" if (tenant := _tenant.get()) else key


# The only values of an invocation that MiniStack passes on as they are. Its worker takes no others from them.
@patch.replaces(LAMBDA, "_durable_env_overlay")
def with_tenant(original: Original) -> dict[str, str]:
    """Adds the tenant to what the worker program is told of an invocation."""
    return {**original(), "tenant_id": _tenant.get()}


patch.replaces_text(
    RUNTIME,
    "_PYTHON_WORKER_SCRIPT",
    '            "identity": None,\n',
    '            "identity": None,\n            "tenant_id": _ms_durable.get("tenant_id") or None,\n',
)
