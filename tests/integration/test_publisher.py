"""The publisher over real items and updates of the ledger: events by their schema, at least once, and metrics."""

import importlib
import json
import sys
from collections import Counter

import jsonschema
import pytest
from botocore.exceptions import EndpointConnectionError
from moto.core import DEFAULT_ACCOUNT_ID as ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends

from publisher.events import DETAIL_TYPES
from publisher.publisher import MAX_ENTRIES
from shared.executions.names import OrderExecution
from shared.ledger.owner import Ledger
from shared.ledger.states import State
from shared.ledger.table import unchanged
from shared.orders.order import parse_order
from tests.conftest import ROOT
from tests.integration.orders import ORDER, OWNER, RETRY

SCHEMA = json.loads((ROOT / "docs/events/order-event-1.schema.json").read_text())
validator = jsonschema.Draft202012Validator(SCHEMA)
SECRET = "zqSECRETqz"
ARN = "arn:aws:lambda:us-east-1:123456789012:function:o:1/durable-execution/0a0a0a0a-{}-1/id"
COMPLETED_TYPES = [
    "OrderReceived",
    "OrderEnriching",
    "OrderEnriched",
    "OrderWaiting",
    "OrderFinalizing",
    "OrderCompleted",
]


class Bus:
    """The client's PutEvents: keeps what the bus accepts. `refuse` names the order ids that it does not."""

    def __init__(self, client):
        self.accepted, self.requests, self.refuse, self.errors = [], [], set(), []
        client.put_events = self.put_events

    def put_events(self, Entries):  # noqa: N803
        self.requests.append(Entries)
        if self.errors:
            raise self.errors.pop()
        answer = []
        for entry in Entries:
            event = {
                "source": entry["Source"],
                "detail-type": entry["DetailType"],
                "detail": json.loads(entry["Detail"]),
            }
            if event["detail"]["orderId"] in self.refuse:
                answer.append({"ErrorCode": "ThrottlingException", "ErrorMessage": "too many"})
            else:
                answer.append({"EventId": "1"})
                self.accepted.append(event)
        return {"Entries": answer}

    def types(self):
        return [event["detail-type"] for event in self.accepted]


@pytest.fixture
def publisher(aws, log, monkeypatch):
    monkeypatch.setenv("EVENT_BUS", "orders-OrderEvents")
    monkeypatch.delitem(sys.modules, "publisher.handler", raising=False)
    module = importlib.import_module("publisher.handler")
    monkeypatch.setattr(module._logger.registered_handler, "stream", log)
    return module


@pytest.fixture
def bus(publisher):
    return Bus(publisher._publisher.client)


@pytest.fixture
def stream(dynamodb, ledger_table):
    """Reads the records of the table's stream since the last call, where moto keeps them."""
    shard = dynamodb_backends[ACCOUNT_ID]["us-east-1"].get_table(ledger_table).stream_shard
    read = [0]

    def records():
        found = [item.to_json() for item in shard.items[read[0] :]]
        read[0] += len(found)
        # DynamoDB has one record for an update that creates an item. moto has one of the bare key before it.
        return [record for record in found if record["dynamodb"].get("NewImage", {}).keys() != {"orderId"}]

    return records


@pytest.fixture
def publish(publisher, bus, lambda_context):
    return lambda records: publisher.handler({"Records": records}, lambda_context)["batchItemFailures"]


def emitted(capsys, lambda_context):
    """Counts of transitions by state, and the times of ended orders, in metrics of the publisher."""
    counts, times = {}, []
    for line in capsys.readouterr().out.splitlines():
        if '"Transitions"' in line:
            metric = json.loads(line)
            assert (metric["service"], metric["FunctionName"]) == ("publisher", lambda_context.function_name)
            counts[metric["State"]] = counts.get(metric["State"], 0) + sum(metric["Transitions"])
            times += metric.get("OrderMilliseconds", [])
    return counts, times


def orders(ledger, *order_ids):
    """RECEIVED orders with these ids."""
    for order_id in order_ids:
        order = parse_order(json.dumps({"orderId": order_id, "attributes": {"note": SECRET}}))
        owner = OrderExecution(order_id, ARN.format(order_id), 1, named=True)
        ledger.begin(order, owner, (State.RECEIVED,), None, fields={"enrichStarts": 0})


# ── which events ────────────────────────────────────────────────────────────────────────────────────


def test_each_transition_has_one_event_with_its_version_and_its_execution(kept, stream, publish, bus):
    entry = kept.put_in(State.COMPLETED)
    assert publish(stream()) == []
    assert bus.types() == COMPLETED_TYPES
    assert [event["detail"]["version"] for event in bus.accepted] == [1, 2, 3, 4, 5, 6]
    assert [event["detail"]["at"] for event in bus.accepted] == [step.at for step in entry.history]
    assert {event["detail"]["executionArn"] for event in bus.accepted} == {OWNER.arn}
    [request] = bus.requests
    assert {sent["EventBusName"] for sent in request} == {"orders-OrderEvents"}
    assert [sent["Time"] for sent in request] == [step.at for step in entry.history]


def test_several_transitions_of_one_update_have_an_event_each(ledger, stream, publish, bus):
    Ledger(ledger).claim(ORDER, OWNER)
    records = stream()
    assert len(records) == 1
    publish(records)
    assert bus.types() == ["OrderReceived", "OrderEnriching"]
    assert [event["detail"]["version"] for event in bus.accepted] == [1, 2]


def test_an_update_without_a_transition_has_no_event(kept, ledger, stream, publish, bus):
    entry = kept.put_in(State.WAITING)
    stream()
    ledger.update("ORDER-1", {"executionStatus": "FAILED"}, unchanged(entry))
    records = stream()
    assert len(records) == 1
    assert publish(records) == []
    assert bus.requests == []


def test_a_deleted_item_has_no_event(kept, stream, publish, bus):
    kept.put_in(State.COMPLETED)
    stream()
    kept.delete()
    records = stream()
    assert [record["eventName"] for record in records] == ["REMOVE"]
    assert publish(records) == []
    assert bus.requests == []


@pytest.mark.parametrize("state", [State.FAILED, State.TIMED_OUT, State.STOPPED])
def test_an_order_that_failed_has_its_state_as_the_reason(kept, stream, publish, bus, state):
    kept.put_in(state)
    publish(stream())
    assert bus.accepted[-1]["detail-type"] == "OrderFailed"
    assert bus.accepted[-1]["detail"]["reason"] == state


def test_the_events_of_a_retry_have_its_attempt_and_its_execution(kept, stream, publish, bus):
    kept.put_in(State.WAITING, owner=RETRY, after=kept.put_in(State.FAILED))
    publish(stream())
    owners = [(event["detail"]["attempt"], event["detail"]["executionArn"]) for event in bus.accepted]
    assert owners == [(1, OWNER.arn)] * 5 + [(2, RETRY.arn)] * 4


def test_an_item_that_is_put_back_has_all_its_events_again(kept, dynamodb, stream, publish, bus):
    kept.put_in(State.WAITING, owner=RETRY, after=kept.put_in(State.FAILED))
    item = dynamodb.get_item(TableName="LedgerTable", Key={"orderId": {"S": "ORDER-1"}})["Item"]
    kept.delete()
    stream()
    dynamodb.put_item(TableName="LedgerTable", Item=item)
    publish(stream())
    assert [event["detail"]["version"] for event in bus.accepted] == list(range(1, 10))
    assert [event["detail"]["executionArn"] for event in bus.accepted] == [OWNER.arn] * 5 + [RETRY.arn] * 4


# ── the contract ────────────────────────────────────────────────────────────────────────────────────


def test_every_event_is_valid_by_its_schema(ledger, kept, stream, publish, bus):
    kept.put_in(State.COMPLETED)
    for number, state in enumerate((State.FAILED, State.TIMED_OUT, State.STOPPED, State.CANCELLED)):
        orders(ledger, f"ENDED-{number}")
        ledger.move(f"ENDED-{number}", 1, (state,), unchanged(ledger.get(f"ENDED-{number}")))
    publish(stream())
    assert set(bus.types()) == set(DETAIL_TYPES.values())
    for event in bus.accepted:
        validator.validate(event)


@pytest.mark.parametrize(
    ("field", "value"),
    [("orderId", None), ("version", 0), ("reason", "FAILED"), ("customerId", "CUST-1"), ("schemaVersion", 2)],
)
def test_the_schema_refuses_an_event_that_breaks_it(kept, stream, publish, bus, field, value):
    kept.put_in(State.RECEIVED)
    publish(stream())
    (event,) = bus.accepted
    event["detail"][field] = value
    assert not validator.is_valid(event)


def test_an_event_and_a_log_line_have_no_value_of_the_order(ledger, stream, publish, bus, log, capsys):
    orders(ledger, "A", "B")
    bus.refuse = {"B"}
    publish(stream())
    assert SECRET not in json.dumps(bus.requests) + capsys.readouterr().out + log.getvalue()


def test_ten_of_the_largest_events_fit_into_one_request(ledger, stream, publish, bus):
    orders(ledger, *[f"{number:048}" for number in range(MAX_ENTRIES + 1)])
    publish(stream())
    assert [len(entries) for entries in bus.requests] == [MAX_ENTRIES, 1]
    # Lambda's ARN of an execution has at most 1,024 characters.
    assert max(len(json.dumps(entry)) for entry in bus.requests[0]) + 1024 < 256 * 1024 / MAX_ENTRIES


# ── failures ────────────────────────────────────────────────────────────────────────────────────────


def test_a_batch_is_delivered_again_from_the_first_event_that_was_refused(ledger, stream, publish, bus):
    orders(ledger, "A", "B", "C")
    records = stream()
    bus.refuse = {"B"}
    assert publish(records) == [{"itemIdentifier": records[1]["dynamodb"]["SequenceNumber"]}]
    bus.refuse = set()
    assert publish(records[1:]) == []
    assert {event["detail"]["orderId"] for event in bus.accepted} == {"A", "B", "C"}


def test_after_a_refused_event_no_further_request_is_sent(ledger, stream, publish, bus):
    orders(ledger, *[f"ORDER-{number:02}" for number in range(25)])
    records = stream()
    bus.refuse = {"ORDER-11"}
    assert publish(records) == [{"itemIdentifier": records[11]["dynamodb"]["SequenceNumber"]}]
    assert len(bus.requests) == 2


def test_when_the_bus_does_not_answer_the_batch_is_delivered_again(ledger, stream, publish, bus, log):
    orders(ledger, "A")
    records = stream()
    bus.errors = [EndpointConnectionError(endpoint_url="https://events")]
    assert publish(records) == [{"itemIdentifier": records[0]["dynamodb"]["SequenceNumber"]}]
    (line,) = [json.loads(line) for line in log.getvalue().splitlines() if "event given back" in line]
    assert (line["orderId"], line["version"], line["attempt"], line["executionArn"]) == ("A", 1, 1, ARN.format("A"))


def test_an_item_that_cannot_be_read_does_not_stop_the_events_behind_it(
    ledger, dynamodb, stream, publish, bus, log, capsys
):
    dynamodb.put_item(TableName="LedgerTable", Item={"orderId": {"S": "BROKEN"}, "state": {"S": "LOST"}})
    orders(ledger, "A")
    assert publish(stream()) == []
    assert [event["detail"]["orderId"] for event in bus.accepted] == ["A"]
    assert '"EventsUnreadable":[1.0]' in capsys.readouterr().out
    (line,) = [json.loads(line) for line in log.getvalue().splitlines() if "event not published" in line]
    assert line["reason"].startswith("order BROKEN: ")


# ── metrics ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_metrics_count_each_transition_by_state_and_time_an_attempt(kept, stream, publish, capsys, lambda_context):
    kept.put_in(State.FAILED)
    entry = kept.put_in(State.COMPLETED, owner=RETRY, after=kept._ledger.get("ORDER-1"))
    publish(stream())
    counts, times = emitted(capsys, lambda_context)
    assert counts == Counter(step.state for step in entry.history)
    # The fixture's clock counts seconds: four transitions after the first, and then five.
    assert times == [4_000, 5_000]


def test_a_transition_is_counted_once_when_only_the_records_behind_it_are_delivered_again(
    ledger, stream, publish, bus, capsys, lambda_context
):
    orders(ledger, "A", "B")
    records = stream()
    bus.refuse = {"B"}
    publish(records)
    bus.refuse = set()
    publish(records[1:])
    assert emitted(capsys, lambda_context)[0] == {"RECEIVED": 2}
