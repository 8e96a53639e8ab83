"""Marks of examined executions, so that no sweep and no event reads them from Lambda or logs them again.

A mark is an item of the operations table (docs/architecture.md lists the kinds of items). DynamoDB deletes it after
`keep`, when the sweep's list no longer contains the execution.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from shared.aws.clock import timestamp
from shared.errors import OperationsUnavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_PREFIX: Final = "EXECUTION#"

_BATCH: Final = 100
"""DynamoDB's limit of keys in one BatchGetItem."""

_MAX_ROUNDS: Final = 4
"""How often a batch is requested: keys that DynamoDB leaves out of a response are requested again."""


class Mark(StrEnum):
    """The result of examining an ended execution."""

    FINAL = "FINAL"
    """It has no order or no name: no later state of an order makes a second examination useful."""
    UNTIL_NEXT_ATTEMPT = "UNTIL_NEXT_ATTEMPT"
    """It must be examined again when its name is that of the order's next attempt."""


class Marks:
    """The marks in the operations table. Both methods raise `OperationsUnavailable`."""

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        keep: timedelta,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._table = table
        self._keep = keep
        self._now = now
        self._sleep = sleep

    def put(self, execution_arn: str, mark: Mark) -> None:
        """Mark an execution. Idempotent."""
        now = self._now()
        item = {
            **_key(execution_arn),
            "mark": {"S": mark},
            "at": {"S": timestamp(now)},
            "expiresAt": {"N": str(int((now + self._keep).timestamp()))},
        }
        try:
            self._client.put_item(TableName=self._table, Item=item)
        except (ClientError, BotoCoreError) as error:
            raise OperationsUnavailable(f"an execution could not be marked: {error}") from error

    def of(self, execution_arns: Iterable[str]) -> dict[str, Mark]:
        """The marks by execution ARN. An execution that DynamoDB leaves out of every response counts as not marked."""
        arns = list(dict.fromkeys(execution_arns))
        found: dict[str, Mark] = {}
        try:
            for first in range(0, len(arns), _BATCH):
                found.update(self._batch(arns[first : first + _BATCH]))
        except (ClientError, BotoCoreError) as error:
            raise OperationsUnavailable(f"marks could not be read: {error}") from error
        return found

    def _batch(self, execution_arns: Iterable[str]) -> Mapping[str, Mark]:
        requested: dict[str, Any] = {self._table: {"Keys": [_key(arn) for arn in execution_arns]}}
        items: list[dict[str, Any]] = []
        for attempt in range(_MAX_ROUNDS):
            if attempt:
                self._sleep(0.1 * 2**attempt)
            response = self._client.batch_get_item(RequestItems=requested)
            items += response["Responses"].get(self._table, [])
            requested = dict(response.get("UnprocessedKeys", {}))
            if not requested:
                break
        return {item["pk"]["S"].removeprefix(_PREFIX): Mark(item["mark"]["S"]) for item in items}


def _key(execution_arn: str) -> dict[str, Any]:
    return {"pk": {"S": f"{_PREFIX}{execution_arn}"}, "sk": {"S": "EXAMINED"}}
