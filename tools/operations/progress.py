"""How far orders are: the states of some, or the counts and queue depths of all."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.ledger.entry import ORDERS_INDEX, marshalled, state_shards
from shared.ledger.states import TERMINAL, State

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient


@dataclass(frozen=True)
class Depth:
    """The messages of a queue, approximately: waiting to be received, and being processed."""

    waiting: int
    in_flight: int


def counts(client: "DynamoDBClient", table: str, ended_since: str) -> dict[State, int]:
    """The number of orders in each state. An ended order counts if it ended at or after `ended_since`.

    So a count does not read the whole index, which has every order that ever ended.
    """
    return {state: _count(client, table, state, ended_since if state in TERMINAL else "0") for state in State}


@dataclass(frozen=True)
class Count:
    """A number of orders; `at_least` if there can be more."""

    number: int
    at_least: bool = False


def open_counts(client: "DynamoDBClient", table: str, most: int) -> dict[State, Count]:
    """The number of orders in each open state, of which at most about `most` are read."""
    return {state: _count_to(client, table, state, most) for state in State if state not in TERMINAL}


def _count_to(client: "DynamoDBClient", table: str, state: State, most: int) -> Count:
    shards = state_shards(state)
    pages = [
        client.query(
            TableName=table,
            IndexName=ORDERS_INDEX,
            Select="COUNT",
            KeyConditionExpression="stateShard = :shard",
            ExpressionAttributeValues=marshalled({":shard": shard}),
            Limit=most // len(shards),
        )
        for shard in shards
    ]
    return Count(sum(page["Count"] for page in pages), any("LastEvaluatedKey" in page for page in pages))


def _count(client: "DynamoDBClient", table: str, state: State, since: str) -> int:
    total = 0
    for shard in state_shards(state):
        pages = client.get_paginator("query").paginate(
            TableName=table,
            IndexName=ORDERS_INDEX,
            Select="COUNT",
            KeyConditionExpression="stateShard = :shard AND updatedAt >= :since",
            ExpressionAttributeValues=marshalled({":shard": shard, ":since": since}),
        )
        total += sum(page["Count"] for page in pages)
    return total


def depth(sqs: "SQSClient", queue_url: str) -> Depth:
    """The depth of a queue now."""
    found: Any = sqs.get_queue_attributes(
        QueueUrl=queue_url,
        AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    )["Attributes"]
    return Depth(int(found["ApproximateNumberOfMessages"]), int(found["ApproximateNumberOfMessagesNotVisible"]))
