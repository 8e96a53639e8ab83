"""The real orders in samples/: 6,919 purchases in a music shop in 1997 and 1998."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from enricher.totals import totals
from shared.orders.order import parse_order

SAMPLES = Path(__file__).parents[2] / "samples" / "cdnow_orders.jsonl"


@pytest.fixture(scope="module")
def lines():
    return SAMPLES.read_text().splitlines()


def test_every_sample_is_an_order_with_a_unique_id(lines):
    orders = [parse_order(line) for line in lines]
    assert len(orders) == 6_919
    assert len({order.order_id for order in orders}) == 6_919
    assert len({order.digest() for order in orders}) == 6_919


def test_every_sample_keeps_all_its_values(lines):
    for line in lines:
        said, kept = json.loads(line), parse_order(line).canonical()
        assert kept.keys() == said.keys()
        for item in (*kept["items"], *said["items"]):
            item["unitPrice"] = Decimal(item["unitPrice"])
        assert kept == said


@pytest.mark.parametrize(
    ("number", "units", "amount"),
    [
        (1, 1, "29.33"),
        (4, 2, "26.48"),
        (12, 4, "77.96"),
        (226, 1, "0"),
        (511, 10, "139.70"),
        (572, 10, "166.30"),
        (4274, 1, "506.97"),
        (6919, 2, "25.74"),
    ],
)
def test_the_totals_of_a_sample_are_the_sums_of_its_lines(lines, number, units, amount):
    order = parse_order(lines[number - 1])
    assert order.order_id == f"CDNOW-{number:06}"
    sums = totals(order)
    assert (sums.lines, sums.units, Decimal(sums.amount), sums.currency) == (1, units, Decimal(amount), "USD")


def test_the_total_of_all_samples_equals_the_sum_in_cents(lines):
    """The prices in this data are whole cents, so integers can check the pipeline's decimals."""
    cents = 0
    for line in lines:
        for item in json.loads(line)["items"]:
            whole, _, fraction = item["unitPrice"].partition(".")
            cents += item["quantity"] * (100 * int(whole) + int(fraction))
    assert sum(Decimal(totals(parse_order(line)).amount) for line in lines) * 100 == cents
