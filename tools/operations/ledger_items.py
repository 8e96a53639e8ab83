"""Many items of a ledger table at once, as DynamoDB stores them. Errors of DynamoDB are raised unchanged."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from shared.errors import LedgerUnavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Item = dict[str, Any]

_BATCH: Final = 100
"""DynamoDB's limit of keys in one BatchGetItem."""

_MAX_ROUNDS: Final = 10
"""How often a batch is requested: DynamoDB leaves keys out of a response of 16 MB, and when it throttles."""


@dataclass(frozen=True)
class LedgerItems:
    """The items of the ledger table, or of a table restored from it."""

    client: "DynamoDBClient"
    table: str
    sleep: Callable[[float], None] = time.sleep

    def pages(self) -> Iterator[list[Item]]:
        """All items, by a consistent scan, one page of at most 1 MB per item of the iterator."""
        for page in self.client.get_paginator("scan").paginate(TableName=self.table, ConsistentRead=True):
            yield page["Items"]

    def of(self, order_ids: Iterable[str]) -> dict[str, Item]:
        """The items of these orders by order id, by consistent reads. An unknown order is left out.

        Raises `LedgerUnavailable` when DynamoDB leaves keys out of ten responses.
        """
        ids = list(dict.fromkeys(order_ids))
        batches = (ids[first : first + _BATCH] for first in range(0, len(ids), _BATCH))
        return {item["orderId"]["S"]: item for batch in batches for item in self._batch(batch)}

    def put_if_newer(self, item: Item) -> bool:
        """Put an item where there is none, or one with a lower `version` or without one. Returns whether it did.

        A forgotten item is never replaced.
        """
        try:
            self.client.put_item(
                TableName=self.table,
                Item=item,
                ConditionExpression="(attribute_not_exists(version) OR version < :version)"
                " AND attribute_not_exists(forgottenAt)",
                ExpressionAttributeValues={":version": item["version"]},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return False
        return True

    def _batch(self, order_ids: list[str]) -> Iterator[Item]:
        keys = [{"orderId": {"S": order_id}} for order_id in order_ids]
        requested: dict[str, Any] = {self.table: {"Keys": keys, "ConsistentRead": True}}
        for attempt in range(_MAX_ROUNDS):
            if attempt:
                self.sleep(min(0.1 * 2**attempt, 5))
            response = self.client.batch_get_item(RequestItems=requested)
            yield from response["Responses"].get(self.table, [])
            requested = dict(response.get("UnprocessedKeys", {}))
            if not requested:
                return
        raise LedgerUnavailable("DynamoDB left keys out of ten responses")
