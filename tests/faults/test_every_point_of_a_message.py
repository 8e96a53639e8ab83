"""A fault at any one request of ingest: the message is redelivered, and has no effect twice.

The requests are those of a recorded run, as in the test of every point of an order: here of a valid order and of a
message that is not an order.
"""

from collections import Counter

import pytest

from durable_local.faults import Cut, Delay, Kill, Orphan, Point, Redeliver, Rule, Stall, Twice
from durable_local.faults.rules import EVENT_SOURCE
from shared.ledger.states import State
from tests.faults.invariants import Sent, violations
from tests.faults.observed import observe, until_quiet
from tests.faults.points import not_injected_once, recorded, send
from tests.roles import calls_of, refused
from tools.pipeline import local_stack

INGEST = "OrderIngest"
VISIBLE_AGAIN_SECONDS = 8
"""The visibility timeout here, counted from the receive. The template has four minutes."""

LONGER_THAN_INGEST_TIMEOUT_SECONDS = 6
WAIT_TIMEOUT_SECONDS = 300

TO_INGEST = {
    "KILLED-BEFORE": Kill(Point.BEFORE),
    "KILLED-UNANSWERED": Kill(Point.APPLIED),
    "KILLED-ANSWERED": Kill(Point.ANSWERED),
    "ORPHANED": Orphan(after=3),
    "STALLED": Stall(LONGER_THAN_INGEST_TIMEOUT_SECONDS),
    "CUT-BEFORE": Cut(Point.BEFORE),
    "CUT-UNANSWERED": Cut(Point.APPLIED),
    "DOUBLED": Twice(),
}
TO_A_DELIVERY = {"REDELIVERED": Redeliver(), "LATE": Delay(2)}
# An order id may not have a space.
KINDS = {"TAKEN": "an order", "SET ASIDE": "no order"}


@pytest.fixture(scope="module")
def stack():
    """Each message is a batch of its own, so a fault in one does not affect the others."""
    with local_stack(parameters={"WaitSeconds": "1", "BatchSize": "1"}, faults=True) as running:
        yield running
        assert refused(calls_of(running)) == {}


@pytest.fixture(scope="module")
def sent():
    return Sent()


@pytest.fixture(scope="module")
def recordings(stack, sent):
    """The requests for one message of each kind, without faults."""
    send(stack, sent, KINDS)
    until_quiet(stack, WAIT_TIMEOUT_SECONDS)
    return {kind: recorded(stack, INGEST, kind) for kind in KINDS}


@pytest.fixture(scope="module")
def rules(stack, sent, recordings):
    """The id of the fault rule by the order id in each message, after all messages were processed."""
    messages = {}
    for kind, recording in recordings.items():
        for place, request in enumerate(recording):
            actions = TO_A_DELIVERY if request.service == EVENT_SOURCE else TO_INGEST
            for word, action in actions.items():
                message = f"{kind}-{word}-{place:02}"
                messages[message] = request.rule(action, message)
    rules = dict(zip(messages, stack.faults.add_all(list(messages.values())), strict=True))
    again = Redeliver(VISIBLE_AGAIN_SECONDS)
    stack.faults.add_all([Rule(again, EVENT_SOURCE, "ReceiveMessage", INGEST, text, times=2) for text in messages])
    send(stack, sent, messages)
    until_quiet(stack, WAIT_TIMEOUT_SECONDS)
    return rules


@pytest.fixture(scope="module")
def observed(stack, rules):
    return observe(stack)


def test_the_recordings_have_the_start_the_reject_and_both_ends_of_the_delivery(recordings):
    operations = {kind: Counter(request.operation for request in recording) for kind, recording in recordings.items()}
    assert operations == {
        "TAKEN": {"ReceiveMessage": 1, "Invoke": 1, "DeleteMessage": 1},
        "SET ASIDE": {"ReceiveMessage": 1, "SendMessage": 1, "DeleteMessage": 1},
    }


def test_each_fault_was_injected_once_at_each_request(stack, rules):
    assert len(rules) == len(KINDS) * (len(TO_INGEST) + 2 * len(TO_A_DELIVERY))
    assert not_injected_once(stack, rules) == {}


def test_no_message_is_lost_doubled_or_left_in_a_queue(observed, sent):
    assert violations(observed, sent) == []
    assert observed.dead == []


def test_every_order_completes_with_one_execution(observed, rules):
    orders = [message for message in rules if message.startswith("TAKEN")]
    assert {observed.entries[order_id].state for order_id in orders} == {State.COMPLETED}
    inputs = Counter(record.input for record in observed.records)
    assert {inputs[f'{{"orderId":"{order_id}"}}'] for order_id in orders} == {1}


def test_a_reject_whose_ingest_died_is_sent_again_with_the_same_source_message(observed, sent):
    sources = [reject.attributes["sourceMessageId"] for reject in observed.rejected]
    killed = [source for source, body in sent.messages.items() if '"SET ASIDE-KILLED-UNANSWERED' in body]
    assert len(killed) == 1
    assert sources.count(killed[0]) >= 2
