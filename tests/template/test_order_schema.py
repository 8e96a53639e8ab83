"""docs/order.schema.json against the parser: what the one takes, so does the other."""

import json
import subprocess

import pytest

from shared.errors import InvalidOrder
from shared.orders.order import parse_order
from tools.generated_docs import DOCS
from tools.template_check import BIN, ROOT

LINE = {"sku": "S", "quantity": 1, "unitPrice": "1"}
TAKEN = [
    {"orderId": "ORDER-123"},
    {"orderId": "A", "customerId": None, "currency": None, "placedAt": None, "items": [], "attributes": {}},
    {"orderId": "A", "customerId": "CUST-00004", "currency": "USD", "placedAt": "1997-01-01T12:00:00Z"},
    {
        "orderId": "A",
        "items": [LINE, {**LINE, "unitPrice": 29.33}, {**LINE, "unitPrice": 0}],
    },
    {"orderId": "A", "attributes": {"channel": "web", "a.b_c-d": ""}},
]
REFUSED_BY_BOTH = [
    None,
    [],
    "ORDER-123",
    {},
    {"orderId": ""},
    {"orderId": "A B"},
    {"orderId": "A" * 49},
    {"orderId": 7},
    {"orderId": "A", "total": "1"},
    {"orderId": "A", "customerId": "a b"},
    {"orderId": "A", "currency": "usd"},
    {"orderId": "A", "placedAt": 852120000},
    {"orderId": "A", "items": None},
    {"orderId": "A", "items": [{}]},
    {"orderId": "A", "items": [{**LINE, "quantity": 0}]},
    {"orderId": "A", "items": [{**LINE, "quantity": 1.5}]},
    {"orderId": "A", "items": [{**LINE, "unitPrice": -1}]},
    {"orderId": "A", "items": [{**LINE, "unitPrice": "1e2"}]},
    {"orderId": "A", "items": [{**LINE, "unitPrice": True}]},
    {"orderId": "A", "items": [{**LINE, "sku": " S"}]},
    {"orderId": "A", "items": [{**LINE, "price": "1"}]},
    {"orderId": "A", "attributes": {"a b": "x"}},
    {"orderId": "A", "attributes": {"a": 1}},
    {"orderId": "A", "attributes": {"a": "x" * 257}},
    {"orderId": "A", "attributes": {str(n): "" for n in range(51)}},
]
# What only code can tell.
REFUSED_BY_THE_PARSER = [
    {"orderId": "A", "currency": "XXX"},
    {"orderId": "A", "placedAt": "1997-02-29T12:00:00Z"},
    {"orderId": "A", "items": [{**LINE, "unitPrice": "0.0000001"}]},
    {"orderId": "A", "attributes": {str(n): "\x01" * 256 for n in range(50)}},
]


def parses(value):
    try:
        parse_order(json.dumps(value))
    except InvalidOrder:
        return False
    return True


@pytest.fixture(scope="module")
def samples():
    return [json.loads(line) for line in (ROOT / "samples" / "cdnow_orders.jsonl").read_text().splitlines()[:100]]


@pytest.fixture(scope="module")
def valid():
    """Whether the schema takes each of the values. `jsonschema` is in `.venv-sam`, where cfn-lint brings it."""
    program = (
        "import json, sys, jsonschema\n"
        "schema, values = json.load(sys.stdin)\n"
        "validator = jsonschema.Draft202012Validator\n"
        "validator.check_schema(schema)\n"
        "print(json.dumps([validator(schema).is_valid(value) for value in values]))\n"
    )

    def judged(values):
        given = json.dumps([json.loads((DOCS / "order.schema.json").read_text()), values])
        done = subprocess.run([BIN / "python", "-c", program], input=given, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    return judged


def test_what_the_parser_takes_the_schema_takes(valid, samples):
    values = TAKEN + samples
    assert [parses(value) for value in values] == [True] * len(values)
    assert valid(values) == [True] * len(values)


def test_what_the_schema_refuses_the_parser_refuses(valid):
    assert [parses(value) for value in REFUSED_BY_BOTH] == [False] * len(REFUSED_BY_BOTH)
    assert valid(REFUSED_BY_BOTH) == [False] * len(REFUSED_BY_BOTH)


def test_what_no_schema_can_say_the_parser_knows(valid):
    assert [parses(value) for value in REFUSED_BY_THE_PARSER] == [False] * len(REFUSED_BY_THE_PARSER)
    assert valid(REFUSED_BY_THE_PARSER) == [True] * len(REFUSED_BY_THE_PARSER)
