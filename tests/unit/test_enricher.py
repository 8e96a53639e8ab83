"""The enricher: customers, totals, and the response schema of its answer."""

import importlib
import json
import re
import sys
from fractions import Fraction

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from enricher.profiles import Customers, guest_id
from enricher.totals import totals
from shared.errors import OrderTooLarge
from shared.orders.enrichment import Enrichment, UnusableItem
from shared.orders.fields import MAX_CANONICAL_BYTES
from shared.orders.order import order_from, parse_order
from tests.unit.orders import order_ids, prices
from tests.unit.transport import Endpoint, client, refusal


@pytest.fixture
def customers(dynamodb, customers_table):
    dynamodb.put_item(
        TableName=customers_table,
        Item={"customerId": {"S": "CUST-00004"}, "tier": {"S": "GOLD"}, "customerSince": {"S": "1997-01-01"}},
    )
    dynamodb.put_item(TableName=customers_table, Item={"customerId": {"S": "CUST-00005"}})
    return Customers(dynamodb, customers_table)


def ordered_by(customer_id):
    return order_from({"orderId": "ORDER-123", "customerId": customer_id})


# ── profiles ──────────────────────────────────────────────────────────────────────────────────────


def test_a_known_customer_has_the_profile_of_the_table(customers):
    customer = customers.of(ordered_by("CUST-00004"))
    assert customer.customer_id == "CUST-00004"
    assert customer.profile.model_dump(by_alias=True) == {
        "kind": "CUSTOMER",
        "tier": "GOLD",
        "customerSince": "1997-01-01",
    }


def test_a_customer_with_only_an_id_is_a_customer(customers):
    customer = customers.of(ordered_by("CUST-00005"))
    assert (customer.customer_id, customer.profile.kind, customer.profile.tier) == ("CUST-00005", "CUSTOMER", None)


@pytest.mark.parametrize("attribute", ["tier", "customerSince"])
@pytest.mark.parametrize(
    "value",
    [
        {"N": "4711"},
        {"B": b"4711"},
        {"BOOL": True},
        {"NULL": True},
        {"SS": ["4711"]},
        {"L": [{"S": "4711"}]},
        {"M": {"value": {"S": "4711"}}},
    ],
    ids=lambda value: next(iter(value)),
)
def test_an_attribute_of_another_type_is_named_without_its_value(
    customers, dynamodb, customers_table, attribute, value
):
    item = {"customerId": {"S": "CUST-4711"}, "tier": {"S": "GOLD"}, "customerSince": {"S": "1997-01-01"}}
    dynamodb.put_item(TableName=customers_table, Item={**item, attribute: value})
    unusable = customers.of(ordered_by("CUST-4711"))
    assert unusable == UnusableItem(
        table=customers_table, key="customerId", attribute=attribute, type=next(iter(value)), expected="S"
    )
    assert "4711" not in str(unusable)


@pytest.mark.parametrize("customer_id", [None, "CUST-99999", "cust-00004"])
def test_a_customer_who_is_not_in_the_table_is_a_guest(customers, customer_id):
    customer = customers.of(ordered_by(customer_id))
    assert customer.customer_id == guest_id("ORDER-123")
    assert customer.profile.model_dump(by_alias=True, exclude_none=True) == {"kind": "GUEST"}


def test_an_order_without_a_customer_does_not_read_the_table(customers, dynamodb):
    endpoint = Endpoint(dynamodb, "GetItem", None)
    customers.of(ordered_by(None))
    assert endpoint.requests == []


def test_errors_of_the_table_are_raised():
    """Then the orchestrator retries. A throttled read must not turn a known customer into a guest."""
    dynamodb = client("dynamodb")
    Endpoint(dynamodb, "GetItem", refusal(400, "ProvisionedThroughputExceededException"))
    with pytest.raises(ClientError, match="ProvisionedThroughputExceededException"):
        Customers(dynamodb, "customers").of(ordered_by("CUST-00004"))


def test_a_guests_id_never_changes():
    assert guest_id("ORDER-123") == "CUST-GUEST-98FE6D326C15"


@given(order_ids, order_ids)
def test_a_guests_id_is_the_same_for_the_same_order_and_only_for_it(one, other):
    assert (guest_id(one) == guest_id(other)) == (one == other)
    assert re.fullmatch(r"CUST-GUEST-[0-9A-F]{12}", guest_id(one))


# ── totals ────────────────────────────────────────────────────────────────────────────────────────


def order_with(lines):
    items = [{"sku": "S", "quantity": quantity, "unitPrice": price} for quantity, price in lines]
    return order_from({"orderId": "A", "items": items})


@given(st.lists(st.tuples(st.integers(1, 1_000_000), prices), max_size=20))
def test_totals_are_exact(lines):
    sums = totals(order_with(lines))
    assert sums.lines == len(lines)
    assert sums.units == sum(quantity for quantity, _ in lines)
    assert Fraction(sums.amount) == sum((quantity * Fraction(price) for quantity, price in lines), Fraction(0))
    assert re.fullmatch(r"[0-9]+(\.[0-9]+)?", sums.amount)


def test_totals_of_the_largest_order_are_exact():
    largest = 999_999, "999999999999.999999"  # a million would end in zeros, which no rounding loses
    lines = MAX_CANONICAL_BYTES // len('{"quantity":999999,"sku":"S","unitPrice":"999999999999.999999"},')
    with pytest.raises(OrderTooLarge):
        order_with([largest] * (lines + 1))
    sums = totals(order_with([largest] * (lines - 1)))
    assert Fraction(sums.amount) == (lines - 1) * 999_999 * Fraction("999999999999.999999")


@pytest.mark.parametrize(
    ("lines", "amount"),
    [
        ([], "0"),
        ([(1, "0")], "0"),
        ([(3, "0.1")], "0.3"),
        ([(2, "29.33"), (1, "100")], "158.66"),
        ([(1, "100"), (1, "0.01")], "100.01"),
    ],
)
def test_an_amount_is_a_plain_decimal(lines, amount):
    assert totals(order_with(lines)).amount == amount


@pytest.mark.parametrize(("lines", "amount"), [([(2, "0.5")], "1"), ([(10, "13.97")], "139.7"), ([(4, "25")], "100")])
def test_an_amount_has_no_trailing_zeros(lines, amount):
    """Prices have none either: each amount has one spelling."""
    assert totals(order_with(lines)).amount == amount


def test_an_amount_is_in_the_orders_currency():
    assert totals(order_from({"orderId": "A", "currency": "JPY"})).currency == "JPY"
    assert totals(order_from({"orderId": "A"})).currency is None


# ── the handler ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def enricher(customers, customers_table, monkeypatch):
    monkeypatch.setenv("CUSTOMERS_TABLE", customers_table)
    monkeypatch.delitem(sys.modules, "enricher.handler", raising=False)
    return importlib.import_module("enricher.handler")


def event_of(order):
    """Return the event that Lambda makes from the payload that the orchestrator sends."""
    return json.loads(order.canonical_bytes())


ORDER = parse_order(
    '{"orderId":"ORDER-123","customerId":"CUST-00004","currency":"EUR",'
    '"items":[{"sku":"S","quantity":2,"unitPrice":29.33}]}'
)


def test_the_answer_has_the_response_schema(enricher, lambda_context):
    answer = enricher.handler(event_of(ORDER), lambda_context)
    timestamp = answer["enrichedData"].pop("timestamp")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", timestamp)
    assert answer == {
        "statusCode": 200,
        "orderId": "ORDER-123",
        "enrichedData": {
            "customerId": "CUST-00004",
            "profile": {"kind": "CUSTOMER", "tier": "GOLD", "customerSince": "1997-01-01"},
            "totals": {"lines": 1, "units": 2, "amount": "58.66", "currency": "EUR"},
        },
    }


@pytest.mark.parametrize("order", [ORDER, parse_order('{"orderId":"A"}'), ordered_by("CUST-99999")])
def test_the_orchestrator_accepts_the_answer(enricher, lambda_context, order):
    answer = json.loads(json.dumps(enricher.handler(event_of(order), lambda_context)))
    enrichment = Enrichment.model_validate(answer)
    assert enrichment.order_id == order.order_id
    assert enrichment.model_dump(mode="json", by_alias=True, exclude_none=True) == answer


@pytest.mark.parametrize(
    ("event", "order_id", "error"),
    [
        ({"orderId": "ORDER 1"}, "ORDER 1", "orderId: "),
        ({"orderId": "A", "currency": "XXX"}, "A", "currency: "),
        ({}, None, "orderId: is required"),
        ([], None, ""),
        ("ORDER-1", None, ""),
        (None, None, ""),
    ],
)
def test_an_invalid_order_is_answered_with_400(enricher, lambda_context, event, order_id, error):
    answer = enricher.handler(event, lambda_context)
    assert answer.keys() == {"statusCode", "orderId", "error"}
    assert (answer["statusCode"], answer["orderId"]) == (400, order_id)
    assert answer["error"].startswith(error)
    assert answer["error"]


def test_a_customer_with_an_attribute_of_another_type_is_answered_with_422(
    enricher, customers, dynamodb, customers_table, lambda_context
):
    dynamodb.put_item(
        TableName=customers_table, Item={"customerId": {"S": "CUST-00004"}, "tier": {"M": {"name": {"S": "GOLD"}}}}
    )
    answer = enricher.handler(event_of(ORDER), lambda_context)
    assert (answer["statusCode"], answer["orderId"]) == (422, "ORDER-123")
    assert answer["unusableItem"] == {
        "table": customers_table,
        "key": "customerId",
        "attribute": "tier",
        "type": "M",
        "expected": "S",
    }
    assert answer["error"] == str(UnusableItem.model_validate(answer["unusableItem"]))
    assert "GOLD" not in json.dumps(answer)


def test_the_handler_raises_errors_of_the_table(enricher, lambda_context):
    Endpoint(enricher._customers._client, "GetItem", refusal(400, "ResourceNotFoundException"))
    with pytest.raises(ClientError):
        enricher.handler(event_of(ORDER), lambda_context)
