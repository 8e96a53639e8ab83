"""The operations log: who did what, when, to which orders, and with which result. It is in the operations table."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from shared.aws.clock import utc_now
from shared.ledger.entry import kept_text, marshalled, unmarshalled

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_LOG: Final = "LOG"


@dataclass(frozen=True)
class Operation:
    """A line of the log. `key` is its place: the lines before it are older."""

    at: str
    by: str
    action: str
    what: str
    result: str
    key: str


@dataclass(frozen=True)
class OperationsLog:
    """The log. `by` is the ARN of the caller's identity. Raises botocore's errors."""

    client: "DynamoDBClient"
    table: str
    by: str

    def write(self, action: str, what: str, result: str) -> None:
        """Add an entry. `what` is an order id, a job with its filter, or a queue."""
        at = utc_now()
        fields: dict[str, Any] = {"action": action, "what": what, "result": kept_text(result), "by": self.by, "at": at}
        # The id keeps two entries of one millisecond apart.
        key = {"pk": _LOG, "sk": f"{at}#{uuid4().hex[:8]}"}
        self.client.put_item(TableName=self.table, Item=marshalled({**key, **fields}))

    def newest(self, count: int, before: str | None = None) -> list[Operation]:
        """At most `count` lines, the newest first. `before`: the key of a line, for those that are older."""
        condition = "pk = :log" if before is None else "pk = :log AND sk < :before"
        values = {":log": _LOG} if before is None else {":log": _LOG, ":before": before}
        found = self.client.query(
            TableName=self.table,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=marshalled(values),
            ScanIndexForward=False,
            Limit=count,
        )["Items"]
        lines = [unmarshalled(item) for item in found]
        return [
            Operation(line["at"], line["by"], line["action"], line["what"], line["result"], line["sk"])
            for line in lines
        ]
