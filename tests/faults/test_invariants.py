"""The checks of the invariants find each violation in made-up records, and none in correct ones."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from shared.executions.names import ExecutionName
from shared.ledger.entry import LedgerEntry, Transition
from shared.ledger.states import State
from shared.orders.order import parse_order
from tests.faults.events import Event, of_ledger
from tests.faults.invariants import Sent, repeated_events, violations
from tests.faults.observed import Message, Observed, Record

STACK_ID = "arn:aws:cloudformation:eu-central-2:000000000000:stack/orders/1"
COMPLETED = (
    State.RECEIVED,
    State.ENRICHING,
    State.ENRICHED,
    State.WAITING,
    State.FINALIZING,
    State.COMPLETED,
)
AT = "2026-11-23T16:29:22.043Z"
RESULT = {"processedAt": AT}
OTHER_BODY = '{"currency":"EUR","orderId":"A"}'


def arn(order_id="A", attempt=1, run="run"):
    name = ExecutionName.of(STACK_ID, order_id, attempt)
    return f"arn:aws:lambda:eu-central-2:000000000000:function:orders:1/durable-execution/{name}/{run}"


UNNAMED = arn().replace(str(ExecutionName.of(STACK_ID, "A", 1)), "unnamed")


def body(order_id="A"):
    return json.dumps({"orderId": order_id}, separators=(",", ":"))


def attempt(states, number=1, owner=None):
    first, *rest = states
    owner = owner or arn(attempt=number)
    return (Transition(first, AT, number, execution_arn=owner), *(Transition(state, AT, number) for state in rest))


def entry(*attempts, **changes):
    history = sum(attempts, ())
    last = history[-1]
    order = parse_order(body())
    found = LedgerEntry(
        order_id="A",
        state=last.state,
        attempt=last.attempt,
        version=len(history),
        execution_arn=[step.execution_arn for step in history if step.execution_arn][-1],
        order=order.canonical(),
        order_digest=order.digest(),
        history=history,
        updated_at=AT,
        starts=1,
        result=RESULT if last.state is State.COMPLETED else None,
    )
    return replace(found, **changes)


def record(status="SUCCEEDED", error_type=None, **changes):
    result = json.dumps(RESULT) if status == "SUCCEEDED" else None
    return replace(Record(arn(), status, body(), error_type, result), **changes)


def reject(source, text, reason="ORDER_CONFLICT"):
    return Message(f"reject of {source}", text, {"sourceMessageId": source, "reasonCode": reason})


def observed(entries=None, records=None, *, rejected=(), dead=(), left=None, marked=()):
    entries = [entry(attempt(COMPLETED))] if entries is None else entries
    return Observed(
        STACK_ID,
        {found.order_id: found for found in entries},
        [record()] if records is None else records,
        rejected,
        dead,
        left or {"OrdersQueueUrl": 0},
        frozenset(marked),
    )


def published(*, without=(), more=(), counted=COMPLETED):
    """A completed order with its events and counts, except for these."""
    found = observed()
    events = [event for event in of_ledger(found.entries.values()) if event.detail_type not in without]
    return replace(found, events=[*events, *more], counted=Counter(counted))


def sent(**more):
    return Sent(**{"messages": {"message-1": body()}, **more})


FAILED = (State.RECEIVED, State.ENRICHING, State.FAILED)
TIMED_OUT = (State.RECEIVED, State.ENRICHING, State.TIMED_OUT)
CANCELLED = (*COMPLETED[:4], State.CANCELLED)
RETRIED = [entry(attempt(FAILED), attempt(COMPLETED, 2))]
RETRIED_RECORDS = [record("FAILED", "EnricherUnavailable"), record(arn=arn(attempt=2))]
CONFLICT = [{"executionArn": arn(run="late"), "at": AT}]
LATE = record("FAILED", "OrderConflict", arn=arn(run="late"), input=OTHER_BODY)
TWO_BODIES = {"message-1": body(), "message-2": OTHER_BODY}

CORRECT = {
    "an order that completed": (observed(), sent()),
    "an order whose events are published": (published(), sent()),
    "an event published twice": (published(more=[Event("A", 6, "OrderCompleted")]), sent()),
    "an order sent twice": (observed(), sent(messages={"message-1": body(), "message-2": body()})),
    "an order retried": (observed(RETRIED, RETRIED_RECORDS), sent(retries=Counter(A=1))),
    "a failed order whose execution timed out first": (
        observed([entry(attempt(FAILED), execution_status="TIMED_OUT")], [record("TIMED_OUT")]),
        sent(),
    ),
    "an order timed out": (observed([entry(attempt(TIMED_OUT))], [record("TIMED_OUT")]), sent()),
    "a cancelled order, stopped": (observed([entry(attempt(CANCELLED))], [record("STOPPED")]), sent()),
    "a cancelled order, refused": (
        observed([entry(attempt(CANCELLED))], [record("FAILED", "OrderCancelled")]),
        sent(),
    ),
    "an execution that is gone": (observed([entry(attempt(FAILED))], []), sent()),
    "a message dead": (observed([], [], dead=[Message("message-1", body(), {})]), sent()),
    "a conflict seen by ingest": (
        observed(rejected=[reject("message-2", OTHER_BODY)]),
        sent(messages=TWO_BODIES),
    ),
    "a conflict of a forgotten name, seen by the reconciler": (
        observed(
            [entry(attempt(COMPLETED), conflicts=tuple(CONFLICT))],
            [LATE],
            rejected=[reject(arn(run="late"), OTHER_BODY)],
        ),
        sent(messages=TWO_BODIES),
    ),
    "no order": (
        observed(rejected=[reject("message-2", "{", "NOT_JSON")]),
        sent(messages={"message-1": body(), "message-2": "{"}),
    ),
    "a direct invoke of a completed order": (
        observed(records=[record(), record(arn=UNNAMED)]),
        sent(direct=[body()]),
    ),
    "a direct invoke of a running order": (
        observed(records=[record(), record("FAILED", "OrderInProgress", arn=UNNAMED)], marked=[UNNAMED]),
        sent(direct=[body()]),
    ),
    "a direct invoke of what is no order": (
        observed(
            records=[record(), record("FAILED", "NotJson", arn=UNNAMED, input="{")],
            rejected=[reject(UNNAMED, "{", "NOT_JSON")],
            marked=[UNNAMED],
        ),
        sent(),
    ),
    "a duplicate of an order that was corrected after it": (
        observed(
            [entry(attempt(FAILED), attempt(COMPLETED, 2), order_digest=parse_order(OTHER_BODY).digest())],
            [*RETRIED_RECORDS, record("FAILED", "OrderInProgress", arn=UNNAMED)],
            marked=[UNNAMED],
        ),
        sent(direct=[body()], corrections=[OTHER_BODY], retries=Counter(A=1)),
    ),
}  # fmt: skip

WRONG = {
    "OrderCompleted of version 6 of order A was not published": (published(without=["OrderCompleted"]), sent()),
    "OrderFailed of version 6 of order A was published, and the ledger": (
        published(more=[Event("A", 6, "OrderFailed")]),
        sent(),
    ),
    "0 transitions to COMPLETED were counted, of 1": (published(counted=COMPLETED[:5]), sent()),
    "messages are left": (observed(left={"OrdersQueueUrl": 2}), sent()),
    "has not ended": (observed([entry(attempt(COMPLETED[:4]))]), sent()),
    "begins with ENRICHING": (observed([entry(attempt(COMPLETED[1:]))]), sent()),
    "went from ENRICHING to WAITING": (observed([entry(attempt((*COMPLETED[:2], *COMPLETED[3:])))]), sent()),
    "went from ENRICHING to ENRICHING": (observed([entry(attempt((*COMPLETED[:2], *COMPLETED[1:])))]), sent()),
    "went from COMPLETED to FAILED": (observed([entry(attempt((*COMPLETED, State.FAILED)))]), sent()),
    "went from attempt 1 to 3": (
        observed([entry(attempt(FAILED), attempt(COMPLETED, 3))], [record(arn=arn(attempt=3))]),
        sent(retries=Counter(A=2)),
    ),
    "its history says": (observed([entry(attempt(COMPLETED), version=7)]), sent()),
    "names the owner None": (
        observed([entry((*attempt(FAILED), replace(attempt(COMPLETED, 2)[0], execution_arn=None)))]),
        sent(),
    ),
    "was owned twice": (
        observed([entry(attempt(FAILED), attempt(COMPLETED, 2, owner=arn()))]),
        sent(retries=Counter(A=1)),
    ),
    "is owned by": (observed([entry(attempt(COMPLETED), execution_arn=arn(run="other"))]), sent()),
    "a body that nobody sent": (observed(), sent(messages={})),
    "is in attempt 2 after 0 retries": (observed(RETRIED, RETRIED_RECORDS), sent()),
    "was not rejected as NOT_JSON": (observed(), sent(messages={"message-1": body(), "message-2": "{"})),
    "was rejected as TOO_LARGE": (
        observed(rejected=[reject("message-1", body(), "TOO_LARGE")]),
        sent(),
    ),
    "which is not there": (observed([], [], rejected=[reject("message-1", body())]), sent()),
    "the order A itself": (observed(rejected=[reject("message-1", body())]), sent()),
    "is lost: order A is neither": (observed([], []), sent()),
    "and nobody was told": (observed(), sent(messages=TWO_BODIES)),
    "with another body: {": (observed(rejected=[reject("message-2", "{}")]), sent(messages=TWO_BODIES)),
    "no message sent, no input": (observed(rejected=[reject("message-9", body())]), sent()),
    "is noted and was not rejected": (
        observed([entry(attempt(COMPLETED), conflicts=tuple(CONFLICT))], [record(), LATE]),
        sent(direct=[OTHER_BODY]),
    ),
    "is RUNNING": (observed(records=[record("RUNNING")]), sent()),
    "has 1 executions without its name, after 0": (
        observed([entry(attempt(COMPLETED, owner=UNNAMED))], [record(arn=UNNAMED)]),
        sent(),
    ),
    "attempt 1 of order A has 2 executions": (observed(records=[record(), record(arn=arn(run="2"))]), sent()),
    "attempt 2 of order A was started after 0": (
        observed(records=[record(), record("FAILED", "OrderEnded", arn=arn(attempt=2))]),
        sent(),
    ),
    "and order A is not in the ledger": (
        observed([], [record("FAILED")], dead=[Message("message-1", body(), {})]),
        sent(),
    ),
    "is COMPLETED and its execution FAILED": (observed(records=[record("FAILED", "LedgerUnavailable")]), sent()),
    "is FAILED and its execution SUCCEEDED": (observed([entry(attempt(FAILED))]), sent()),
    "is TIMED_OUT and its execution STOPPED": (
        observed([entry(attempt(TIMED_OUT), execution_status="STOPPED")], [record("STOPPED")]),
        sent(),
    ),
    "is CANCELLED and its execution SUCCEEDED": (observed([entry(attempt(CANCELLED))]), sent()),
    "ended FAILED, and its execution SUCCEEDED": (
        observed(RETRIED, [record(), record(arn=arn(attempt=2))]),
        sent(retries=Counter(A=1)),
    ),
    "ended TIMED_OUT, a retry of order A the ledger knows not of": (
        observed([entry(attempt(FAILED))], [record("FAILED"), record("TIMED_OUT", arn=arn(attempt=2))]),
        sent(retries=Counter(A=1)),
    ),
    "succeeded for order A, which is FAILED": (
        observed([entry(attempt(FAILED))], [record("FAILED"), record(arn=UNNAMED)]),
        sent(direct=[body()]),
    ),
    "came with another body of order A": (
        observed(records=[record(), LATE]),
        sent(direct=[OTHER_BODY]),
    ),
    "neither an order nor a mark tells": (
        observed(records=[record(), record("FAILED", "OrderInProgress", arn=UNNAMED)]),
        sent(direct=[body()]),
    ),
    "FAILED, and neither an order nor a mark tells": (
        observed(records=[record(), record("FAILED", "NotJson", arn=UNNAMED, input="{")]),
        sent(),
    ),
    "is no order and was not rejected": (
        observed(records=[record(), record("FAILED", "NotJson", arn=UNNAMED, input="{")], marked=[UNNAMED]),
        sent(),
    ),
    "unnamed/run was rejected with another body": (
        observed(
            records=[record(), record("FAILED", "NotJson", arn=UNNAMED, input="{")],
            rejected=[reject(UNNAMED, "[", "NOT_JSON")],
            marked=[UNNAMED],
        ),
        sent(),
    ),
    "answered 1997, and the ledger has 2026": (
        observed(records=[record(result='{"processedAt": "1997"}')]),
        sent(),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("found", "put_in"), CORRECT.values(), ids=CORRECT)
def test_there_is_no_violation_in(found, put_in):
    assert violations(found, put_in) == []


@pytest.mark.parametrize(("sentence", "found", "put_in"), [(key, *case) for key, case in WRONG.items()], ids=WRONG)
def test_a_violation_says(sentence, found, put_in):
    assert any(sentence in violation for violation in violations(found, put_in)), violations(found, put_in)


def test_a_repeated_event_needs_a_redelivery():
    found = published(more=[Event("A", 6, "OrderCompleted")])
    assert list(repeated_events(found, redeliveries=1)) == []
    (violation,) = repeated_events(found, redeliveries=0)
    assert "OrderCompleted of version 6 of order A was published 2 times" in violation


def test_an_order_that_was_set_back_may_reach_a_state_twice():
    found = published(more=[Event("A", 6, "OrderCompleted")])
    assert list(repeated_events(found, redeliveries=0, set_back={"A"})) == []
