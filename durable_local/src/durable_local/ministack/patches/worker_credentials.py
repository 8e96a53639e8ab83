"""Gives workers the stack's own credentials. MiniStack's access key id is the account number, which is no secret."""

import os
from typing import Any

from .patching import Patch

patch = Patch(__name__)


@patch.replaces("ministack.core.lambda_runtime", "execution_credentials")
@patch.replaces("ministack.services.lambda_svc", "execution_credentials")
def of_the_stack(_original: Any, _config: dict[str, Any]) -> dict[str, str]:
    """The same for every function: a stack enforces no IAM."""
    return {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
