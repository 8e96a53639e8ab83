"""The order ledger: one item an order, one conditional update a transition.

    claim ───────────────► enriched ───────────► finalizing ───► completed
    RECEIVED, ENRICHING    ENRICHED, WAITING     FINALIZING      COMPLETED
                                                                 (or failed: FAILED)

Every condition names the ARN of the execution that owns the order, the fence: an ARN ends in a unique id, so a
stalled process of an earlier attempt cannot write into the next. A condition that fails hands back the item
(`ReturnValuesOnConditionCheckFailure`), which tells a repeat from a conflict without another read. A repeat of a
write that was applied finds its target in the history and writes nothing, so a lost answer does no harm.

Who may write what, and why: `docs/architecture.md`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from shared.clock import utc_now
from shared.errors import (
    IllegalTransition,
    LedgerRejected,
    LedgerUnavailable,
    OrderCancelled,
    OrderConflict,
    OrderEnded,
    OrderInProgress,
    PermanentError,
    TooManyStarts,
)
from shared.ledger_item import STATE_INDEX, LedgerEntry, Transition, marshalled, state_shard, state_shards
from shared.order import Order
from shared.states import RETRYABLE, TERMINAL, State, predecessors

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MAX_STARTS: Final = 15
"""How often enrich may begin in one attempt: a step that kills its process asks no retry policy. More than the
ledger's policy tries, so that an outage is sat out."""

# What DynamoDB will say to the same request for ever. All else, a missing permission or key included, someone can put
# right while the policy tries again.
_FINAL: Final = frozenset({"ValidationException", "ItemCollectionSizeLimitExceededException"})


@dataclass(frozen=True)
class Execution:
    """An execution as the ledger knows it: the order it was started for, its ARN, and which attempt it says it is.

    An execution without a name counts as attempt 1 and is not `named`: only a name can say that it is a retry.
    """

    order_id: str
    arn: str
    attempt: int = 1
    named: bool = False


@dataclass(frozen=True)
class Claimed:
    """The execution owns the order. An enrichment on record is used again; `starts` counts how often enrich began."""

    starts: int
    enrichment: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class AlreadyCompleted:
    """Another execution completed the same order: its enrichment and result, as recorded."""

    enrichment: Mapping[str, Any]
    result: Mapping[str, Any]


class Ledger:
    """The ledger table. A request is tried once: retrying is the business of the caller's policy.

    Every method may raise `LedgerUnavailable` (throttled, failed or silent) and `LedgerRejected` (refused for good).
    """

    def __init__(self, client: "DynamoDBClient", table: str, now: Callable[[], str] = utc_now) -> None:
        self._client = client
        self._table = table
        self._now = now

    def claim(self, order: Order, me: Execution) -> Claimed | AlreadyCompleted:
        """An execution's first write: RECEIVED and ENRICHING, or the reason why not.

        Raises `OrderConflict`, `OrderInProgress`, `OrderCancelled` or `OrderEnded`, having written nothing, and
        `TooManyStarts` when this attempt began too often.
        """
        starts = 1
        found = self._begin(order, me, after=None)
        while found is not None:  # whoever loses a race below sees the item that won, and decides afresh
            if found.execution_arn == me.arn:
                if found.state in TERMINAL:
                    raise _refusal(found)
                if State.ENRICHED in found.reached:
                    return Claimed(found.starts, found.enrichment)
                if found.starts >= MAX_STARTS:
                    raise TooManyStarts(f"enrich began {found.starts} times in attempt {found.attempt}")
                starts = found.starts + 1
                found = self._count_start(found)
            elif found.state in RETRYABLE and me.named and me.attempt == found.attempt + 1:
                found = self._begin(order, me, after=found)
            elif found.order_digest != order.digest():
                raise OrderConflict(
                    f"order {found.order_id} is known with another body: {found.state}, {found.execution_arn}"
                )
            elif found.state is State.COMPLETED:
                return AlreadyCompleted(found.enrichment or {}, found.result or {})
            else:
                raise _refusal(found)
        return Claimed(starts)

    def enriched(self, me: Execution, enrichment: Mapping[str, Any]) -> Mapping[str, Any]:
        """ENRICHED and WAITING, with what the enricher answered. Answers the enrichment on record.

        Raises as `_advance` does.
        """
        written_before = self._advance(me, (State.ENRICHED, State.WAITING), {"enrichment": enrichment})
        return (written_before and written_before.enrichment) or enrichment

    def finalizing(self, me: Execution) -> None:
        """FINALIZING: from here on a cancel is refused. Raises as `_advance` does."""
        self._advance(me, (State.FINALIZING,))

    def completed(self, me: Execution, result: Mapping[str, Any]) -> Mapping[str, Any]:
        """COMPLETED, with the result. Answers the result on record. Raises as `_advance` does."""
        written_before = self._advance(me, (State.COMPLETED,), {"result": result})
        return (written_before and written_before.result) or result

    def failed(self, me: Execution, error_type: str, message: str) -> None:
        """FAILED, with the error's type and message. Raises as `_advance` does."""
        error = {"type": error_type, "message": message}
        self._advance(me, (State.FAILED,), {"error": error}, detail=f"{error_type}: {message}")

    def get(self, order_id: str) -> LedgerEntry | None:
        """The order as it is now (a consistent read), or None."""
        with _translated():
            response = self._client.get_item(TableName=self._table, Key=_key(order_id), ConsistentRead=True)
        return LedgerEntry.of(response["Item"]) if "Item" in response else None

    def in_state(self, state: State, limit: int = 100) -> list[str]:
        """The ids of up to `limit` orders in a state, longest unmoved first, as the index knows them by now."""
        found: list[tuple[str, str]] = []
        for shard in state_shards(state):
            with _translated():
                response = self._client.query(
                    TableName=self._table,
                    IndexName=STATE_INDEX,
                    KeyConditionExpression="stateShard = :shard",
                    ExpressionAttributeValues=marshalled({":shard": shard}),
                    Limit=limit,
                )
            found += [(item["updatedAt"]["S"], item["orderId"]["S"]) for item in response["Items"]]
        return [order_id for _, order_id in sorted(found)[:limit]]

    def _begin(self, order: Order, me: Execution, after: LedgerEntry | None) -> LedgerEntry | None:
        """Write the first two transitions of an attempt: the order's first, or the one `after` an ended one.

        None when written, else the item that was in the way.
        """
        if after is None:
            condition, values = "attribute_not_exists(orderId)", {}
        else:
            condition = "executionArn = :before AND version = :version"
            values = {":before": after.execution_arn, ":version": after.version}
        fields = {
            "attempt": me.attempt,
            "executionArn": me.arn,
            "order": order.canonical(),
            "orderDigest": order.digest(),
            "customerId": order.customer_id,
            "enrichStarts": 1,
            "enrichment": None,
            "result": None,
            "error": None,
        }
        at = self._now()
        steps = (
            Transition(State.RECEIVED, at, me.attempt, execution_arn=me.arn),
            Transition(State.ENRICHING, at, me.attempt),
        )
        return self._append(me.order_id, steps, fields, condition, values)

    def _count_start(self, mine: LedgerEntry) -> LedgerEntry | None:
        """Count one more start of enrich. None when counted, else the item as it has become meanwhile."""
        return self._update(
            mine.order_id,
            {"enrichStarts": mine.starts + 1},
            "executionArn = :me AND version = :version AND enrichStarts = :starts",
            {":me": mine.execution_arn, ":version": mine.version, ":starts": mine.starts},
        )

    def _advance(
        self,
        me: Execution,
        targets: Sequence[State],
        fields: Mapping[str, Any] | None = None,
        detail: str | None = None,
    ) -> LedgerEntry | None:
        """The owner's next step, or steps that happen together, in one update.

        None when written now; the item when it says that it was written before, by a process of the same execution.
        Raises `OrderInProgress` when another execution owns the order, `OrderCancelled` or `OrderEnded` when it has
        ended, `IllegalTransition` when the state table does not know the step.
        """
        at = self._now()
        before = {f":from{i}": state for i, state in enumerate(predecessors(targets[0]))}
        found = self._append(
            me.order_id,
            [Transition(state, at, me.attempt, detail) for state in targets],
            fields or {},
            f"executionArn = :me AND #state IN ({', '.join(before)})",
            {":me": me.arn, **before},
        )
        if found is None:
            return None
        if found.execution_arn != me.arn:
            raise _refusal(found)
        # In the history, but the order has failed or been cancelled since: the write no longer holds.
        undone = found.state in RETRYABLE | {State.CANCELLED} and found.state is not targets[-1]
        if targets[-1] in found.reached and not undone:
            return found
        if found.state in TERMINAL:
            raise _refusal(found)
        raise IllegalTransition(f"order {me.order_id} cannot go from {found.state} to {targets[0]}")

    def _append(
        self,
        order_id: str,
        steps: Sequence[Transition],
        fields: Mapping[str, Any],
        condition: str,
        values: Mapping[str, Any],
    ) -> LedgerEntry | None:
        """Append to the history and move the state with it. None when written, else the item that refused."""
        last = steps[-1]
        moved = {"state": last.state, "stateShard": state_shard(last.state, order_id), "updatedAt": last.at}
        return self._update(
            order_id,
            {**fields, **moved},
            condition,
            {
                **values,
                ":steps": [step.stored() for step in steps],
                ":count": len(steps),
                ":none": [],
                ":zero": 0,
            },
            more="history = list_append(if_not_exists(history, :none), :steps),"
            " version = if_not_exists(version, :zero) + :count",
        )

    def _update(
        self,
        order_id: str,
        fields: Mapping[str, Any],
        condition: str,
        values: Mapping[str, Any],
        more: str = "",
    ) -> LedgerEntry | None:
        """One conditional update: set `fields`, remove those that are None. None when written, else the item found.

        Raises `IllegalTransition` when there is no item where one was expected.
        """
        kept = {name: value for name, value in fields.items() if value is not None}
        gone = [f"#{name}" for name in fields if name not in kept]
        sets = [f"#{name} = :{name}" for name in kept] + ([more] if more else [])
        expression = "SET " + ", ".join(sets) + (" REMOVE " + ", ".join(gone) if gone else "")
        try:
            with _translated():
                self._client.update_item(
                    TableName=self._table,
                    Key=_key(order_id),
                    UpdateExpression=expression,
                    ConditionExpression=condition,
                    ExpressionAttributeNames={f"#{name}": name for name in fields},
                    ExpressionAttributeValues=marshalled(
                        {**values, **{f":{name}": value for name, value in kept.items()}}
                    ),
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
        except self._client.exceptions.ConditionalCheckFailedException as refused:
            item: Any = refused.response.get("Item")
            if item is None:
                raise IllegalTransition(f"order {order_id} is not in the ledger") from None
            return LedgerEntry.of(item)
        return None


def _key(order_id: str) -> dict[str, Any]:
    return marshalled({"orderId": order_id})


def _refusal(found: LedgerEntry) -> PermanentError:
    """Why the execution that owns the order, or the order's end, leaves no room for the one that asked."""
    state = f"order {found.order_id} is {found.state} (attempt {found.attempt}, {found.execution_arn})"
    if found.state is State.CANCELLED:
        return OrderCancelled(state)
    if found.state in TERMINAL:
        return OrderEnded(state)
    return OrderInProgress(state)


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
