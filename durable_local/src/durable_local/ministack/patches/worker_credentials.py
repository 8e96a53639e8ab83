# mypy: disable-error-code="import-not-found"
"""Workers get the stack's own credentials. MiniStack would give them the account's number as access key id, which
anybody can name."""

from __future__ import annotations

import os
from typing import Any


def install() -> None:
    """Replaces what MiniStack puts into a worker's environment."""
    from ministack.core import lambda_runtime  # noqa: PLC0415 - not before sys.executable is set
    from ministack.services import lambda_svc  # noqa: PLC0415

    for module in (lambda_runtime, lambda_svc):
        if not hasattr(module, "execution_credentials"):
            raise RuntimeError(f"{module.__name__} has changed: see worker_credentials.py")
        module.execution_credentials = of_the_stack


def of_the_stack(_config: dict[str, Any]) -> dict[str, str]:
    """The same for every function: a stack enforces no IAM."""
    return {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
