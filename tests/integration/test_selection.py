"""Orders selected by the index and grouped by cause, on moto."""

import threading

import pytest

from shared.executions.names import OrderExecution
from shared.ledger.owner import Ledger
from shared.ledger.states import State
from shared.ledger.table import LedgerTable
from shared.orders.order import parse_order
from tools.operations.failures import causes
from tools.operations.progress import Count, counts, open_counts
from tools.operations.selection import Selection, page, selected


def claim(ledger, order_id, customer=None, attempt=1):
    me = OrderExecution(order_id, f"arn:{order_id}:{attempt}", attempt, named=True)
    field = f', "customerId": "{customer}"' if customer else ""
    Ledger(ledger).claim(parse_order(f'{{"orderId": "{order_id}"{field}}}'), me)
    return me


@pytest.fixture
def select(ledger, dynamodb):
    return lambda **conditions: list(selected(dynamodb, "LedgerTable", Selection(**conditions)))


def ids(orders):
    return [order.order_id for order in orders]


@pytest.fixture
def some_orders(ledger):
    """A and C failed by different causes, B runs, C was retried."""
    a, _, c = claim(ledger, "A", "CUST-1"), claim(ledger, "B", "CUST-1"), claim(ledger, "C", "CUST-2")
    Ledger(ledger).failed(c, "EnricherUnavailable", "no answer")
    Ledger(ledger).failed(claim(ledger, "C", "CUST-2", attempt=2), "EnricherUnavailable", "no answer")
    Ledger(ledger).failed(a, "EnrichmentRejected", "bad")


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, ["B", "C", "A"]),
        ({"states": (State.FAILED,)}, ["C", "A"]),
        ({"states": (State.ENRICHING, State.FAILED)}, ["B", "C", "A"]),
        ({"customer": "CUST-1"}, ["B", "A"]),
        ({"error": "EnrichmentRejected"}, ["A"]),
        ({"error": "EnrichmentRejected", "states": (State.ENRICHING,)}, []),
        ({"states": (State.FAILED,), "customer": "CUST-2"}, ["C"]),
    ],
)
def test_orders_are_selected_by_every_condition_the_longest_unmoved_first(select, some_orders, conditions, expected):
    assert ids(select(**conditions)) == expected


def test_an_age_has_an_inclusive_start_and_an_exclusive_end(select, some_orders):
    _, c, a = select()
    assert ids(select(since=c.updated_at, before=a.updated_at)) == ["C"]


def test_a_selected_order_has_its_attempt_error_and_customer(select, some_orders):
    running, failed, _ = select()
    assert (running.state, running.attempt, running.error_type, running.customer) == ("ENRICHING", 1, None, "CUST-1")
    assert (failed.state, failed.attempt, failed.error_type) == ("FAILED", 2, "EnricherUnavailable")


def test_a_new_attempt_has_no_error_type(ledger, select, some_orders):
    claim(ledger, "C", "CUST-2", attempt=3)
    (order,) = select(customer="CUST-2")
    assert (order.state, order.attempt, order.error_type) == ("ENRICHING", 3, None)


def test_the_error_of_an_order_that_an_older_release_wrote_is_read_from_its_item(dynamodb, select, some_orders):
    dynamodb.update_item(TableName="LedgerTable", Key={"orderId": {"S": "A"}}, UpdateExpression="REMOVE errorType")
    assert ids(select(error="EnrichmentRejected")) == ["A"]


def test_many_pages_are_read_one_at_a_time_in_order(ledger, dynamodb, monkeypatch):
    monkeypatch.setattr("tools.operations.selection._PAGE", 2)
    for number in range(40):
        claim(ledger, f"ORDER-{number:02}")
    queries = []
    dynamodb.meta.events.register("provide-client-params.dynamodb.Query", lambda params, **_: queries.append(params))
    orders = selected(dynamodb, "LedgerTable", Selection(states=(State.ENRICHING,)))
    assert next(orders).order_id == "ORDER-00"
    assert len(queries) == 4
    assert ids(orders) == [f"ORDER-{number:02}" for number in range(1, 40)]


def test_the_first_pages_of_all_shards_are_read_together(dynamodb, ledger_table):
    all_four = threading.Barrier(4, timeout=30)

    def wait_for_the_others(**_):
        all_four.wait()

    dynamodb.meta.events.register("provide-client-params.dynamodb.Query", wait_for_the_others)
    assert list(selected(dynamodb, "LedgerTable", Selection(states=(State.ENRICHING,)))) == []


def test_failures_are_grouped_by_cause_and_count_those_that_failed_again(ledger, select, some_orders):
    Ledger(ledger).failed(claim(ledger, "D"), "EnricherUnavailable", "no answer")
    often, once = causes(select(states=(State.FAILED,)))
    c, _, d = select(states=(State.FAILED,))
    assert (often.error_type, often.count, often.again, often.example) == ("EnricherUnavailable", 2, 1, "D")
    assert (often.first, often.last) == (c.updated_at, d.updated_at)
    assert (once.error_type, once.count, once.again, once.example) == ("EnrichmentRejected", 1, 0, "A")


def test_counts_have_every_open_order_and_those_that_ended_since_a_time(dynamodb, select, some_orders):
    _, c, a = select()
    for since, failed in ((c.updated_at, 2), (a.updated_at, 1), ("2027", 0)):
        found = counts(dynamodb, "LedgerTable", since)
        assert (found[State.ENRICHING], found[State.FAILED], found[State.WAITING]) == (1, failed, 0)


@pytest.mark.parametrize("newest_first", [True, False])
def test_pages_have_each_order_once_in_order_also_within_one_millisecond(dynamodb, ledger_table, newest_first):
    times = iter(sorted([*("2026-01-01T00:00:00.000Z",) * 7, *(f"2026-01-01T00:00:0{n}.000Z" for n in range(1, 8))]))
    table = LedgerTable(dynamodb, ledger_table, now=lambda: next(times))
    for number in range(14):
        claim(table, f"ORDER-{number:02}")
    seen, cursor = [], None
    for _ in range(20):
        found = page(dynamodb, ledger_table, Selection(), newest_first=newest_first, cursor=cursor, size=3)
        seen += found.orders
        cursor = found.cursor
        if cursor is None:
            break
    assert sorted(ids(seen)) == [f"ORDER-{number:02}" for number in range(14)]
    assert [order.updated_at for order in seen] == sorted((order.updated_at for order in seen), reverse=newest_first)


def test_a_page_compares_what_the_index_is_not_sorted_by(dynamodb, some_orders):
    def first(**conditions):
        return ids(page(dynamodb, "LedgerTable", Selection(**conditions), newest_first=False).orders)

    assert first(prefix="B") == ["B"]
    assert first(prefix="B", customer="CUST-2") == []
    assert first(customer="CUST-1") == ["B", "A"]
    assert first(error="EnrichmentRejected") == ["A"]
    assert first(states=(State.WAITING,), error="EnrichmentRejected") == []


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize(("most", "at_least", "at_most"), [(1, 8, 12), (24, 3, 6)])
def test_a_page_that_compared_what_it_may_has_a_next_one(
    dynamodb, ledger_table, newest_first, most, at_least, at_most, monkeypatch
):
    monkeypatch.setattr("tools.operations.selection._COMPARED_AT_ONCE", 3)
    # Five in each millisecond, so most queries end among orders of one time.
    times = iter(f"2026-01-01T00:00:{number // 5:02}.000Z" for number in range(60))
    table = LedgerTable(dynamodb, ledger_table, now=lambda: next(times))
    for number in range(60):
        claim(table, f"ORDER-{number:02}", f"CUST-{number % 7}")
    selection = Selection((State.ENRICHING,), customer="CUST-3")
    found, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        some = page(dynamodb, ledger_table, selection, newest_first=newest_first, cursor=cursor, most=most)
        found, cursor, pages = [*found, *ids(some.orders)], some.cursor, pages + 1
    assert found == [f"ORDER-{number:02}" for number in range(3, 60, 7)][:: -1 if newest_first else 1]
    assert at_least <= pages <= at_most


def test_a_full_page_has_no_next_one_if_no_order_is_left(dynamodb, ledger):
    def as_at_the_limit(parsed, **_):
        """DynamoDB, unlike moto, also returns a key if the items end where the limit is reached."""
        if parsed["Items"]:
            last = {name: parsed["Items"][-1][name] for name in ("orderId", "stateShard", "updatedAt")}
            parsed.setdefault("LastEvaluatedKey", last)

    dynamodb.meta.events.register("after-call.dynamodb.Query", as_at_the_limit)
    for number in range(8):
        claim(ledger, f"ORDER-{number}")
    assert page(dynamodb, "LedgerTable", Selection(), size=8).cursor is None
    assert page(dynamodb, "LedgerTable", Selection(), size=7).cursor is not None


def test_dynamodb_sends_only_orders_of_the_customer(dynamodb, some_orders):
    sent = []
    dynamodb.meta.events.register("after-call.dynamodb.Query", lambda parsed, **_: sent.extend(parsed["Items"]))
    page(dynamodb, "LedgerTable", Selection(customer="CUST-2"))
    assert [item["orderId"]["S"] for item in sent] == ["C"]


def test_a_count_of_open_orders_stops(ledger, dynamodb):
    for number in range(40):
        claim(ledger, f"ORDER-{number:02}")
    assert open_counts(dynamodb, "LedgerTable", 400)[State.ENRICHING] == Count(40)
    found = open_counts(dynamodb, "LedgerTable", 8)[State.ENRICHING]
    assert found == Count(8, at_least=True)
    assert State.COMPLETED not in open_counts(dynamodb, "LedgerTable", 8)
