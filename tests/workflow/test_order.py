"""One order: the response of its execution and its ledger entry."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from botocore.exceptions import ReadTimeoutError

from orchestrator.workflow import STEPS_RESERVE, Pipeline, wait_that_fits
from shared.errors import WaitDoesNotFit
from shared.executions.names import MAX_ATTEMPT, ExecutionName, OrderExecution, stack_hash
from shared.ledger.entry import state_shard
from shared.ledger.states import State
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
        ("[]", ["object", "list"]),
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


@pytest.fixture
def failed_in_finalize(pipeline, monkeypatch):
    """ORDER, whose first attempt failed after the wait, and is to be retried from FINALIZING."""
    from orchestrator import steps

    with monkeypatch.context() as broken:
        broken.setattr(steps, "finalize", lambda *_: 1 / 0)
        failure(pipeline.run_attempt(ORDER, 1))
    pipeline.mark_for_finalize("ORDER-123")
    return pipeline.entry("ORDER-123")


def test_a_resumed_attempt_costs_three_metered_operations_and_calls_no_enricher(pipeline, failed_in_finalize):
    calls = pipeline.enricher.calls
    result = pipeline.run_attempt(ORDER, 2)
    assert answer(result)["enrichmentResult"] == failed_in_finalize.enrichment
    # The start, and one attempt of each step.
    assert [(op.name, op.attempt) for op in result.operations] == [("enrich", 1), ("finalize", 1)]
    assert pipeline.enricher.calls == calls
    assert pipeline.states("ORDER-123") == [*COMPLETED[:4], "FAILED", *COMPLETED]


@pytest.mark.parametrize("write", [1, 2, 3, 4])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_resumed_attempt_never_waits_when_its_process_dies_at_a_write(pipeline, failed_in_finalize, write, moment):
    pipeline.kill_at(write, moment)
    result = pipeline.run_attempt(ORDER, 2)
    assert answer(result)["enrichmentResult"] == failed_in_finalize.enrichment
    assert [op.name for op in result.operations] == ["enrich", "finalize"]
    assert pipeline.states("ORDER-123") == [*COMPLETED[:4], "FAILED", *COMPLETED]


def test_an_order_waits_although_its_process_died_when_the_enrichment_was_recorded(pipeline):
    pipeline.kill_at(2, "after")
    result = pipeline.run(ORDER)
    assert answer(result)["enrichmentResult"] == pipeline.entry("ORDER-123").enrichment
    assert [op.name for op in result.operations] == ["enrich", "wait", "finalize"]
    assert pipeline.enricher.calls == 1


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


def test_an_error_with_a_long_message_ends_failed_with_the_first_kib_of_it(pipeline, monkeypatch):
    from orchestrator import steps

    def broken(me, ledger):
        raise ZeroDivisionError("no stock " * 500)

    monkeypatch.setattr(steps, "finalize", broken)
    pipeline.run(ORDER)
    entry = pipeline.entry("ORDER-123")
    assert entry.state.value == "FAILED"
    assert entry.error["message"] == ("no stock " * 500)[:1024]
    assert entry.history[-1].detail == ("ZeroDivisionError: " + "no stock " * 500)[:1024]


def test_an_error_too_large_for_a_checkpoint_ends_failed_with_its_type(pipeline, monkeypatch):
    from orchestrator import steps

    def broken(me, ledger):
        raise ZeroDivisionError("no stock " * 10_000)

    monkeypatch.setattr(steps, "finalize", broken)
    assert failure(pipeline.run(ORDER)) == ("StepError", ("no stock " * 500)[:1024])
    assert pipeline.entry("ORDER-123").error["type"] == "ZeroDivisionError"


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


def test_the_longest_wait_that_fits_leaves_the_reserve_for_the_steps():
    timeout = timedelta(minutes=15)
    longest = timeout - STEPS_RESERVE
    assert wait_that_fits(Pipeline(None, None, longest, timeout)).to_seconds() == longest.total_seconds()
    with pytest.raises(WaitDoesNotFit, match="a wait of 841 s does not fit into an execution timeout of 900 s"):
        wait_that_fits(Pipeline(None, None, longest + timedelta(seconds=1), timeout))


def test_an_order_cancelled_while_it_waits_is_not_finalized(pipeline):
    def cancel(number, moment):
        if (number, moment) == (2, "after"):
            pipeline.dynamodb.update_item(
                TableName="LedgerTable",
                Key={"orderId": {"S": "ORDER-123"}},
                UpdateExpression="SET #s = :s, stateShard = :shard",
                ExpressionAttributeNames={"#s": "state"},
                ExpressionAttributeValues={
                    ":s": {"S": "CANCELLED"},
                    ":shard": {"S": state_shard(State.CANCELLED, "ORDER-123")},
                },
            )

    pipeline.on_write(cancel)
    assert failure(pipeline.run(ORDER))[0] == "OrderCancelled"
    assert pipeline.entry("ORDER-123").state.value == "CANCELLED"
    assert "FINALIZING" not in pipeline.states("ORDER-123")


@pytest.fixture
def logged(pipeline, monkeypatch):
    """The orchestrator's log: a function that returns its lines so far."""
    stream = StringIO()
    # Not setStream, which flushes the stream before: that can be an earlier test's, and closed.
    monkeypatch.setattr(pipeline.module._logger.registered_handler, "stream", stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_each_log_line_names_order_and_execution_and_a_replay_logs_nothing(pipeline, logged):
    pipeline.run(ORDER)
    lines = logged()
    assert [line["message"] for line in lines] == [
        "order received",
        "order started",
        "order enriched, waiting",
        "order completed",
    ]
    arn = pipeline.entry("ORDER-123").execution_arn
    # The last is what the runner calls an invocation.
    named = {(line["orderId"], line["executionArn"], line["function_request_id"]) for line in lines}
    assert named == {("ORDER-123", arn, "test-invoke-12345")}
    assert "9.99" not in str([line | {"timestamp": ""} for line in lines])


def test_an_attempt_is_logged_as_started_once_although_enrich_starts_again(pipeline, logged):
    pipeline.kill_at(2, "before")
    pipeline.run(ORDER)
    assert pipeline.entry("ORDER-123").starts == 2
    assert [line["message"] for line in logged()].count("order started") == 1


def test_an_order_that_was_completed_before_is_not_logged_as_started(pipeline, logged):
    pipeline.run(ORDER)
    before = len(logged())
    pipeline.run(ORDER, name="again")
    assert [line["message"] for line in logged()[before:]] == ["order received", "order was completed before"]
