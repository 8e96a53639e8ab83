"""The ledger table: the reads of an order's item, and the one conditional update that changes it.

The caller's condition decides who may write what:

    shared/ledger/owner.py        the execution that owns the order
    shared/ledger/settlement.py   the end of an execution, as Lambda saw it
    tools/operations/cancel.py    an operator

A failed condition returns the item (`ReturnValuesOnConditionCheckFailure`), so a writer that lost a race decides again
from the winner's item, without another read.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from shared.aws.clock import utc_now
from shared.errors import LedgerRejected, LedgerUnavailable, OrderUnknown
from shared.executions.names import OrderExecution
from shared.ledger.entry import ORDERS_INDEX, LedgerEntry, Transition, marshalled, state_shard, state_shards
from shared.ledger.states import TERMINAL, State
from shared.orders.order import Order

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# The only permanent error of DynamoDB here. Someone can correct all others, a missing permission or key included, while
# the retry policy runs.
_PERMANENT: Final = "ValidationException"

_PAGE: Final = 1_000


@dataclass(frozen=True)
class Condition:
    """When an update may be applied: a DynamoDB expression, and the values of its `:names`."""

    expression: str
    values: Mapping[str, Any] = field(default_factory=dict)


NO_ITEM: Final = Condition("attribute_not_exists(orderId)")


def unchanged(entry: LedgerEntry) -> Condition:
    """The item still has the owner, the history and the `resumeFrom` of `entry`, and was not forgotten.

    The last two change without a transition.
    """
    same = "executionArn = :owner AND version = :version AND attribute_not_exists(forgottenAt)"
    values = {":owner": entry.execution_arn, ":version": entry.version}
    if entry.resume_from is None:
        return Condition(f"{same} AND attribute_not_exists(resumeFrom)", values)
    return Condition(f"{same} AND resumeFrom = :resume", {**values, ":resume": entry.resume_from})


@dataclass(frozen=True)
class Written:
    """The condition held, and the item is updated."""


@dataclass(frozen=True)
class Refused:
    """The condition failed, and nothing is written. `entry` is the item that failed it."""

    entry: LedgerEntry


class LedgerReader:
    """Reads of the ledger. A request is sent once: the caller's policy retries.

    Every method raises `LedgerUnavailable` (throttled, failed, no answer) or `LedgerRejected` (a permanent error).
    """

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def get(self, order_id: str) -> LedgerEntry | None:
        """The order's entry by a consistent read, or None when the order is not in the ledger."""
        with _translated():
            response = self._client.get_item(TableName=self._table, Key=_key(order_id), ConsistentRead=True)
        return LedgerEntry.of(response["Item"]) if "Item" in response else None

    def in_state(self, state: State, limit: int = 100, updated_before: str | None = None) -> list[tuple[str, str]]:
        """Up to `limit` orders in a state, least recently updated first (an eventually consistent read).

        Each is the time of its last transition and its id: `(updatedAt, orderId)`. `updated_before`, a time in the
        ledger's format, leaves out orders that were updated at or after it.
        """
        condition, values = "stateShard = :shard", {}
        if updated_before is not None:
            condition, values = f"{condition} AND updatedAt < :before", {":before": updated_before}
        query = self._client.get_paginator("query")
        found: list[tuple[str, str]] = []
        for shard in state_shards(state):
            pages = query.paginate(
                TableName=self._table,
                IndexName=ORDERS_INDEX,
                KeyConditionExpression=condition,
                ExpressionAttributeValues=marshalled({":shard": shard, **values}),
                PaginationConfig={"MaxItems": limit, "PageSize": min(limit, _PAGE)},
            )
            with _translated():
                found += [(item["updatedAt"]["S"], item["orderId"]["S"]) for page in pages for item in page["Items"]]
        return sorted(found)[:limit]


class LedgerWriter:
    """Conditional updates of the ledger, none of which reads. `now` gives the time of a transition.

    `retention` is how long the item of an order is kept after its end; None or zero for ever. Each write of an end sets
    the time at which DynamoDB may delete the item, and the next attempt's first write removes it.

    A request is sent once: the caller's policy retries. Every method raises `LedgerUnavailable` (throttled, failed, no
    answer), `LedgerRejected` (a permanent error), or `OrderUnknown` when the condition needs an item and there is none.
    """

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        now: Callable[[], str] = utc_now,
        retention: timedelta | None = None,
    ) -> None:
        self._client = client
        self._table = table
        self.retention = retention
        self.now = now

    def begin(
        self,
        order: Order,
        owner: OrderExecution,
        states: Sequence[State],
        after: LedgerEntry | None,
        *,
        fields: Mapping[str, Any],
        detail: str | None = None,
        why: str | None = None,
    ) -> Written | Refused:
        """Write an attempt's owner, order and first transitions: `states`, of which the first is RECEIVED.

        `after` is the entry of the attempt before, None for the first attempt. `why` is the detail of the first
        transition, by default that of a retry; `detail` is that of the others.
        """
        condition = NO_ITEM if after is None else unchanged(after)
        former = None
        if after is not None:
            why = why or _retry_of(after, order)
            former = after.order_digest if after.order_digest != order.digest() else None
        at = self.now()
        first, *rest = states
        steps = [Transition(first, at, owner.attempt, why, owner.arn, former)]
        steps += [Transition(state, at, owner.attempt, detail) for state in rest]
        whole = {
            "attempt": owner.attempt,
            "executionArn": owner.arn,
            "order": order.canonical(),
            "orderDigest": order.digest(),
            "customerId": order.customer_id,
            # The attempt before may have left these.
            "enrichment": None,
            "error": None,
            "errorType": None,
            "executionStatus": None,
            "resumeFrom": None,
            "expiresAt": None,
        }
        return self._append(owner.order_id, steps, whole | dict(fields), condition)

    def move(
        self,
        order_id: str,
        attempt: int,
        states: Sequence[State],
        condition: Condition,
        *,
        fields: Mapping[str, Any] | None = None,
        detail: str | None = None,
    ) -> Written | Refused:
        """Write the next transitions of an attempt in one update."""
        at = self.now()
        steps = [Transition(state, at, attempt, detail) for state in states]
        return self._append(order_id, steps, fields or {}, condition)

    def update(
        self, order_id: str, fields: Mapping[str, Any], condition: Condition, appended: str = ""
    ) -> Written | Refused:
        """One conditional update: sets `fields`, and removes those that are None. `appended` is one more SET action."""
        kept = {name: value for name, value in fields.items() if value is not None}
        removed = [f"#{name}" for name in fields if name not in kept]
        sets = [f"#{name} = :{name}" for name in kept] + ([appended] if appended else [])
        clauses = {"SET": sets, "REMOVE": removed}
        expression = " ".join(f"{clause} {', '.join(actions)}" for clause, actions in clauses.items() if actions)
        try:
            with _translated():
                self._client.update_item(
                    TableName=self._table,
                    Key=_key(order_id),
                    UpdateExpression=expression,
                    ConditionExpression=condition.expression,
                    ExpressionAttributeNames={f"#{name}": name for name in fields},
                    ExpressionAttributeValues=marshalled(
                        {**condition.values, **{f":{name}": value for name, value in kept.items()}}
                    ),
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
        except self._client.exceptions.ConditionalCheckFailedException as refused:
            item: Any = refused.response.get("Item")
            if item is None:
                raise OrderUnknown(f"order {order_id} is not in the ledger") from None
            return Refused(LedgerEntry.of(item))
        return Written()

    def _append(
        self, order_id: str, steps: Sequence[Transition], fields: Mapping[str, Any], condition: Condition
    ) -> Written | Refused:
        """Append to the history, and set the state to the last of `steps`."""
        last = steps[-1]
        moved: dict[str, Any] = {
            "state": last.state,
            "stateShard": state_shard(last.state, order_id),
            "updatedAt": last.at,
        }
        if self.retention and last.state in TERMINAL:
            moved["expiresAt"] = int((datetime.fromisoformat(last.at) + self.retention).timestamp())
        values = {":steps": [step.stored() for step in steps], ":count": len(steps), ":none": [], ":zero": 0}
        return self.update(
            order_id,
            {**fields, **moved},
            Condition(condition.expression, {**condition.values, **values}),
            "history = list_append(if_not_exists(history, :none), :steps),"
            " version = if_not_exists(version, :zero) + :count",
        )


class LedgerTable(LedgerWriter, LedgerReader):
    """Updates and reads, for callers that may do both: the reconciler and the operators."""


def _key(order_id: str) -> dict[str, Any]:
    return marshalled({"orderId": order_id})


def _retry_of(before: LedgerEntry, order: Order) -> str:
    """The detail of a retry's first transition: `retried`, with the fields in which its order differs, if any."""
    recorded, now = before.order, order.canonical()
    changed = [name for name in sorted({*recorded, *now}) if recorded.get(name) != now.get(name)]
    return "retried, corrected: " + ", ".join(changed) if changed else "retried"


@contextmanager
def _translated() -> Iterator[None]:
    """Raises DynamoDB's errors as the ledger's. A failed condition is a result, so its exception passes."""
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "ConditionalCheckFailedException":
            raise
        if code == _PERMANENT:
            raise LedgerRejected(f"DynamoDB: {error}") from error
        raise LedgerUnavailable(f"DynamoDB: {code}") from error
    except BotoCoreError as error:
        raise LedgerUnavailable(f"DynamoDB did not answer: {error}") from error
