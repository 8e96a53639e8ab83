"""Faults that strike an order's requests, as rules: none of them may change how the order ends.

Each takes the order's id and chance. The label of a rule is the number of its fault: a rule counts once, when it was
in fact carried out.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Final

from durable_local.faults import (
    Action,
    Answer,
    Cut,
    Delay,
    Drop,
    Fail,
    Kill,
    Orphan,
    Point,
    Redeliver,
    Rule,
    Stall,
    Twice,
)
from durable_local.faults.rules import EVENT_SOURCE, STATUS_CHANGE
from tests.faults.seeded.world import ENRICHER, INGEST, ORCHESTRATOR

Strike = Callable[[str, Random], list[Rule]]

POINTS: Final = (Point.BEFORE, Point.APPLIED, Point.ANSWERED)
LEDGER_WRITES: Final = 4
CHECKPOINTS: Final = 5
LONGER_THAN_ITS_CALLER_WAITS: Final = 11
FUNCTION_ERROR: Final = Answer(
    json.dumps({"errorType": "Runtime.ExitError", "errorMessage": "exited"}),
    headers={"X-Amz-Function-Error": "Unhandled"},
)
THROTTLED: Final = Fail(429, "TooManyRequestsException")
FAILED: Final = Fail(500, "ServiceException")


def redelivered_while_running(order_id: str, random: Random) -> list[Rule]:
    """F2: its visibility timeout ends early."""
    return [Rule(Redeliver(random.uniform(0, 2)), EVENT_SOURCE, "ReceiveMessage", INGEST, order_id, label="F2")]


def redelivered_after_the_end(order_id: str, random: Random) -> list[Rule]:
    """F2: its deletion fails, and it comes again when the order has most likely ended."""
    return [Rule(Redeliver(random.uniform(4, 8)), EVENT_SOURCE, "DeleteMessage", INGEST, order_id, label="F2")]


def ingest_killed(order_id: str, random: Random) -> list[Rule]:
    """F6: at the order's start, with everything else in the batch."""
    return [Rule(Kill(random.choice(POINTS)), "lambda", "Invoke", INGEST, order_id, label="F6")]


def start_refused(order_id: str, random: Random) -> list[Rule]:
    """F7: throttled, 5xx, or cut after it was accepted; sometimes more often than ingest's client tries."""
    action = random.choice([THROTTLED, FAILED, Fail(503, "ServiceUnavailable"), Cut(Point.APPLIED), Cut()])
    return [Rule(action, "lambda", "Invoke", INGEST, order_id, times=random.randint(1, 4), label="F7")]


def orchestrator_killed(order_id: str, random: Random) -> list[Rule]:
    """F8: at one of the requests that every order makes."""
    action: Action = Kill(random.choice(POINTS))
    if random.random() < 0.2:
        action = Orphan(after=random.uniform(0.5, 3))
    service, operation, skip = random.choice(
        [
            *(("dynamodb", "UpdateItem", n) for n in range(LEDGER_WRITES)),
            *(("lambda", "CheckpointDurableExecution", n) for n in range(CHECKPOINTS)),
            ("lambda", "Invoke", 0),
        ]
    )
    return [Rule(action, service, operation, ORCHESTRATOR, order_id, skip=skip, label="F8")]


def orchestrator_stalled(order_id: str, random: Random) -> list[Rule]:
    """F8: it stands still for longer than the ledger's client waits, and goes on."""
    action = Stall(random.uniform(1, 4), random.choice([Point.BEFORE, Point.ANSWERED]))
    return [
        Rule(action, "dynamodb", "UpdateItem", ORCHESTRATOR, order_id, skip=random.randrange(LEDGER_WRITES), label="F8")
    ]


def checkpoint_refused(order_id: str, random: Random) -> list[Rule]:
    """F9: 429, 5xx, a stale token, slow; sometimes more often than the SDK's client tries."""
    action, most = random.choice(
        [
            (THROTTLED, 4),
            (FAILED, 4),
            (Fail(400, "InvalidParameterValueException", "Invalid checkpoint token"), 1),
            (Delay(random.uniform(1, 3)), 1),
            (Delay(random.uniform(1, 3), Point.APPLIED), 1),
            (Cut(Point.APPLIED), 1),
        ]
    )
    return [
        Rule(
            action,
            "lambda",
            "CheckpointDurableExecution",
            ORCHESTRATOR,
            order_id,
            skip=random.randrange(CHECKPOINTS),
            times=random.randint(1, most),
            label="F9",
        )
    ]


def write_unanswered(order_id: str, random: Random) -> list[Rule]:
    """F11: applied, with its answer lost or later than its sender waits."""
    action = random.choice([Cut(Point.APPLIED), Cut(Point.APPLIED), Delay(4, Point.APPLIED), Twice()])
    return [
        Rule(
            action, "dynamodb", "UpdateItem", ORCHESTRATOR, order_id, skip=random.randrange(LEDGER_WRITES), label="F11"
        )
    ]


def ledger_throttled(order_id: str, random: Random) -> list[Rule]:
    """F12: for a few tries."""
    action = random.choice(
        [Fail(400, "ProvisionedThroughputExceededException"), Fail(500, "InternalServerError"), Cut()]
    )
    return [
        Rule(
            action,
            "dynamodb",
            "UpdateItem",
            ORCHESTRATOR,
            order_id,
            skip=random.randrange(LEDGER_WRITES),
            times=random.randint(1, 5),
            label="F12",
        )
    ]


def enricher_failed(order_id: str, random: Random) -> list[Rule]:
    """F13: what may pass, once: a start of enrich that died or was not answered counts as a call, too."""
    if random.random() < 0.3:
        return [Rule(Kill(random.choice(POINTS[:2])), "dynamodb", "GetItem", ENRICHER, order_id, label="F13")]
    unavailable = Answer('{"statusCode": 503}')
    action = random.choice(
        [
            FUNCTION_ERROR,
            THROTTLED,
            FAILED,
            unavailable,
            Cut(Point.APPLIED),
            Delay(2),
            Delay(LONGER_THAN_ITS_CALLER_WAITS),
        ]
    )
    return [Rule(action, "lambda", "Invoke", ORCHESTRATOR, order_id, label="F13")]


DELIVERY: Final[Mapping[str, Sequence[Strike]]] = {
    "F2": (redelivered_while_running, redelivered_after_the_end),
    "F6": (ingest_killed,),
    "F7": (start_refused,),
}
"""On the way to the execution: they suit every order."""

EXECUTION: Final[Mapping[str, Sequence[Strike]]] = {
    "F8": (orchestrator_killed, orchestrator_killed, orchestrator_stalled),
    "F9": (checkpoint_refused,),
    "F11": (write_unanswered,),
    "F12": (ledger_throttled,),
    "F13": (enricher_failed,),
}
"""Inside the execution: for an order that nothing else is done to."""


def event_lost(order_id: str) -> Rule:
    """F16: the end of attempt 1 is never told of. The first event is of its start."""
    return Rule(Drop(), STATUS_CHANGE, text=order_id, skip=1, label="F16")


def event_mistaken(order_id: str, random: Random) -> Rule:
    """F16: told of late, past what comes after it, or twice."""
    action = random.choice([Delay(random.uniform(2, 8)), Twice(random.uniform(0, 6))])
    return Rule(action, STATUS_CHANGE, text=order_id, skip=1, label="F16")
