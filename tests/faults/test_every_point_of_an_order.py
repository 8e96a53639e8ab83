"""Whatever happens to the orchestrator at any one request of an order, the order completes, once.

The requests are not listed here: they are those that one order's run was seen to make. Each request of the recording is
met by each fault, an order for each. Orders run side by side: a fault is done to the worker of its order only.
"""

from collections import Counter

import pytest

from durable_local.faults import Cut, Delay, Kill, Orphan, Point, Rule, Stall, Twice
from shared.ledger.states import State
from tests.faults.invariants import Sent, violations
from tests.faults.observed import observe, until_quiet
from tests.faults.points import not_injected_once, recorded, requests_of, send
from tools.pipeline import local_stack

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

# An order for each request and action, by the word that its id begins with.
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


def apart(order_id):
    """What keeps an order's requests apart, where no other rule is about them."""
    return [
        Rule(Delay(APART_SECONDS), service, operation, ORCHESTRATOR, order_id, times=None)
        for service, operation in (("dynamodb", "UpdateItem"), ("lambda", "Invoke"))
    ]


@pytest.fixture(scope="module")
def stack():
    with local_stack(parameters={"WaitSeconds": "1"}, faults=True) as running:
        yield running


@pytest.fixture(scope="module")
def sent():
    return Sent()


@pytest.fixture(scope="module")
def recording(stack, sent):
    """The requests of an order that met no fault."""
    stack.faults.add_all(apart("RECORDED"))
    send(stack, sent, ["RECORDED"])
    until_quiet(stack, PATIENCE_SECONDS)
    return recorded(stack, ORCHESTRATOR, "RECORDED")


@pytest.fixture(scope="module")
def struck(stack, sent, recording):
    """Each order, by its id: the rule that struck it. All of them have had their time to end."""
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


@pytest.fixture(scope="module")
def observed(stack, struck):
    return observe(stack)


def test_the_recording_has_every_write_the_call_and_every_checkpoint(recording):
    """Four writes, the enricher, and a checkpoint for the start and the end of both steps and for the wait."""
    assert Counter(request.operation for request in recording) == {
        "UpdateItem": 4,
        "Invoke": 1,
        "CheckpointDurableExecution": 5,
    }


def test_every_request_met_every_fault(stack, struck, recording):
    assert len(struck) == len(recording) * len(ACTIONS)
    assert not_injected_once(stack, struck) == {}


def test_nothing_is_lost_doubled_or_left(observed, sent):
    assert violations(observed, sent) == []


@pytest.mark.parametrize("word", ACTIONS)
def test_every_order_completes_in_one_attempt_with_one_history(observed, struck, word):
    entries = {order_id: observed.entries[order_id] for order_id in struck if order_id.startswith(word)}
    histories = {order_id: [step.state for step in entry.history] for order_id, entry in entries.items()}
    assert {order_id: " ".join(states) for order_id, states in histories.items() if states != COMPLETED} == {}
    assert {(entry.attempt, entry.version) for entry in entries.values()} == {(1, len(COMPLETED))}


def test_every_order_has_one_execution_and_it_succeeded(observed, struck):
    for order_id in struck:
        records = [record for record in observed.records if f'"{order_id}"' in record.input]
        assert [(record.arn, record.status) for record in records] == [
            (observed.entries[order_id].execution_arn, "SUCCEEDED")
        ]


def test_the_enricher_is_called_no_oftener_than_its_policy_allows_and_once_for_the_fault(stack, observed, struck):
    """A machine under load may make it time out by itself, so the policy's own tries are allowed for."""
    for order_id in struck:
        calls = sum(request.operation == "Invoke" for request in requests_of(stack, ORCHESTRATOR, order_id))
        assert 1 <= calls <= observed.entries[order_id].starts, order_id
        assert calls <= ENRICHER_TRIES + 1, order_id


def test_an_enrichment_on_record_is_not_asked_for_again(stack, recording, struck):
    """Struck after the enrichment was written, an order takes it from the ledger."""
    call = next(place for place, request in enumerate(recording) if request.operation == "Invoke")
    written = next(place for place in range(call, len(recording)) if recording[place].operation == "UpdateItem")
    later = [f"{word}-{place:02}" for word in ACTIONS for place in range(written + 1, len(recording))]
    assert later
    for order_id in later:
        requests = requests_of(stack, ORCHESTRATOR, order_id)
        first_write = next(place for place, request in enumerate(requests) if '"ENRICHED"' in request.text)
        assert all(request.operation != "Invoke" for request in requests[first_write:]), order_id
