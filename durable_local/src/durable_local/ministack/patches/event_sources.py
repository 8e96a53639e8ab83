# mypy: disable-error-code="import-not-found"
"""Lets the front door publish as AWS Lambda.

EventBridge refuses events whose source begins with `aws.` from a caller, and so does MiniStack, which lets its
own services past by an argument that no request can set. Here a request sets it by a member that no AWS SDK sends.
"""

from __future__ import annotations

from typing import Any


def install() -> None:
    """Wraps MiniStack's PutEvents."""
    from ministack.services import eventbridge  # noqa: PLC0415 - not before sys.executable is set

    put_events = eventbridge._put_events  # noqa: SLF001 - there is no public way

    def put(data: dict[str, Any], allow_aws_source: bool = False) -> Any:  # noqa: FBT001, FBT002 - as it is
        return put_events(data, allow_aws_source or data.get("FromService") is True)

    eventbridge._put_events = put  # noqa: SLF001
