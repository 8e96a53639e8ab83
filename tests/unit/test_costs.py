"""What an order costs: by hand for a real item, and for orders that met faults."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from shared.ledger.entry import RESUMED, LedgerEntry, Transition
from shared.ledger.states import PATH, State
from tools.operations.costs import (
    Assumptions,
    Deployment,
    charges,
    cost,
    durable_bytes,
    item_sizes,
    write_units,
)
from tools.operations.prices import MILLION, PRICES, Meter

ROOT = Path(__file__).parents[2]
ITEM = json.loads((ROOT / "samples" / "ledger_item.json").read_text())


@pytest.fixture(scope="module")
def completed():
    return LedgerEntry.of(ITEM)


def used(entry, *, deployment=None, assumed=None):
    """Quantities by meter, over all parts."""
    found = dict.fromkeys(Meter, 0)
    for charge in charges(entry, deployment or Deployment(), assumed or Assumptions()):
        found[charge.meter] += charge.quantity
    return found


def attempt(number, *states, first_detail=None):
    """The history of an attempt, each state with a time of its own but for what the owner writes together."""
    together = {State.ENRICHING: State.RECEIVED, State.WAITING: State.ENRICHED}
    return tuple(
        Transition(state, f"2026-01-0{number}T00:00:{list(State).index(together.get(state, state)):02}.000Z", number,
                   first_detail if state is State.RECEIVED else None)
        for state in states
    )  # fmt: skip


def failed(entry, history, *, number=1, starts=1, state=State.FAILED):
    return replace(
        entry,
        state=state,
        attempt=number,
        history=history,
        version=len(history),
        starts=starts,
        enrichment=None,
        result=None,
        error={"type": "EnricherUnavailable", "message": "no answer"},
    )


TO_FAILURE = (State.RECEIVED, State.ENRICHING, State.FAILED)


def test_the_item_of_a_real_order_has_the_sizes_counted_by_hand(completed):
    # The claim: orderId 19, attempt 9, executionArn 171, order 163, orderDigest 75, customerId 20, enrichStarts 14,
    # state 14, stateShard 21, updatedAt 33, version 9; history 10 + 227 (with the ARN) + 56.
    claim = 19 + 9 + 171 + 163 + 75 + 20 + 14 + 14 + 21 + 33 + 9 + 10 + 227 + 56
    # ENRICHED and WAITING: 55 + 54 in the history, the enrichment, and two letters less in state and in stateShard.
    enriched = claim + 55 + 54 + 226 - 2 - 2
    finalizing = enriched + 57 + 3 + 3
    assert item_sizes(completed) == [claim, enriched, finalizing, finalizing + 56 + 81 - 1 - 1]


def test_a_real_order_needs_21_write_units(completed):
    # The table: 1 + 2 + 2 + 2 for items of 1, 2, 2 and 2 started KB. An index: a put, then 3 deletes and puts.
    assert write_units(completed) == {"LedgerTable": 7, "OrdersIndex": 7}


def test_a_real_order_costs_the_sum_counted_by_hand(completed):
    found = used(completed)
    assert found[Meter.OPERATION] == 4  # the start, two steps, the wait
    assert found[Meter.SQS_REQUEST] == 3
    assert found[Meter.LAMBDA_REQUEST] == 6  # ingest, the orchestrator twice, the enricher, the publisher twice
    assert found[Meter.GB_SECOND_ARM] == pytest.approx(0.045 + 0.050 + 0.028 + 0.012 + 2 * 0.018)
    assert found[Meter.EVENT] == 6
    assert found[Meter.STREAM_RECORD] == 4
    logged = 6 * 400 + 590 + 640 + 1170 + 390 + 390 + 2 * 810
    assert found[Meter.LOG_BYTES] == logged
    million = 32 + 1.2 + 1.2 + 0.171 * 13.3334 + 6 + 14 * 0.625 + 0.5 * 0.125 + logged * MILLION / 2**30 * 0.5
    million += durable_bytes(completed, attempt_finalized=True) * MILLION / 2**30 * (0.25 + 0.15)
    assert cost(charges(completed)) * MILLION == pytest.approx(million)


def test_the_durable_data_are_those_that_lambda_recorded():
    recorded = json.loads((ROOT / "tests" / "replay" / "histories" / "completed.json").read_text())
    last = recorded["invocations"][-1]
    operations = last["event"]["InitialExecutionState"]["Operations"]
    results = [one["StepDetails"]["Result"] for one in operations if one["Type"] == "STEP"]
    stored = [operations[0]["ExecutionDetails"]["InputPayload"], *results, recorded["outcome"]["Result"]]
    ledger = last["ledger"]
    history = attempt(1, *PATH)
    entry = LedgerEntry(
        ledger["orderId"], State.COMPLETED, 1, 6, ledger["executionArn"], ledger["order"], ledger["orderDigest"],
        history, history[-1].at, 1, ledger["enrichment"], ledger["result"],
    )  # fmt: skip
    assert durable_bytes(entry, attempt_finalized=True) == sum(len(text.encode()) for text in stored)


def test_a_full_batch_costs_a_tenth_of_its_requests(completed):
    alone, batched = used(completed), used(completed, assumed=Assumptions(messages_in_batch=10, records_in_batch=20))
    assert batched[Meter.SQS_REQUEST] == pytest.approx(1.2)
    assert batched[Meter.LAMBDA_REQUEST] == pytest.approx(alone[Meter.LAMBDA_REQUEST] - 0.9 - 1.8)


def test_the_stacks_parameters_decide_architecture_and_retention(completed):
    deployment = Deployment.of({"Architecture": "x86_64", "RetentionDays": "60"})
    found = used(completed, deployment=deployment)
    assert found[Meter.GB_SECOND_ARM] == 0
    assert found[Meter.GB_SECOND_X86] == used(completed)[Meter.GB_SECOND_ARM]
    assert found[Meter.DURABLE_BYTE_MONTHS] == 2 * found[Meter.DURABLE_BYTES]


def test_each_start_of_enrich_is_an_operation_an_invocation_a_call_and_a_write(completed):
    once, thrice = (failed(completed, attempt(1, *TO_FAILURE), starts=starts) for starts in (1, 3))
    first, third = used(once), used(thrice)
    assert first[Meter.OPERATION] == 3  # the start, enrich, the record of the failure
    assert third[Meter.OPERATION] - first[Meter.OPERATION] == 2
    assert third[Meter.READ_UNIT] - first[Meter.READ_UNIT] == 2 * 0.5
    assert write_units(thrice)["LedgerTable"] - write_units(once)["LedgerTable"] == 2
    assert write_units(thrice)["OrdersIndex"] == write_units(once)["OrdersIndex"] == 3


def test_an_attempt_without_success_has_its_status_change_examined(completed):
    stopped = failed(completed, attempt(1, State.RECEIVED, State.ENRICHING, State.STOPPED), state=State.STOPPED)
    assert used(stopped)[Meter.OPERATION] == 2  # no step records a stop
    parts = {charge.part for charge in charges(stopped)}
    assert "reconciler" in parts
    assert "reconciler" not in {charge.part for charge in charges(completed)}
    assert used(stopped)[Meter.SQS_REQUEST] == 6


def test_a_retry_is_not_queued_again_and_its_first_claim_is_refused(completed):
    history = attempt(1, *TO_FAILURE) + attempt(2, *PATH, first_detail="retried")
    entry = replace(completed, attempt=2, history=history, version=len(history))
    found = used(entry)
    assert found[Meter.OPERATION] == 3 + 4
    assert found[Meter.SQS_REQUEST] == 3 + 3  # the message, and the status change of the first attempt
    sizes = item_sizes(entry)
    assert len(sizes) == 6
    units = [-(-max(pair) // 1024) for pair in zip([0, *sizes], sizes, strict=False)]
    assert write_units(entry)["LedgerTable"] == sum(units) + -(-sizes[1] // 1024)


def test_an_attempt_that_begins_with_finalize_has_three_operations_and_no_call(completed):
    resumed = attempt(2, *PATH, first_detail=RESUMED)
    path = (State.RECEIVED, State.ENRICHING, State.ENRICHED, State.WAITING, State.FINALIZING, State.FAILED)
    entry = replace(completed, attempt=2, history=attempt(1, *path) + resumed, version=12, starts=0)
    found = used(entry)
    assert found[Meter.OPERATION] == 5 + 3
    calls = [charge.quantity for charge in charges(entry) if charge.part == "enricher"]
    assert calls[0] == 1


def test_every_price_has_a_page_of_aws_and_a_date():
    assert set(PRICES) == set(Meter)
    for price in PRICES.values():
        assert price.page.startswith("https://aws.amazon.com/")
        assert len(price.date.split("-")) == 3
