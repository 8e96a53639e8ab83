"""A fault at any one request of the orchestrator: the order completes, once.

The requests are those of a recorded run of one order. Each fault is injected at each of these requests, with an order
for each pair. The orders run at the same time, and a fault affects only the worker of its order.
"""

from collections import Counter

import pytest

from durable_local.faults import Cut, Delay, Kill, Orphan, Point, Rule, Stall, Twice, Withhold
from shared.ledger.states import State
from tests.faults.invariants import Sent, violations
from tests.faults.observed import observe, until_quiet
from tests.faults.points import not_injected_once, recorded, requests_of, send
from tests.roles import calls_of, refused
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
"""The durable SDK batches checkpoints that are close in time. With this delay a step's start and end are two requests,
and there is a point between them."""

LONGER_THAN_LEDGER_TIMEOUT_SECONDS = 4
ENRICHER_TRIES = 3
WAIT_TIMEOUT_SECONDS = 400

# There is an order for each request and action. Its id begins with the action's word.
ACTIONS = {
    "KILLED-BEFORE": Kill(Point.BEFORE),
    "KILLED-UNANSWERED": Kill(Point.APPLIED),
    "KILLED-ANSWERED": Kill(Point.ANSWERED),
    "ORPHANED": Orphan(after=3),
    "STALLED-BEFORE": Stall(LONGER_THAN_LEDGER_TIMEOUT_SECONDS, Point.BEFORE),
    "STALLED-ANSWERED": Stall(LONGER_THAN_LEDGER_TIMEOUT_SECONDS, Point.ANSWERED),
    "CUT-BEFORE": Cut(Point.BEFORE),
    "CUT-UNANSWERED": Cut(Point.APPLIED),
    "DOUBLED": Twice(),
    # Only at checkpoints: the SDK ends the invocation, and the execution continues in a later one.
    "TOKENLESS": Withhold("CheckpointToken"),
}


def is_possible(action, request):
    return not isinstance(action, Withhold) or request.operation == "CheckpointDurableExecution"


def apart(order_id):
    """Rules that delay an order's requests, so that its checkpoints are not batched."""
    return [
        Rule(Delay(APART_SECONDS), service, operation, ORCHESTRATOR, order_id, times=None)
        for service, operation in (("dynamodb", "UpdateItem"), ("lambda", "Invoke"))
    ]


@pytest.fixture(scope="module")
def stack():
    with local_stack(parameters={"WaitSeconds": "1"}, faults=True) as running:
        yield running
        assert refused(calls_of(running)) == {}


@pytest.fixture(scope="module")
def sent():
    return Sent()


@pytest.fixture(scope="module")
def recording(stack, sent):
    """The requests of an order without faults."""
    stack.faults.add_all(apart("RECORDED"))
    send(stack, sent, ["RECORDED"])
    until_quiet(stack, WAIT_TIMEOUT_SECONDS)
    return recorded(stack, ORCHESTRATOR, "RECORDED")


@pytest.fixture(scope="module")
def rules(stack, sent, recording):
    """The id of the fault rule by order id, after all orders have ended."""
    orders = {
        f"{word}-{place:02}": request.rule(action, f"{word}-{place:02}")
        for word, action in ACTIONS.items()
        for place, request in enumerate(recording)
        if is_possible(action, request)
    }
    # Before the delays: of two rules for one request only the first is applied.
    rules = dict(zip(orders, stack.faults.add_all(list(orders.values())), strict=True))
    stack.faults.add_all([rule for order_id in orders for rule in apart(order_id)])
    send(stack, sent, orders)
    until_quiet(stack, WAIT_TIMEOUT_SECONDS)
    return rules


@pytest.fixture(scope="module")
def observed(stack, rules):
    return observe(stack)


def test_the_recording_has_every_write_the_call_and_every_checkpoint(recording):
    """Four writes, one call of the enricher, and checkpoints for the start and end of both steps and for the wait."""
    assert Counter(request.operation for request in recording) == {
        "UpdateItem": 4,
        "Invoke": 1,
        "CheckpointDurableExecution": 5,
    }


def test_each_fault_was_injected_once_at_each_request(stack, rules, recording):
    assert len(rules) == sum(is_possible(action, request) for action in ACTIONS.values() for request in recording)
    assert not_injected_once(stack, rules) == {}


def test_no_order_is_lost_doubled_or_left_in_a_queue(observed, sent):
    assert violations(observed, sent) == []


@pytest.mark.parametrize("word", ACTIONS)
def test_every_order_completes_in_one_attempt_with_one_history(observed, rules, word):
    entries = {order_id: observed.entries[order_id] for order_id in rules if order_id.startswith(word)}
    histories = {order_id: [step.state for step in entry.history] for order_id, entry in entries.items()}
    assert {order_id: " ".join(states) for order_id, states in histories.items() if states != COMPLETED} == {}
    assert {(entry.attempt, entry.version) for entry in entries.values()} == {(1, len(COMPLETED))}


def test_every_order_has_one_execution_and_it_succeeded(observed, rules):
    for order_id in rules:
        records = [record for record in observed.records if f'"{order_id}"' in record.input]
        assert [(record.arn, record.status) for record in records] == [
            (observed.entries[order_id].execution_arn, "SUCCEEDED")
        ]


def test_a_fault_costs_at_most_one_more_call_of_the_enricher(stack, observed, rules):
    """On a busy machine a call may time out without a fault, so the tries of the retry policy are allowed too."""
    for order_id in rules:
        calls = sum(request.operation == "Invoke" for request in requests_of(stack, ORCHESTRATOR, order_id))
        assert 1 <= calls <= observed.entries[order_id].starts, order_id
        assert calls <= ENRICHER_TRIES + 1, order_id


def test_a_recorded_enrichment_is_not_requested_again(stack, recording, rules):
    """With a fault after the enrichment was written, the order uses the enrichment in the ledger."""
    call = next(place for place, request in enumerate(recording) if request.operation == "Invoke")
    written = next(place for place in range(call, len(recording)) if recording[place].operation == "UpdateItem")
    later = [order_id for order_id in rules if int(order_id[-2:]) > written]
    assert later
    for order_id in later:
        requests = requests_of(stack, ORCHESTRATOR, order_id)
        first_write = next(place for place, request in enumerate(requests) if '"ENRICHED"' in request.text)
        assert all(request.operation != "Invoke" for request in requests[first_write:]), order_id
