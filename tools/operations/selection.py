"""Selects orders by the ledger's index: by state, customer, error type and age, the longest unmoved first.

The index is read eventually consistent, a page of each shard at a time, so the memory does not grow with the orders.
The first pages are read together: one after the other, those of all states took a third of a second.
"""

import heapq
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
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
    """

    states: tuple[State, ...] = ()
    customer: str | None = None
    error: str | None = None
    before: str | None = None
    since: str | None = None


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
    shards = [reading.orders(state, shard) for state in _states(selection) for shard in state_shards(state)]
    # The first order can be in any shard, and all states have 40.
    begun = list(_READERS.map(_begun, shards))
    yield from heapq.merge(*begun, key=lambda order: order.updated_at, reverse=newest_first)


def _begun(orders: Iterator[SelectedOrder]) -> Iterator[SelectedOrder]:
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
    prefix: str = "",
    newest_first: bool = True,
    cursor: str | None = None,
    size: int = 50,
    most: int = 1_000,
) -> Page:
    """At most `size` orders after `cursor`, of at most `most` that are looked at.

    The index has state and time as its keys. Customer, error and `prefix`, the beginning of the order's id, are
    compared after the read: a page can have few orders, or none, and still a next one.
    """
    after, *known = (cursor or "").split(",")
    bounds = {} if not after else {"before": f"{after}{_NEXT}"} if newest_first else {"since": after}
    read = replace(selection, states=_states(selection), customer=None, error=None, **bounds)
    compared = bool(prefix or selection.customer or selection.error)
    at_once = _COMPARED_AT_ONCE if compared else _SHOWN_AT_ONCE
    found: list[SelectedOrder] = []
    looked_at = 0
    if not read.states:
        return Page((), 0, None)
    for order in selected(client, table, read, newest_first=newest_first, read_at_once=at_once):
        if order.updated_at == after and order.order_id in known:
            continue
        if len(found) == size or looked_at == most:
            return Page(tuple(found), looked_at, ",".join([after, *known]))
        looked_at += 1
        if order.updated_at != after:
            after, known = order.updated_at, []
        known.append(order.order_id)
        if order.order_id.startswith(prefix) and _holds(selection, order):
            found.append(order)
    return Page(tuple(found), looked_at, None)


def _states(selection: Selection) -> tuple[State, ...]:
    states = selection.states or tuple(State)
    # Only an order that can be retried has an error.
    return states if selection.error is None else tuple(state for state in states if state in RETRYABLE)


@dataclass(frozen=True)
class _Shards:
    client: "DynamoDBClient"
    table: str
    selection: Selection
    newest_first: bool
    at_once: int

    def orders(self, state: State, shard: str) -> Iterator[SelectedOrder]:
        """The selected orders of one partition of the index."""
        condition, bounds = "stateShard = :shard", {}
        if self.selection.since is not None or self.selection.before is not None:
            # Z sorts after every digit. BETWEEN includes its bounds; `_holds` excludes `before`.
            condition += " AND updatedAt BETWEEN :since AND :before"
            bounds = {":since": self.selection.since or "0", ":before": self.selection.before or "Z"}
        pages = self.client.get_paginator("query").paginate(
            TableName=self.table,
            IndexName=ORDERS_INDEX,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=marshalled({":shard": shard, **bounds}),
            ScanIndexForward=not self.newest_first,
            PaginationConfig={"PageSize": self.at_once},
        )
        for items in pages:
            for order in _orders(self.client, self.table, state, items["Items"]):
                if _holds(self.selection, order):
                    yield order


def _orders(client: "DynamoDBClient", table: str, state: State, items: list[Any]) -> Iterator[SelectedOrder]:
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
    return (
        (selection.customer is None or order.customer == selection.customer)
        and (selection.error is None or order.error_type == selection.error)
        and (selection.before is None or order.updated_at < selection.before)
    )
