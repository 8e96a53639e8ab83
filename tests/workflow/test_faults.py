"""An order completes once although its process dies or its ledger is unavailable, with few calls of the enricher."""

import itertools

import pytest

from shared.errors import LedgerUnavailable
from shared.ledger.owner import MAX_STARTS, Ledger
from tests.workflow.durable import COMPLETED, ORDER, Killed, answer, dynamodb_error, failure

# The writes of an order without faults: claim, enriched, finalizing, completed.
WRITES = range(1, 5)
MOMENTS = ("before", "after")


@pytest.mark.parametrize("kill", list(itertools.product(WRITES, MOMENTS)), ids=str)
def test_an_order_completes_when_its_process_dies_at_any_write(pipeline, kill):
    pipeline.kill_at(*kill)
    result = answer(pipeline.run(ORDER))
    entry = pipeline.entry("ORDER-123")
    assert pipeline.states("ORDER-123") == COMPLETED
    assert entry.version == len(entry.history)
    # The response contains the values in the ledger, whichever process wrote them.
    assert result["enrichmentResult"] == entry.enrichment
    assert result["processedAt"] == entry.result["processedAt"]
    # The enricher is called again only if its answer never reached the ledger.
    assert pipeline.enricher.calls == (2 if kill == (2, "before") else 1)


def test_a_step_that_kills_its_process_every_time_ends_failed(pipeline):
    pipeline.enricher.answers = itertools.repeat(Killed("in the enricher's call"))
    error_type, _ = failure(pipeline.run(ORDER))
    assert error_type == "TooManyStarts"
    assert pipeline.enricher.calls == MAX_STARTS
    assert pipeline.entry("ORDER-123").error["type"] == "TooManyStarts"


@pytest.mark.parametrize("write", WRITES)
def test_an_outage_of_the_ledger_is_retried_and_nothing_is_lost(pipeline, write):
    outage = iter(range(6))

    def throttle(number, moment):
        if moment == "before" and number >= write and next(outage, None) is not None:
            raise dynamodb_error("ThrottlingException")

    pipeline.on_write(throttle)
    answer(pipeline.run(ORDER))
    assert pipeline.states("ORDER-123") == COMPLETED


@pytest.mark.parametrize("write", WRITES)
def test_a_write_without_a_response_is_recognised_as_its_own(pipeline, write):
    def cut(number, moment):
        if (number, moment) == (write, "after"):
            raise dynamodb_error("ThrottlingException")

    pipeline.on_write(cut)
    answer(pipeline.run(ORDER))
    assert pipeline.states("ORDER-123") == COMPLETED
    entry = pipeline.entry("ORDER-123")
    assert entry.version == len(entry.history)


def test_ledger_failures_do_not_count_as_calls_of_the_enricher(pipeline):
    outage = iter(range(5))

    def throttle(number, moment):
        if moment == "before" and next(outage, None) is not None:
            raise dynamodb_error("ThrottlingException")

    pipeline.on_write(throttle)
    pipeline.enricher.answers = iter([{"errorType": "Boom"}, {"errorType": "Boom"}, None])
    answer(pipeline.run(ORDER))
    assert pipeline.enricher.calls == 3


def test_a_failure_that_cannot_be_recorded_still_fails_the_execution(pipeline):
    def refuse(number, moment):
        if moment == "before" and number > 1:
            raise dynamodb_error("AccessDeniedException")

    pipeline.on_write(refuse)
    pipeline.enricher.answers = iter([{"statusCode": 404}])
    assert failure(pipeline.run(ORDER)) == ("EnrichmentRejected", "the enricher answered statusCode 404")
    assert pipeline.states("ORDER-123") == ["RECEIVED", "ENRICHING"]


def test_an_unusable_customer_fails_its_order_after_one_call_and_is_named(pipeline):
    pipeline.dynamodb.put_item(
        TableName="CustomersTable", Item={"customerId": {"S": "CUST-00004"}, "tier": {"N": "4711"}}
    )
    result = pipeline.run({**ORDER, "customerId": "CUST-00004"})
    reason = (
        "the enricher answered statusCode 422: the item of table CustomersTable with the order's customerId:"
        " attribute tier has type N, not S"
    )
    assert failure(result) == ("EnrichmentRejected", reason)
    assert pipeline.enricher.calls == 1
    entry = pipeline.entry("ORDER-123")
    assert (entry.state.value, entry.error) == ("FAILED", {"type": "EnrichmentRejected", "message": reason})


def test_a_ledger_outage_after_the_enrichers_answer_is_retried(pipeline, monkeypatch):
    outage = iter(range(11))
    record = Ledger.enriched

    def enriched(ledger, me, enrichment):
        if next(outage, None) is not None:
            raise LedgerUnavailable("throttled")
        return record(ledger, me, enrichment)

    monkeypatch.setattr(Ledger, "enriched", enriched)
    answer(pipeline.run(ORDER))
    assert pipeline.states("ORDER-123") == COMPLETED
