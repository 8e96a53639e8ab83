"""The running orders of each published version of the orchestrator."""

from collections import Counter
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PublishedVersion:
    """A published version. `running`: its executions that have not ended. `is_current`: the alias points to it."""

    version: str
    running: int
    is_current: bool

    @property
    def may_go(self) -> bool:
        """Whether nothing needs the version: no order runs on it, and the alias starts none."""
        return not self.is_current and self.running == 0


def versions(aws_lambda: Any, alias_arn: str) -> list[PublishedVersion]:
    """The published versions, oldest first. Raises Lambda's errors."""
    function, _, alias = alias_arn.rpartition(":")
    listed = aws_lambda.get_paginator("list_durable_executions_by_function").paginate(
        FunctionName=function, Statuses=["RUNNING", "PAUSING", "PAUSED"]
    )
    running = Counter(
        execution["FunctionArn"].rpartition(":")[2] for page in listed for execution in page["DurableExecutions"]
    )
    target = aws_lambda.get_alias(FunctionName=function, Name=alias)
    weights = target.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
    current = {target["FunctionVersion"], *weights}
    published = [
        found["Version"]
        for page in aws_lambda.get_paginator("list_versions_by_function").paginate(FunctionName=function)
        for found in page["Versions"]
        if found["Version"] != "$LATEST"
    ]
    return [PublishedVersion(name, running[name], name in current) for name in sorted(published, key=int)]
