"""Inside ingest's process: the handler as it is, but each start of an execution returns at once."""

from typing import Any

from ingest import handler as ingest
from shared.executions.client import ExecutionsClient


class _NoStarts(ExecutionsClient):
    def __init__(self) -> None:
        pass

    def start(self, *_: Any, **__: Any) -> str:
        return "arn:aws:lambda:us-east-1:123456789012:function:orders-DurableOrderProcessor:1/durable-execution/name/id"


object.__setattr__(ingest._intake, "executions", _NoStarts())  # noqa: SLF001 (frozen; nothing else may differ)
handler = ingest.handler
