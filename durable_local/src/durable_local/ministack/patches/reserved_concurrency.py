# mypy: disable-error-code="import-not-found"
"""Makes a function's reserved concurrency that of all its versions.

MiniStack looks for it in the record of the version that is invoked, where it never is, so an invocation through an
alias or of a version knows no limit: see durable_local/docs/upstream/ministack-reserved-concurrency-of-versions.md.
https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
"""

from __future__ import annotations

from typing import Any


def install() -> None:
    """Wraps MiniStack's look for the limit."""
    from ministack.services import lambda_svc  # noqa: PLC0415 - not before sys.executable is set

    limit_of = lambda_svc._reserved_concurrency  # noqa: SLF001 - there is no public way

    def limit(record: dict[str, Any], config: dict[str, Any]) -> Any:
        function = lambda_svc._functions.get(config.get("FunctionName"))  # noqa: SLF001
        return limit_of(function or record, config)

    lambda_svc._reserved_concurrency = limit  # noqa: SLF001
