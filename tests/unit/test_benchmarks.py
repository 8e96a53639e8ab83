"""The benchmarks run, count by the rules they name, and their published table is that of the results."""

import json
import sys
from pathlib import Path

from bench import orchestrator
from bench.__main__ import README, RESULTS, markdown, rows_with
from bench.console import SHARES, Writer
from bench.costs import ITEM, transaction_units
from bench.figures import Row, Series
from bench.processes import NODE_PEER, python_function
from shared.ledger.entry import LedgerEntry
from shared.ledger.states import State
from shared.ledger.table import LedgerTable
from tools.sample_data import generated_orders

SRC = Path(__file__).parents[2] / "src"


def test_an_order_makes_three_checkpoint_calls_for_four_metered_operations():
    ours = python_function(sys.executable, SRC, "orchestrator.handler")
    found = orchestrator.measure([ours], runs=5, warm_up=1)  # the median: a batch may be split when a thread is late
    counted = {row.id: row.value for row in found.rows}
    assert (counted["P8 operations"], counted["P8 calls"], counted["P8 invocations"]) == (4, 3, 2)
    assert {row.holds for row in found.rows if "Node.js" in row.figure} == {None}
    assert counted["P2 at 5 ms"] > 1


def test_a_transaction_for_each_transition_costs_four_units_and_two_of_the_index():
    entry = LedgerEntry.of(json.loads(ITEM.read_text()))
    # Six transitions, of two items below 1 KB, each twice; and a put, then five times a delete and a put.
    assert transaction_units(entry) == {"table": 24, "index": 11}


def test_the_spread_is_the_distance_of_the_quartiles_as_a_share_of_the_median():
    series = Series.of("name", "ms", [1, 2, 3, 4, 5])
    assert (series.median, series.spread, series.runs) == (3, 2 / 3, 5)


def test_a_row_without_a_value_neither_holds_nor_fails():
    assert Row.at_most("P1", "figure", None, 2).holds is None
    assert [Row.at_most("P1", "figure", value, 2).holds for value in (1, 2, 3)] == [True, True, False]


def test_the_published_table_has_the_rows_of_the_latest_results():
    data = json.loads(RESULTS.read_text())
    assert markdown(data) in README.read_text()


def test_rows_of_one_benchmark_take_the_place_of_its_own_and_of_no_others():
    before = json.loads(RESULTS.read_text())["rows"]
    found = rows_with([{"id": "P1", "figure": "new"}])
    assert found == [*(row for row in before if row["id"] != "P1"), {"id": "P1", "figure": "new"}]


def test_the_ledger_of_the_consoles_benchmark_has_orders_in_each_of_its_states(dynamodb, ledger_table):
    ledger = LedgerTable(dynamodb, ledger_table)
    writer = Writer(ledger, "arn:aws:lambda:us-east-1:123456789012:function:o", "stack", {"enrichedData": {}})
    ends = [*SHARES, State.COMPLETED]
    for number, (order, end) in enumerate(zip(generated_orders(len(ends)), ends, strict=True)):
        writer.write(order, end, number)
        assert [order_id for _, order_id in ledger.in_state(end)] == [order.order_id]


def test_the_node_peer_is_locked_by_hashes_without_addresses():
    locked = json.loads((NODE_PEER / "package-lock.json").read_text())["packages"]
    packages = [package for path, package in locked.items() if path]
    assert packages
    assert all(package["integrity"].startswith("sha512-") for package in packages)
    assert not any("resolved" in package for package in packages)
