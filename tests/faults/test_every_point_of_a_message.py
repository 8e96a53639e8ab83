"""Whatever happens to ingest at any one request for a message, the message comes again and does nothing twice.

As for the points of an order: the requests are those of a recorded run, here of a message that is an order and of one
that is none.
"""

from collections import Counter

import pytest

from durable_local.faults import Cut, Delay, Kill, Orphan, Point, Redeliver, Rule, Stall, Twice
from durable_local.faults.rules import EVENT_SOURCE
from shared.ledger.states import State
from tests.faults.invariants import Sent, violations
from tests.faults.observed import observe, until_quiet
from tests.faults.points import not_injected_once, recorded, send
from tools.pipeline import local_stack

INGEST = "OrderIngest"
VISIBLE_AGAIN_SECONDS = 8
"""Instead of four minutes: this long after it was taken, whatever became of it."""

LONGER_THAN_INGESTS_TIMEOUT = 6
PATIENCE_SECONDS = 300

TO_INGEST = {
    "KILLED-BEFORE": Kill(Point.BEFORE),
    "KILLED-UNANSWERED": Kill(Point.APPLIED),
    "KILLED-ANSWERED": Kill(Point.ANSWERED),
    "ORPHANED": Orphan(after=3),
    "STALLED": Stall(LONGER_THAN_INGESTS_TIMEOUT),
    "CUT-BEFORE": Cut(Point.BEFORE),
    "CUT-UNANSWERED": Cut(Point.APPLIED),
    "DOUBLED": Twice(),
}
TO_A_DELIVERY = {"REDELIVERED": Redeliver(), "LATE": Delay(2)}
# An order id may not have a space.
KINDS = {"TAKEN": "an order", "SET ASIDE": "no order"}


@pytest.fixture(scope="module")
def stack():
    """Each message is a batch: what kills ingest over one of them leaves the others alone."""
    with local_stack(parameters={"WaitSeconds": "1", "BatchSize": "1"}, faults=True) as running:
        yield running


@pytest.fixture(scope="module")
def sent():
    return Sent()


@pytest.fixture(scope="module")
def recordings(stack, sent):
    """The requests of a message of each kind that met no fault."""
    send(stack, sent, KINDS)
    until_quiet(stack, PATIENCE_SECONDS)
    return {kind: recorded(stack, INGEST, kind) for kind in KINDS}


@pytest.fixture(scope="module")
def struck(stack, sent, recordings):
    """Each message, by the id in it: the rule that struck it. All of them have had their time to be done with."""
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
    until_quiet(stack, PATIENCE_SECONDS)
    return rules


@pytest.fixture(scope="module")
def observed(stack, struck):
    return observe(stack)


def test_the_recordings_have_the_start_the_reject_and_both_ends_of_the_delivery(recordings):
    operations = {kind: Counter(request.operation for request in recording) for kind, recording in recordings.items()}
    assert operations == {
        "TAKEN": {"ReceiveMessage": 1, "Invoke": 1, "DeleteMessage": 1},
        "SET ASIDE": {"ReceiveMessage": 1, "SendMessage": 1, "DeleteMessage": 1},
    }


def test_every_request_met_every_fault(stack, struck):
    assert len(struck) == len(KINDS) * (len(TO_INGEST) + 2 * len(TO_A_DELIVERY))
    assert not_injected_once(stack, struck) == {}


def test_nothing_is_lost_doubled_or_left(observed, sent):
    assert violations(observed, sent) == []
    assert observed.dead == []


def test_every_order_completes_with_one_execution(observed, struck):
    orders = [message for message in struck if message.startswith("TAKEN")]
    assert {observed.entries[order_id].state for order_id in orders} == {State.COMPLETED}
    inputs = Counter(record.input for record in observed.records)
    assert {inputs[f'{{"orderId":"{order_id}"}}'] for order_id in orders} == {1}


def test_what_ingest_rejected_before_it_died_is_rejected_again_and_names_the_same_message(observed, sent):
    sources = [reject.attributes["sourceMessageId"] for reject in observed.rejected]
    killed = [source for source, body in sent.messages.items() if '"SET ASIDE-KILLED-UNANSWERED' in body]
    assert len(killed) == 1
    assert sources.count(killed[0]) >= 2
