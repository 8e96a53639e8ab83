"""The ingest function as Lambda calls it."""

import importlib
import io
import json
import sys
import time

import pytest

from tests.unit.events import sqs_event
from tests.unit.executions import ALIAS, STACK_ID, name_of, started
from tests.unit.transport import Endpoint, refusal, session

METRICS = ("OrdersAccepted", "MessagesRejected", "MessagesGivenBack")


@pytest.fixture
def sqs(aws):
    return session().client("sqs")


@pytest.fixture
def queue(sqs):
    return sqs.create_queue(QueueName="rejected")["QueueUrl"]


@pytest.fixture
def ingest(queue, monkeypatch):
    monkeypatch.setenv("ORCHESTRATOR_ARN", ALIAS)
    monkeypatch.setenv("REJECTED_ORDERS_QUEUE_URL", queue)
    monkeypatch.setenv("STACK_ID", STACK_ID)
    monkeypatch.setenv("ORDER_ID_PREFIX", "")
    monkeypatch.setenv("LEDGER_TABLE", "LedgerTable")
    monkeypatch.delitem(sys.modules, "ingest.handler", raising=False)
    return importlib.import_module("ingest.handler")


def messages(bodies):
    batch = sqs_event(*bodies)
    for record in batch["Records"]:
        record["body"] = bodies[record["messageId"]]
    return batch


def test_a_mixed_batch_gives_back_only_what_could_not_be_started(ingest, sqs, queue, lambda_context):
    def answer(request):
        order_id = json.loads(request.body)["orderId"]
        return refusal(403, "AccessDeniedException") if order_id == "DENIED" else started(name_of(order_id))

    Endpoint(ingest._intake.executions._client, "Invoke", answer)
    bodies = {"good": '{"orderId": "GOOD"}', "bad": "no order", "denied": '{"orderId": "DENIED"}'}
    assert ingest.handler(messages(bodies), lambda_context) == {"batchItemFailures": [{"itemIdentifier": "denied"}]}
    (rejected,) = sqs.receive_message(QueueUrl=queue)["Messages"]
    assert rejected["Body"] == "no order"


def test_a_batch_counts_the_orders_it_accepted(ingest, lambda_context, capsys):
    """In CloudWatch's embedded metric format: rejected messages and messages that are given back do not count."""

    def answer(request):
        order_id = json.loads(request.body)["orderId"]
        return refusal(403, "AccessDeniedException") if order_id == "DENIED" else started(name_of(order_id))

    Endpoint(ingest._intake.executions._client, "Invoke", answer)
    bodies = {"1": '{"orderId": "A"}', "2": '{"orderId": "B"}', "3": "no order", "4": '{"orderId": "DENIED"}'}
    for batch in (bodies, {"5": "no order"}):
        ingest.handler(messages(batch), lambda_context)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    assert {(line["service"], line["FunctionName"]) for line in lines} == {("ingest", lambda_context.function_name)}
    counted = [{name: line[name] for name in METRICS if name in line} for line in lines if "OrdersAccepted" in line]
    assert counted == [
        {"OrdersAccepted": [2], "MessagesRejected": [1], "MessagesGivenBack": [1]},
        {"OrdersAccepted": [0], "MessagesRejected": [1], "MessagesGivenBack": [0]},
    ]
    by_reason = [(line["ReasonCode"], line["MessagesRejected"]) for line in lines if "ReasonCode" in line]
    assert by_reason == [("NOT_JSON", [1])] * 2
    [metric] = lines[0]["_aws"]["CloudWatchMetrics"]
    assert metric["Namespace"] == "Orders"
    assert {"Name": "OrdersAccepted", "Unit": "Count"} in metric["Metrics"]


def test_a_batch_measures_the_time_in_the_queue_of_each_message(ingest, lambda_context, capsys):
    """The last message was sent by a clock that is ahead."""
    batch = messages({"1": "no order", "2": "no order", "3": "no order"})
    for record, seconds in zip(batch["Records"], (60, 3600, -60), strict=True):
        record["attributes"]["SentTimestamp"] = str(int((time.time() - seconds) * 1000))
    ingest.handler(batch, lambda_context)
    line = next(json.loads(line) for line in capsys.readouterr().out.splitlines() if "QueueMilliseconds" in line)
    assert [value // 60_000 for value in line["QueueMilliseconds"]] == [1, 60, 0]
    assert {"Name": "QueueMilliseconds", "Unit": "Milliseconds"} in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]


def test_each_batch_has_a_processor_of_its_own(ingest, lambda_context, monkeypatch):
    """A thread that is still running must not see the next batch."""
    made = []

    class Recorded(ingest.ParallelBatchProcessor):
        def __init__(self, *args):
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr(ingest, "ParallelBatchProcessor", Recorded)
    for _ in range(2):
        ingest.handler(messages({"bad": "no order"}), lambda_context)
    assert len(made) == len(set(map(id, made))) == 2


def test_the_client_has_a_connection_for_every_thread(ingest):
    assert ingest._intake.executions._client.meta.config.max_pool_connections >= ingest.MAX_THREADS


def test_a_rejected_message_is_logged_whatever_its_keys(ingest, lambda_context, monkeypatch):
    """A key can contain a lone surrogate, which no output stream can encode."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    monkeypatch.setattr(ingest._logger.registered_handler, "stream", out)
    ingest.handler(messages({"bad": '{"\\ud800": 1, "\\ud800": 2}'}), lambda_context)
    out.seek(0)
    (line,) = [json.loads(line) for line in out if "message rejected" in line]
    assert line["messageId"] == "bad"
