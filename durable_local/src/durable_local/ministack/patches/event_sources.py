"""Lets the front door publish events as AWS Lambda.

EventBridge and MiniStack refuse events from a caller whose source begins with `aws.`. MiniStack's own services pass an
argument that no request can set. Here the field `FromService`, which no AWS SDK sends, sets it.
"""

from typing import Any

from .patching import Original, Patch

patch = Patch(__name__)


@patch.replaces("ministack.services.eventbridge", "_put_events")
def put_events(original: Original, data: dict[str, Any], *allowed: bool, **named: bool) -> Any:
    """PutEvents."""
    if data.get("FromService") is True:
        return original(data, allow_aws_source=True)
    return original(data, *allowed, **named)
