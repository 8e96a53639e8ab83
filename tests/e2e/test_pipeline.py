"""The whole pipeline on the local stack: orders from the queue or the alias, and their entries in the ledger."""

import json
from itertools import islice
from pathlib import Path

import pytest

from tests.e2e.deployed_pipeline import COMPLETED, new_id, states

SAMPLES = Path(__file__).parents[2] / "samples"


def raw_invoke(pipeline, function_name, order, **arguments):
    response = pipeline.functions.invoke(FunctionName=function_name, Payload=json.dumps(order).encode(), **arguments)
    return response, json.loads(response["Payload"].read() or b"null")


def test_a_message_becomes_a_completed_order(pipeline):
    order_id = new_id()
    pipeline.send([json.dumps({"orderId": order_id, "customerId": "CUST-00004"})])
    entry = pipeline.ended(order_id)
    assert states(entry) == COMPLETED
    assert entry.enrichment["enrichedData"]["profile"]["kind"] == "CUSTOMER"
    execution = pipeline.execution(entry)
    assert execution["Status"] == "SUCCEEDED"
    assert execution["DurableExecutionName"].endswith(f"-{order_id}-1")
    assert json.loads(execution["InputPayload"]) == entry.order
    assert json.loads(execution["Result"])["processedAt"] == entry.result["processedAt"]


def test_the_execution_waits_without_a_process_and_is_resumed(pipeline):
    order_id = new_id()
    pipeline.send([json.dumps({"orderId": order_id})])
    entry = pipeline.ended(order_id)
    pipeline.execution(entry)
    history = pipeline.functions.get_durable_execution_history(DurableExecutionArn=entry.execution_arn)
    events = [event["EventType"] for event in history["Events"]]
    assert events.count("InvocationCompleted") == 2
    assert events.index("WaitStarted") < events.index("InvocationCompleted") < events.index("WaitSucceeded")
    assert [event["Name"] for event in history["Events"] if event["EventType"] == "StepSucceeded"] == [
        "enrich",
        "finalize",
    ]


def test_a_direct_invoke_has_the_response_schema_and_repeats_its_result(pipeline):
    order = {"orderId": new_id(), "items": [{"sku": "CD", "quantity": 2, "unitPrice": 13.24}], "currency": "USD"}
    answer = pipeline.invoke(order)
    data = answer["enrichmentResult"]["enrichedData"]
    assert set(answer) >= {"success", "orderId", "enrichmentResult", "finalResult", "message", "processedAt"}
    assert answer["success"] is True
    assert answer["enrichmentResult"] == {"statusCode": 200, "orderId": order["orderId"], "enrichedData": data}
    assert data["totals"]["amount"] == "26.48"
    assert answer["finalResult"]["status"] == "COMPLETED"
    assert pipeline.invoke(order) == answer
    assert states(pipeline.ledger.get(order["orderId"])) == COMPLETED


def test_an_unqualified_invoke_is_refused(pipeline):
    unqualified = pipeline.outputs["DurableOrderProcessorArn"].rpartition(":")[0]
    refused = pipeline.functions.exceptions.InvalidParameterValueException
    with pytest.raises(refused, match="unqualified ARN"):
        pipeline.functions.invoke(FunctionName=unqualified, Payload=b'{"orderId": "ORDER-1"}')


def test_a_direct_invoke_with_a_bad_order_names_the_fields(pipeline):
    order = {"orderId": new_id(), "items": [{"sku": "CD", "quantity": 0, "unitPrice": "1"}], "coupon": "SPRING"}
    response, error = raw_invoke(pipeline, pipeline.outputs["DurableOrderProcessorArn"], order)
    assert response["FunctionError"] == "Unhandled"
    assert "items.0.quantity" in error["errorMessage"]
    assert "coupon" in error["errorMessage"]
    assert "SPRING" not in error["errorMessage"]
    assert pipeline.ledger.get(order["orderId"]) is None


def test_a_direct_invoke_of_a_running_order_fails_and_names_the_owner(pipeline):
    order = {"orderId": new_id()}
    with pipeline.without_finalize():
        pipeline.send([json.dumps(order)])
        waiting = pipeline.entry_when(order["orderId"], lambda entry: entry.state == "WAITING", "to wait")
        response, error = raw_invoke(pipeline, pipeline.outputs["DurableOrderProcessorArn"], order)
    assert response["FunctionError"] == "Unhandled"
    assert error["errorType"].endswith("OrderInProgress")
    assert waiting.execution_arn in error["errorMessage"]
    entry = pipeline.ended(order["orderId"])
    assert states(entry) == COMPLETED
    assert entry.execution_arn == waiting.execution_arn


def test_the_same_order_sent_fifty_times_is_one_execution_and_one_history(pipeline):
    order_id = new_id()
    body = json.dumps({"orderId": order_id, "attributes": {"channel": "web"}})
    pipeline.send([body] * 25)
    pipeline.ended(order_id)
    pipeline.send([body] * 25)
    pipeline.drained()
    entry = pipeline.ledger.get(order_id)
    assert states(entry) == COMPLETED
    named = [e for e in pipeline.executions() if f"-{order_id}-" in e["DurableExecutionName"]]
    assert [execution["DurableExecutionArn"] for execution in named] == [entry.execution_arn]


def test_a_known_id_with_another_body_is_rejected_and_changes_nothing(pipeline):
    order_id = new_id()
    pipeline.send([json.dumps({"orderId": order_id})])
    pipeline.entry_when(order_id, lambda _: True, "to begin")
    other = json.dumps({"orderId": order_id, "currency": "EUR"})
    pipeline.send([other])
    reject = pipeline.rejected(other)
    assert reject["reasonCode"] == "ORDER_CONFLICT"
    entry = pipeline.ended(order_id)
    assert states(entry) == COMPLETED
    assert entry.order == {"orderId": order_id}


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ("not an order", "NOT_JSON", ""),
        ('{"orderId": "", "coupon": "SPRING"}', "INVALID_ORDER", "coupon"),
        ('{"orderId": "A", "orderId": "B"}', "INVALID_ORDER", "orderId"),
        (json.dumps({"orderId": "BIG", "attributes": {f"n{i}": "ü" * 256 for i in range(50)}} | {
            "items": [{"sku": "S" * 64, "quantity": 1, "unitPrice": "1"}] * 500}), "TOO_LARGE", ""),
    ],
    ids=["not json", "bad fields", "a key twice", "too large"],
)  # fmt: skip
def test_a_bad_message_is_rejected_with_its_reason_and_the_others_complete(pipeline, body, code, field):
    others = [new_id("GOOD") for _ in range(3)]
    pipeline.send([json.dumps({"orderId": order_id}) for order_id in others] + [body])
    reject = pipeline.rejected(body)
    assert reject["reasonCode"] == code
    assert field in [error["field"] for error in json.loads(reject["fieldErrors"])]
    assert reject["sourceMessageId"]
    assert [states(pipeline.ended(order_id)) for order_id in others] == [COMPLETED] * 3


def test_no_order_is_lost_when_the_enricher_fails_and_recovers(pipeline):
    order_id = new_id()
    with pipeline.without_customers():
        pipeline.send([json.dumps({"orderId": order_id, "customerId": "CUST-00004"})])
        # The second of three calls has begun: the last call finds the table again.
        pipeline.entry_when(order_id, lambda entry: entry.starts == 2, "to be tried again")
    entry = pipeline.ended(order_id)
    assert states(entry) == COMPLETED
    assert entry.starts in (2, 3)


def test_an_order_is_failed_with_its_reason_when_the_enricher_stays_down(pipeline):
    order_id = new_id()
    with pipeline.without_customers():
        pipeline.send([json.dumps({"orderId": order_id, "customerId": "CUST-00004"})])
        entry = pipeline.ended(order_id)
    assert states(entry) == ["RECEIVED", "ENRICHING", "FAILED"]
    assert entry.error["type"] == "EnricherUnavailable"
    assert entry.starts == 3
    failed = pipeline.execution(entry)
    assert failed["Status"] == "FAILED"
    assert failed["Error"]["ErrorType"].endswith("EnricherUnavailable")


def test_the_log_of_every_function_contains_the_order_id(pipeline):
    order_id = new_id()
    pipeline.send([json.dumps({"orderId": order_id})])
    pipeline.ended(order_id)
    for function in ("OrderIngest", "DurableOrderProcessor", "OrderEnricher"):
        group = f"/aws/lambda/orders-{function}"

        def lines(group=group):
            events = pipeline.logs.filter_log_events(logGroupName=group, filterPattern=f'"{order_id}"')["events"]
            return [event for event in events if order_id in event["message"]]

        assert pipeline.until(lines, f"a line of {function}")


def test_a_hundred_real_purchases_complete_once_each(pipeline):
    with (SAMPLES / "cdnow_orders.jsonl").open() as lines:
        bodies = [line.strip() for line in islice(lines, 1000, 1100)]
    order_ids = [json.loads(body)["orderId"] for body in bodies]
    pipeline.send(bodies)
    entries = pipeline.wait_for_end(order_ids)
    assert [states(entries[order_id]) for order_id in order_ids] == [COMPLETED] * 100
    owners = {entries[order_id].execution_arn for order_id in order_ids}
    ran = {e["DurableExecutionArn"] for e in pipeline.executions() if "-CDNOW-" in e["DurableExecutionName"]}
    assert ran == owners
    assert len(owners) == 100
    pipeline.drained()
