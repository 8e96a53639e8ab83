"""The ledger table: reading an order's item, and the one conditional update that changes it.

Nothing here knows who may write what; its users say so in the condition:

    shared/ledger/owner.py       the execution that owns an order
    shared/ledger/settlement.py   the end of an execution, as Lambda saw it
    tools/operations/cancel.py       an operator

A condition that fails hands back the item (`ReturnValuesOnConditionCheckFailure`), so that a writer decides afresh by
what is there, without another read.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from shared.aws.clock import utc_now
from shared.errors import IllegalTransition, LedgerRejected, LedgerUnavailable
from shared.executions.names import Execution
from shared.ledger.entry import STATE_INDEX, LedgerEntry, Transition, marshalled, state_shard, state_shards
from shared.ledger.states import State
from shared.orders.order import Order

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# What DynamoDB will say to the same request for ever. All else, a missing permission or key included, someone can put
# right while the policy tries again.
_FINAL: Final = frozenset({"ValidationException", "ItemCollectionSizeLimitExceededException"})

_PAGE: Final = 1_000


@dataclass(frozen=True)
class Condition:
    """When an update may be applied: a DynamoDB expression, and the values of its `:names`."""

    expression: str
    values: Mapping[str, Any] = field(default_factory=dict)


NO_ITEM: Final = Condition("attribute_not_exists(orderId)")


def unmoved(entry: LedgerEntry) -> Condition:
    """The order has the owner and the history it was read with."""
    return Condition(
        "executionArn = :owner AND version = :version", {":owner": entry.execution_arn, ":version": entry.version}
    )


class LedgerTable:
    """A request is tried once: retrying is the business of the caller's policy.

    Every method may raise `LedgerUnavailable` (throttled, failed or silent) and `LedgerRejected` (refused for good).
    `now` is the clock that dates the entries.
    """

    def __init__(self, client: "DynamoDBClient", table: str, now: Callable[[], str] = utc_now) -> None:
        self._client = client
        self._table = table
        self.now = now

    def get(self, order_id: str) -> LedgerEntry | None:
        """The order as it is now (a consistent read), or None."""
        with _translated():
            response = self._client.get_item(TableName=self._table, Key=_key(order_id), ConsistentRead=True)
        return LedgerEntry.of(response["Item"]) if "Item" in response else None

    def in_state(self, state: State, limit: int = 100, unmoved_since: str | None = None) -> list[str]:
        """The ids of up to `limit` orders in a state, longest unmoved first, as the index knows them by now.

        `unmoved_since` (a time as the ledger writes it) leaves out those that moved at or after it.
        """
        condition, values = "stateShard = :shard", {}
        if unmoved_since is not None:
            condition, values = f"{condition} AND updatedAt < :since", {":since": unmoved_since}
        query = self._client.get_paginator("query")
        found: list[tuple[str, str]] = []
        for shard in state_shards(state):
            pages = query.paginate(
                TableName=self._table,
                IndexName=STATE_INDEX,
                KeyConditionExpression=condition,
                ExpressionAttributeValues=marshalled({":shard": shard, **values}),
                PaginationConfig={"MaxItems": limit, "PageSize": min(limit, _PAGE)},
            )
            with _translated():
                found += [(item["updatedAt"]["S"], item["orderId"]["S"]) for page in pages for item in page["Items"]]
        return [order_id for _, order_id in sorted(found)[:limit]]

    def begin(
        self,
        order: Order,
        owner: Execution,
        states: Sequence[State],
        after: LedgerEntry | None,
        *,
        fields: Mapping[str, Any],
        detail: str | None = None,
    ) -> LedgerEntry | None:
        """Write the first transitions of an attempt, RECEIVED and those after it, and who owns it.

        The attempt is the order's first, or the one `after` an attempt that ended. `detail` belongs to the last of
        the transitions. None when written, else the item that was in the way.
        """
        condition = NO_ITEM if after is None else unmoved(after)
        why = None if after is None else _retry_of(after, order)
        at = self.now()
        first, *rest = states
        steps = [Transition(first, at, owner.attempt, why, owner.arn)]
        steps += [Transition(state, at, owner.attempt, detail) for state in rest]
        whole = {
            "attempt": owner.attempt,
            "executionArn": owner.arn,
            "order": order.canonical(),
            "orderDigest": order.digest(),
            "customerId": order.customer_id,
            # What the attempt before left behind.
            "enrichment": None,
            "result": None,
            "error": None,
            "executionStatus": None,
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
    ) -> LedgerEntry | None:
        """Write the next transitions of an attempt in one update. None when written, else the item that refused."""
        at = self.now()
        steps = [Transition(state, at, attempt, detail) for state in states]
        return self._append(order_id, steps, fields or {}, condition)

    def update(
        self, order_id: str, fields: Mapping[str, Any], condition: Condition, appended: str = ""
    ) -> LedgerEntry | None:
        """One conditional update: set `fields`, remove those that are None. None when written, else the item found.

        Raises `IllegalTransition` when there is no item where one was expected.
        """
        kept = {name: value for name, value in fields.items() if value is not None}
        gone = [f"#{name}" for name in fields if name not in kept]
        sets = [f"#{name} = :{name}" for name in kept] + ([appended] if appended else [])
        expression = "SET " + ", ".join(sets) + (" REMOVE " + ", ".join(gone) if gone else "")
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
                raise IllegalTransition(f"order {order_id} is not in the ledger") from None
            return LedgerEntry.of(item)
        return None

    def _append(
        self, order_id: str, steps: Sequence[Transition], fields: Mapping[str, Any], condition: Condition
    ) -> LedgerEntry | None:
        """Append to the history and move the state with it. None when written, else the item that refused."""
        last = steps[-1]
        moved = {"state": last.state, "stateShard": state_shard(last.state, order_id), "updatedAt": last.at}
        values = {":steps": [step.stored() for step in steps], ":count": len(steps), ":none": [], ":zero": 0}
        return self.update(
            order_id,
            {**fields, **moved},
            Condition(condition.expression, {**condition.values, **values}),
            "history = list_append(if_not_exists(history, :none), :steps),"
            " version = if_not_exists(version, :zero) + :count",
        )


def _key(order_id: str) -> dict[str, Any]:
    return marshalled({"orderId": order_id})


def _retry_of(before: LedgerEntry, order: Order) -> str:
    """What a retry's first entry says: whether its order is the recorded one, or which of its fields are not."""
    recorded, now = before.order, order.canonical()
    changed = [name for name in sorted({*recorded, *now}) if recorded.get(name) != now.get(name)]
    return "retried, corrected: " + ", ".join(changed) if changed else "retried"


@contextmanager
def _translated() -> Iterator[None]:
    """DynamoDB's errors in the ledger's words; a failed condition is an answer and passes through."""
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "ConditionalCheckFailedException":
            raise
        if code in _FINAL:
            raise LedgerRejected(f"DynamoDB: {error}") from error
        raise LedgerUnavailable(f"DynamoDB: {code}") from error
    except BotoCoreError as error:
        raise LedgerUnavailable(f"DynamoDB did not answer: {error}") from error
