"""One order: the response of its execution and its ledger entry."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from botocore.exceptions import ReadTimeoutError

from shared.executions.names import MAX_ATTEMPT, ExecutionName, OrderExecution, stack_hash
from shared.orders.order import parse_order
from tests.workflow.durable import COMPLETED, ORDER, STACK_ID, answer, failure


def test_a_completed_order_returns_the_response_schema(pipeline):
    result = answer(pipeline.run(ORDER))
    data = result["enrichmentResult"]["enrichedData"]
    assert result == {
        "success": True,
        "orderId": "ORDER-123",
        "enrichmentResult": {"statusCode": 200, "orderId": "ORDER-123", "enrichedData": data},
        "finalResult": {
            "orderId": "ORDER-123",
            "status": "COMPLETED",
            "enrichedData": data,
            "finalizedAt": result["finalResult"]["finalizedAt"],
            "message": "Order finalized successfully",
        },
        "message": "Order processed successfully with durable execution",
        "processedAt": result["processedAt"],
    }
    assert data["customerId"].startswith("CUST-")
    assert data["totals"] == {"lines": 1, "units": 3, "amount": "29.97", "currency": "USD"}
    assert data["timestamp"] <= result["finalResult"]["finalizedAt"] <= result["processedAt"]
    assert pipeline.states("ORDER-123") == COMPLETED


def test_an_order_without_faults_costs_four_metered_operations(pipeline):
    result = pipeline.run(ORDER)
    # Metered operations: the start, each attempt of a step, each wait.
    assert [(op.name, op.operation_type.value) for op in result.operations] == [
        ("enrich", "STEP"),
        ("wait", "WAIT"),
        ("finalize", "STEP"),
    ]
    assert [op.attempt for op in result.operations if op.operation_type.value == "STEP"] == [1, 1]


def test_a_known_customer_has_a_profile_and_an_unknown_one_is_a_guest(pipeline):
    item = {"customerId": {"S": "CUST-1"}, "tier": {"S": "GOLD"}, "customerSince": {"S": "1997-01-01"}}
    pipeline.dynamodb.put_item(TableName="CustomersTable", Item=item)
    known = answer(pipeline.run({"orderId": "A", "customerId": "CUST-1"}))["enrichmentResult"]["enrichedData"]
    unknown = answer(pipeline.run({"orderId": "B", "customerId": "CUST-2"}))["enrichmentResult"]["enrichedData"]
    assert known["customerId"] == "CUST-1"
    assert known["profile"] == {"kind": "CUSTOMER", "tier": "GOLD", "customerSince": "1997-01-01"}
    assert unknown["customerId"].startswith("CUST-GUEST-")
    assert unknown["profile"] == {"kind": "GUEST"}


def test_money_given_as_a_json_number_stays_exact(pipeline):
    pipeline.run('{"orderId": "A", "items": [{"sku": "CD", "quantity": 3, "unitPrice": 123456789012.123456}]}')
    entry = pipeline.entry("A")
    assert entry.order["items"][0]["unitPrice"] == "123456789012.123456"
    assert entry.enrichment["enrichedData"]["totals"]["amount"] == "370370367036.370368"


@pytest.mark.parametrize(
    ("payload", "names"),
    [
        ('{"orderId": "A", "items": [{"sku": "CD", "quantity": 0, "unitPrice": "x"}]}', ["quantity", "unitPrice"]),
        ('{"orderId": "A", "orderId": "B"}', ["orderId", "twice"]),
        ('{"id": "A"}', ["orderId", "id"]),
        ("[]", ["dictionary"]),
    ],
)
def test_a_direct_invoke_with_an_invalid_order_names_the_fields(pipeline, payload, names):
    error_type, message = failure(pipeline.run(payload))
    assert error_type == "InvalidOrder"
    assert all(name in message for name in names)
    assert pipeline.entry("A") is None


def test_an_execution_named_after_another_order_is_refused(pipeline):
    name = str(ExecutionName.of(STACK_ID, "ORDER-999", 2))
    result = pipeline.run(ORDER, name=name)
    assert failure(result) == ("InvalidOrder", "orderId: the execution is named for order ORDER-999")
    assert pipeline.entry("ORDER-123") is None


def test_a_completed_order_invoked_again_returns_the_same_result(pipeline):
    first = answer(pipeline.run(ORDER))
    before = pipeline.entry("ORDER-123")
    again = pipeline.run(ORDER)
    assert answer(again) == first
    assert [op.name for op in again.operations] == ["enrich"]
    assert pipeline.entry("ORDER-123") == before
    assert pipeline.enricher.calls == 1


def test_the_same_id_with_another_body_fails_as_a_conflict(pipeline):
    pipeline.run(ORDER)
    before = pipeline.entry("ORDER-123")
    error_type, message = failure(pipeline.run(ORDER | {"currency": "EUR"}))
    assert error_type == "OrderConflict"
    assert before.execution_arn in message
    assert pipeline.entry("ORDER-123") == before


def test_an_order_in_progress_is_refused_and_names_its_execution(pipeline):
    pipeline.module.PIPELINE.ledger.claim(parse_order(json.dumps(ORDER)), OrderExecution("ORDER-123", "arn:running"))
    before = pipeline.entry("ORDER-123")
    error_type, message = failure(pipeline.run(ORDER))
    assert error_type == "OrderInProgress"
    assert "arn:running" in message
    assert pipeline.entry("ORDER-123") == before


def test_the_enricher_is_called_three_times_one_and_two_seconds_apart(pipeline):
    pipeline.enricher.answers = iter([{"errorType": "Throttled"}, ReadTimeoutError(endpoint_url="enricher"), None])
    result = pipeline.run(ORDER)
    answer(result)
    assert pipeline.enricher.calls == 3
    assert pipeline.states("ORDER-123") == COMPLETED


def test_an_enricher_outage_fails_the_order_after_three_calls(pipeline):
    pipeline.enricher.answers = iter([{"errorType": "Boom"}] * 9)
    error_type, message = failure(pipeline.run(ORDER))
    assert (error_type, message) == ("EnricherUnavailable", "the enricher failed: Boom")
    assert pipeline.enricher.calls == 3
    entry = pipeline.entry("ORDER-123")
    assert entry.state.value == "FAILED"
    assert entry.error == {"type": "EnricherUnavailable", "message": "the enricher failed: Boom"}


def test_an_invalid_answer_fails_the_order_at_once(pipeline):
    pipeline.enricher.answers = iter([{"statusCode": 200, "orderId": "ORDER-124", "enrichedData": {}}])
    error_type, _ = failure(pipeline.run(ORDER))
    assert error_type == "EnrichmentRejected"
    assert pipeline.enricher.calls == 1
    assert pipeline.states("ORDER-123") == ["RECEIVED", "ENRICHING", "FAILED"]


def test_a_failed_order_runs_again_as_the_next_attempt(pipeline):
    pipeline.enricher.answers = iter([{"statusCode": 404}])
    failure(pipeline.run_attempt(ORDER, 1))
    answer(pipeline.run_attempt(ORDER, 2))
    entry = pipeline.entry("ORDER-123")
    assert entry.attempt == 2
    assert [step.attempt for step in entry.history] == [1] * 3 + [2] * 6
    assert pipeline.states("ORDER-123") == ["RECEIVED", "ENRICHING", "FAILED", *COMPLETED]


def test_a_direct_invoke_does_not_retry_a_failed_order(pipeline):
    pipeline.enricher.answers = iter([{"statusCode": 404}])
    failure(pipeline.run(ORDER))
    before = pipeline.entry("ORDER-123")
    assert failure(pipeline.run(ORDER))[0] == "OrderEnded"
    assert pipeline.entry("ORDER-123") == before


@pytest.mark.parametrize("attempt", [MAX_ATTEMPT + 1, 999_999])
def test_an_attempt_after_the_last_fails_and_writes_nothing(pipeline, attempt):
    error_type, message = failure(
        pipeline.run(ORDER, name=str(ExecutionName(stack_hash(STACK_ID), "ORDER-123", attempt)))
    )
    assert error_type == "TooManyAttempts"
    assert message == f"attempt {attempt} of order ORDER-123: an order has at most {MAX_ATTEMPT} attempts"
    assert pipeline.entry("ORDER-123") is None


def test_a_bug_in_finalize_leaves_failed_with_its_type_and_message(pipeline, monkeypatch):
    from orchestrator import steps

    def broken(me, ledger):
        ledger.finalizing(me)
        raise ZeroDivisionError("no stock")

    monkeypatch.setattr(steps, "finalize", broken)
    result = pipeline.run(ORDER)
    assert result.status.value == "FAILED"
    assert result.error.message == "no stock"
    entry = pipeline.entry("ORDER-123")
    assert entry.error == {"type": "ZeroDivisionError", "message": "no stock"}
    assert pipeline.states("ORDER-123")[-2:] == ["FINALIZING", "FAILED"]


def test_a_wait_of_two_days_completes(pipeline):
    pipeline.set(wait=timedelta(days=2), execution_timeout=timedelta(days=3))
    answer(pipeline.run(ORDER, execution_timeout=3 * 24 * 3600))
    assert pipeline.states("ORDER-123") == COMPLETED


def test_a_wait_longer_than_the_timeout_allows_fails_at_once_and_names_both(pipeline):
    pipeline.set(wait=timedelta(hours=1))
    error_type, message = failure(pipeline.run(ORDER))
    assert error_type == "WaitDoesNotFit"
    assert "3600 s" in message
    assert "900 s" in message
    assert pipeline.entry("ORDER-123").error["type"] == "WaitDoesNotFit"


def test_an_order_cancelled_while_it_waits_is_not_finalized(pipeline):
    def cancel(number, moment):
        if (number, moment) == (2, "after"):
            pipeline.dynamodb.update_item(
                TableName="LedgerTable",
                Key={"orderId": {"S": "ORDER-123"}},
                UpdateExpression="SET #s = :s",
                ExpressionAttributeNames={"#s": "state"},
                ExpressionAttributeValues={":s": {"S": "CANCELLED"}},
            )

    pipeline.on_write(cancel)
    assert failure(pipeline.run(ORDER))[0] == "OrderCancelled"
    assert pipeline.entry("ORDER-123").state.value == "CANCELLED"
    assert "FINALIZING" not in pipeline.states("ORDER-123")


def test_each_log_line_names_order_and_execution_and_a_replay_logs_nothing(pipeline):
    stream = StringIO()
    handler = pipeline.module._logger.registered_handler
    before = handler.setStream(stream)
    try:
        pipeline.run(ORDER)
    finally:
        handler.setStream(before)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["message"] for line in lines] == ["order received", "order enriched, waiting", "order completed"]
    arn = pipeline.entry("ORDER-123").execution_arn
    assert {(line["orderId"], line["executionArn"]) for line in lines} == {("ORDER-123", arn)}
    assert "9.99" not in stream.getvalue()
