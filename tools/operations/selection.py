"""Selects orders by the ledger's index: by state, customer, error type, age and id.

The index is read eventually consistent, a page of each shard at a time, so the memory does not grow with the orders.
The first pages are read together: one after the other, those of all states took a third of a second.
"""

import heapq
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

from shared.ledger.entry import ORDERS_INDEX, marshalled, state_shards, unmarshalled
from shared.ledger.states import RETRYABLE, State
from tools.operations.ledger_items import LedgerItems

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_PAGE: Final = 500

_READERS: Final = ThreadPoolExecutor(8, "shards")
"""They read the first pages of shards. A client has ten connections."""

_SHOWN_AT_ONCE: Final = 25
_COMPARED_AT_ONCE: Final = 250
"""A page of 50 orders comes from at least the four shards of a state, and most that are compared do not hold."""

_NEXT: Final = "~"
"""After a time: sorts behind this time and before every later one."""


@dataclass(frozen=True)
class Selection:
    """Which orders: all conditions that are set must hold. No states means every state.

    `before` and `since` are times in the ledger's format: an order last moved before one, and at or after the other.
    `prefix` is the beginning of the order's id.
    """

    states: tuple[State, ...] = ()
    customer: str | None = None
    error: str | None = None
    before: str | None = None
    since: str | None = None
    prefix: str = ""

    @property
    def is_compared(self) -> bool:
        """Whether some of the items that a query reads do not hold: the index has state and time as its keys."""
        return bool(self.customer or self.error or self.prefix)


@dataclass(frozen=True)
class SelectedOrder:
    """An order as the index has it. `error_type` is set for an order that ended without success."""

    order_id: str
    state: State
    updated_at: str
    attempt: int
    error_type: str | None
    customer: str | None


def selected(
    client: "DynamoDBClient",
    table: str,
    selection: Selection,
    *,
    newest_first: bool = False,
    read_at_once: int | None = None,
) -> Iterator[SelectedOrder]:
    """The selected orders, the longest unmoved first, or those that moved last. DynamoDB's errors are raised unchanged.

    `read_at_once`: how many items of each shard a query reads. An order that moves meanwhile can be left out, or come
    once in each of the two states.
    """
    reading = _Shards(client, table, selection, newest_first, read_at_once or _PAGE)
    yield from (each for each in reading.merged() if isinstance(each, SelectedOrder))


@dataclass(frozen=True)
class _ReadTo:
    """A query of one shard ended at this time: the orders behind it need another query."""

    updated_at: str


def _begun(orders: Iterator[SelectedOrder | _ReadTo]) -> Iterator[SelectedOrder | _ReadTo]:
    """The same orders, of which the first page has been read."""
    return chain(list(islice(orders, 1)), orders)


@dataclass(frozen=True)
class Page:
    """Some of the selected orders. `looked_at` items were read for them; `cursor` is where the next page begins."""

    orders: tuple[SelectedOrder, ...]
    looked_at: int
    cursor: str | None


def page(
    client: "DynamoDBClient",
    table: str,
    selection: Selection,
    *,
    newest_first: bool = True,
    cursor: str | None = None,
    size: int = 50,
    most: int = 1_000,
) -> Page:
    """At most `size` orders after `cursor`. No shard is asked again after `most` items were compared.

    So a page can have few orders, or none, and still a next one.
    """
    after, *known = (cursor or "").split(",")
    bounds: dict[str, Any] = {} if not after else {"before": f"{after}{_NEXT}"} if newest_first else {"since": after}
    at_once = _COMPARED_AT_ONCE if selection.is_compared else _SHOWN_AT_ONCE
    reading = _Shards(client, table, replace(selection, **bounds), newest_first, at_once)
    found: list[SelectedOrder] = []
    following = None
    for each in reading.merged():
        order = each if isinstance(each, SelectedOrder) else None
        is_known = order is not None and order.updated_at == after and order.order_id in known
        if is_known or not (order or selection.is_compared):
            continue
        is_full = len(found) == size
        if not is_full and each.updated_at != after:
            after, known = each.updated_at, []
        if is_full or (not order and sum(reading.looked_at) >= most):
            following = ",".join([after, *known])
            break
        if order:
            known.append(order.order_id)
            found.append(order)
    return Page(tuple(found), sum(reading.looked_at), following)


def _states(selection: Selection) -> tuple[State, ...]:
    states = selection.states or tuple(State)
    # Only an order that can be retried has an error.
    return states if selection.error is None else tuple(state for state in states if state in RETRYABLE)


@dataclass(frozen=True)
class _Shards:
    """The shards of the selected states. `looked_at`: how many items each query has read."""

    client: "DynamoDBClient"
    table: str
    selection: Selection
    newest_first: bool
    at_once: int
    looked_at: list[int] = field(default_factory=list)

    def merged(self) -> Iterator[SelectedOrder | _ReadTo]:
        """The selected orders of all shards, in order."""
        shards = [self._orders(state, shard) for state in _states(self.selection) for shard in state_shards(state)]
        # The first order can be in any shard, and all states have 40.
        begun = list(_READERS.map(_begun, shards))
        return heapq.merge(*begun, key=lambda each: each.updated_at, reverse=self.newest_first)

    def _orders(self, state: State, shard: str) -> Iterator[SelectedOrder | _ReadTo]:
        pages = self.client.get_paginator("query").paginate(
            TableName=self.table,
            IndexName=ORDERS_INDEX,
            ScanIndexForward=not self.newest_first,
            PaginationConfig={"PageSize": self.at_once},
            **self._conditions(shard),
        )
        for items in pages:
            self.looked_at.append(items["ScannedCount"])
            for order in _read(self.client, self.table, state, items["Items"]):
                if _holds(self.selection, order):
                    yield order
            if last := items.get("LastEvaluatedKey"):
                yield _ReadTo(last["updatedAt"]["S"])

    def _conditions(self, shard: str) -> dict[str, Any]:
        """What DynamoDB itself compares. An order of an older release has its error in the item alone.

        A filter may name the table's key, but no key of the index that is read.
        """
        asked, key, compared = self.selection, ["stateShard = :shard"], []
        values = {":shard": shard}
        if asked.since is not None or asked.before is not None:
            # Z sorts after every digit. BETWEEN includes its bounds; `_holds` excludes `before`.
            key.append("updatedAt BETWEEN :since AND :before")
            values |= {":since": asked.since or "0", ":before": asked.before or "Z"}
        if asked.customer is not None:
            compared.append("customerId = :customer")
            values[":customer"] = asked.customer
        if asked.prefix:
            compared.append("begins_with(orderId, :prefix)")
            values[":prefix"] = asked.prefix
        found = {"KeyConditionExpression": " AND ".join(key), "ExpressionAttributeValues": marshalled(values)}
        return found | ({"FilterExpression": " AND ".join(compared)} if compared else {})


def _read(client: "DynamoDBClient", table: str, state: State, items: list[Any]) -> Iterator[SelectedOrder]:
    """The orders of a page. A release without the index wrote no `errorType`: then the error is read from the item."""
    unnamed = [item["orderId"]["S"] for item in items if state in RETRYABLE and "errorType" not in item]
    whole = LedgerItems(client, table).of(unnamed)
    for item in items:
        fields = unmarshalled(item)
        order_id = fields["orderId"]
        error = unmarshalled(whole[order_id]).get("error", {}) if order_id in whole else {}
        yield SelectedOrder(
            order_id,
            state,
            fields["updatedAt"],
            fields["attempt"],
            fields.get("errorType", error.get("type")),
            fields.get("customerId"),
        )


def _holds(selection: Selection, order: SelectedOrder) -> bool:
    return (selection.error is None or order.error_type == selection.error) and (
        selection.before is None or order.updated_at < selection.before
    )
