"""Whatever happens to the orchestrator at any one request of an order, the order completes, once.

The requests are not listed here: they are those that one order's run was seen to make. Each request of the recording is
met by each fault, an order for each. Orders run side by side: a fault is done to the worker of its order only.
"""

import json
from collections import Counter
from dataclasses import dataclass

import pytest

from shared.states import State
from tests.faults.invariants import Sent, violations
from tests.faults.observed import observe, until_quiet
from tools.local_stack.faults import Action, Cut, Delay, Kill, Orphan, Point, Rule, Stall, Twice

ORCHESTRATOR = "DurableOrderProcessor"
COMPLETED = [
    State.RECEIVED,
    State.ENRICHING,
    State.ENRICHED,
    State.WAITING,
    State.FINALIZING,
    State.COMPLETED,
]
APART_SECONDS = 0.3
"""The durable SDK sends together what comes within moments: this much later, a step's start and its end are two
requests, and there is a point between them."""

LONGER_THAN_THE_LEDGERS_TIMEOUT = 4
ENRICHER_TRIES = 3
PATIENCE_SECONDS = 400


@dataclass(frozen=True)
class Request:
    """One request of an order's run: the n-th of its kind, counted from 0."""

    service: str
    operation: str
    nth: int

    def rule(self, action: Action, order_id: str) -> Rule:
        """Does it to this request of that order."""
        return Rule(action, self.service, self.operation, ORCHESTRATOR, order_id, skip=self.nth)


def apart(order_id):
    """What keeps an order's requests apart, where no other rule is about them."""
    return [
        Rule(Delay(APART_SECONDS), service, operation, ORCHESTRATOR, order_id, times=None)
        for service, operation in (("dynamodb", "UpdateItem"), ("lambda", "Invoke"))
    ]


def send(stack, sent, order_ids):
    queue, sqs = stack.outputs["OrdersQueueUrl"], stack.client("sqs")
    for order_id in order_ids:
        body = json.dumps({"orderId": order_id})
        sent.messages[sqs.send_message(QueueUrl=queue, MessageBody=body)["MessageId"]] = body


def of_the_orchestrator(stack, order_id):
    name = stack.physical_name(ORCHESTRATOR)
    return [request for request in stack.faults.requests(order_id) if request.function == name]


@pytest.fixture(scope="session")
def sent():
    return Sent()


@pytest.fixture(scope="session")
def recording(stack, sent):
    """The requests of an order that met no fault."""
    stack.faults.add_all(apart("RECORDED"))
    send(stack, sent, ["RECORDED"])
    until_quiet(stack, PATIENCE_SECONDS)
    kinds = [(request.service, request.operation) for request in of_the_orchestrator(stack, "RECORDED")]
    return [Request(*kind, nth=kinds[:place].count(kind)) for place, kind in enumerate(kinds)]


def test_the_recording_has_every_write_the_call_and_every_checkpoint(recording):
    """Four writes, the enricher, and a checkpoint for the start and the end of both steps and for the wait."""
    assert Counter(request.operation for request in recording) == {
        "UpdateItem": 4,
        "Invoke": 1,
        "CheckpointDurableExecution": 5,
    }


# One order for each request and action, by the word that its id begins with.
ACTIONS = {
    "KILLED-BEFORE": Kill(Point.BEFORE),
    "KILLED-UNANSWERED": Kill(Point.APPLIED),
    "KILLED-ANSWERED": Kill(Point.ANSWERED),
    "ORPHANED": Orphan(after=3),
    "STALLED-BEFORE": Stall(LONGER_THAN_THE_LEDGERS_TIMEOUT, Point.BEFORE),
    "STALLED-ANSWERED": Stall(LONGER_THAN_THE_LEDGERS_TIMEOUT, Point.ANSWERED),
    "CUT-BEFORE": Cut(Point.BEFORE),
    "CUT-UNANSWERED": Cut(Point.APPLIED),
    "DOUBLED": Twice(),
}


@pytest.fixture(scope="session")
def struck(stack, sent, recording):
    """Each order, by its id: the rule that struck it. All of them have had their time to end."""
    stack.faults.clear()
    orders = {
        f"{word}-{place:02}": request.rule(action, f"{word}-{place:02}")
        for word, action in ACTIONS.items()
        for place, request in enumerate(recording)
    }
    # Before what keeps them apart: of two rules about one request, the first is done.
    rules = dict(zip(orders, stack.faults.add_all(list(orders.values())), strict=True))
    stack.faults.add_all([rule for order_id in orders for rule in apart(order_id)])
    send(stack, sent, orders)
    until_quiet(stack, PATIENCE_SECONDS)
    return rules


@pytest.fixture(scope="session")
def observed(stack, struck):
    return observe(stack)


def test_every_fault_was_injected_once(stack, struck):
    """A fault that was not met proves nothing."""
    times = Counter(injection.rule for injection in stack.faults.injected())
    assert {order_id: times[rule] for order_id, rule in struck.items()} == dict.fromkeys(struck, 1)


def test_nothing_is_lost_doubled_or_left(observed, sent):
    assert violations(observed, sent) == []


@pytest.mark.parametrize("word", ACTIONS)
def test_every_order_completes_in_one_attempt_with_one_history(observed, struck, word):
    order_ids = [order_id for order_id in struck if order_id.startswith(word)]
    entries = [observed.entries[order_id] for order_id in order_ids]
    assert {entry.order_id: [step.state for step in entry.history] for entry in entries} == dict.fromkeys(
        order_ids, COMPLETED
    )
    assert {(entry.attempt, entry.version) for entry in entries} == {(1, len(COMPLETED))}


def test_every_order_has_one_execution_and_it_succeeded(observed, struck):
    status = {record.arn: record.status for record in observed.records}
    assert len(status) == len(observed.entries) == len(struck) + 1
    assert {order_id: status.get(observed.entries[order_id].execution_arn) for order_id in struck} == dict.fromkeys(
        struck, "SUCCEEDED"
    )


def test_the_enricher_is_called_no_oftener_than_its_policy_allows_and_once_for_the_fault(stack, observed, struck):
    """A machine under load may make it time out by itself, so the policy's own tries are allowed for."""
    for order_id in struck:
        calls = sum(request.operation == "Invoke" for request in of_the_orchestrator(stack, order_id))
        assert 1 <= calls <= observed.entries[order_id].starts, order_id
        assert calls <= ENRICHER_TRIES + 1, order_id


def test_an_enrichment_on_record_is_not_asked_for_again(stack, recording, struck):
    """Struck after the enrichment was written, an order takes it from the ledger."""
    call = next(place for place, request in enumerate(recording) if request.operation == "Invoke")
    written = next(place for place in range(call, len(recording)) if recording[place].operation == "UpdateItem")
    later = [f"{word}-{place:02}" for word in ACTIONS for place in range(written + 1, len(recording))]
    assert later
    for order_id in later:
        requests = of_the_orchestrator(stack, order_id)
        first_write = next(place for place, request in enumerate(requests) if '"ENRICHED"' in request.text)
        assert all(request.operation != "Invoke" for request in requests[first_write:]), order_id
