"""Any payload of a direct invoke reaches the workflow as an order, or fails the execution with a reason."""

import importlib
import json
import sys
from types import SimpleNamespace

import boto3
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors import InvalidOrder
from shared.orders.order import parse_order
from tests.unit.executions import EXECUTION, RUN_ID, STACK_ID
from tests.unit.hostile import any_text, broken, changed, json_texts, nested
from tests.unit.orders import order_data, spellings

REFUSALS = {f"shared.errors.{name}" for name in ("NotJson", "InvalidOrder", "OrderTooLarge")}


@pytest.fixture
def invoke(monkeypatch):
    """Calls the orchestrator's handler. Returns its answer and the orders that reached the workflow."""
    settings = {
        "ENRICHER_ARN": "arn:aws:lambda:us-east-1:123456789012:function:orders-OrderEnricher",
        "EXECUTION_TIMEOUT_SECONDS": "900",
        "LEDGER_RETENTION_DAYS": "0",
        "LEDGER_TABLE": "ledger",
        "STACK_ID": STACK_ID,
        "WAIT_SECONDS": "2",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "client", lambda *_, **__: SimpleNamespace())
    # The time for which the SDK waits for further checkpoints at the end of an invocation.
    monkeypatch.setattr("aws_durable_execution_sdk_python.state._STOP_SIGNAL_POLL_SECONDS", 0.001, raising=False)
    monkeypatch.delitem(sys.modules, "orchestrator.handler", raising=False)
    orchestrator = importlib.import_module("orchestrator.handler")
    reached = []
    monkeypatch.setattr(orchestrator, "process_order", lambda _context, order, _me, _pipeline: reached.append(order))

    def invoked(payload):
        reached.clear()
        operation = {"Id": RUN_ID, "Type": "EXECUTION", "Status": "STARTED", "StartTimestamp": 1}
        event = {
            "DurableExecutionArn": f"{EXECUTION}/direct/{RUN_ID}",
            "CheckpointToken": "token",
            "InitialExecutionState": {"Operations": [{**operation, "ExecutionDetails": {"InputPayload": payload}}]},
        }
        answer = orchestrator.handler(event, SimpleNamespace(aws_request_id="request-1"))
        return answer, list(reached)

    return invoked


def runs_or_fails(answer, reached, payload):
    # Lambda accepts JSON in UTF-8.
    assert json.dumps(answer, ensure_ascii=False).encode()
    try:
        order = parse_order(payload)
    except InvalidOrder:
        assert (answer["Status"], reached) == ("FAILED", [])
        assert answer["Error"]["ErrorType"] in REFUSALS
        assert 0 < len(answer["Error"]["ErrorMessage"]) < 32 * 1024
    else:
        assert answer["Status"] == "SUCCEEDED"
        assert reached == [order]


orders = order_data()
order_texts = orders.flatmap(spellings)


@given(st.one_of(order_texts, broken(order_texts), changed(orders).map(json.dumps), json_texts, nested, any_text))
@example("")
@example(" ")
@example('{"orderId": "A", "\\ud800": 1, "\\ud800": 2}')
@example('{"orderId": "A", "orderId": "B"}')
@example('{"orderId": NaN}')
@example("9" * 5_000)
def test_any_payload_runs_or_fails_with_its_reason(invoke, payload):
    answer, reached = invoke(payload)
    runs_or_fails(answer, reached, payload)


@pytest.mark.parametrize(("opening", "closing"), ["[]", ('{"a":', "}")])
def test_a_payload_nested_too_deeply_fails_with_its_reason_at_any_depth(invoke, opening, closing):
    """The SDK reads the payload too, with less stack left. It must not receive one that it cannot read."""
    limit = sys.getrecursionlimit()
    for depth in (*range(limit - 200, limit + 1), 2_000, 5_000, 10_000, 20_000, 50_000, 100_000):
        payload = '{"orderId":' + opening * depth + ("" if closing == "]" else "1") + closing * depth + "}"
        answer, reached = invoke(payload)
        assert (answer["Status"], reached) == ("FAILED", [])
        assert answer["Error"]["ErrorType"] in REFUSALS
