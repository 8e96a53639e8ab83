"""Faults in the requests about one order, as rules. None of them may change the order's final state.

Each function takes the order's id and a random generator. A rule's label is the number of its fault. A rule counts as
one injected fault, and only after it was applied.
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
    Withhold,
)
from durable_local.faults.rules import EVENT_SOURCE, STATUS_CHANGE
from tests.faults.seeded.world import ENRICHER, INGEST, ORCHESTRATOR

RequestFault = Callable[[str, Random], list[Rule]]

POINTS: Final = (Point.BEFORE, Point.APPLIED, Point.ANSWERED)
LEDGER_WRITES: Final = 4
CHECKPOINTS: Final = 5
LONGER_THAN_CALLER_TIMEOUT_SECONDS: Final = 11
FUNCTION_ERROR: Final = Answer(
    json.dumps({"errorType": "Runtime.ExitError", "errorMessage": "exited"}),
    headers={"X-Amz-Function-Error": "Unhandled"},
)
THROTTLED: Final = Fail(429, "TooManyRequestsException")
FAILED: Final = Fail(500, "ServiceException")


def redelivered_while_running(order_id: str, random: Random) -> list[Rule]:
    """F2: the message's visibility timeout ends early."""
    return [Rule(Redeliver(random.uniform(0, 2)), EVENT_SOURCE, "ReceiveMessage", INGEST, order_id, label="F2")]


def redelivered_after_the_end(order_id: str, random: Random) -> list[Rule]:
    """F2: the message's deletion fails. It is delivered again when the order has most likely ended."""
    return [Rule(Redeliver(random.uniform(4, 8)), EVENT_SOURCE, "DeleteMessage", INGEST, order_id, label="F2")]


def ingest_killed(order_id: str, random: Random) -> list[Rule]:
    """F6: at the order's start. The rest of the batch is redelivered too."""
    return [Rule(Kill(random.choice(POINTS)), "lambda", "Invoke", INGEST, order_id, label="F6")]


def start_refused(order_id: str, random: Random) -> list[Rule]:
    """F7: throttled, 5xx, or cut after the start was accepted. Sometimes more often than ingest's client tries."""
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
    """F8: the process stalls for longer than the ledger client's timeout, and then continues."""
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


def checkpoint_without_token(order_id: str, random: Random) -> list[Rule]:
    """F23: a checkpoint is applied, and its response has no token for the next one."""
    return [
        Rule(
            Withhold("CheckpointToken"),
            "lambda",
            "CheckpointDurableExecution",
            ORCHESTRATOR,
            order_id,
            skip=random.randrange(CHECKPOINTS),
            label="F23",
        )
    ]


def write_unanswered(order_id: str, random: Random) -> list[Rule]:
    """F11: the write is applied. Its response is lost, or arrives after the sender's timeout."""
    action = random.choice([Cut(Point.APPLIED), Cut(Point.APPLIED), Delay(4, Point.APPLIED), Twice()])
    return [
        Rule(
            action, "dynamodb", "UpdateItem", ORCHESTRATOR, order_id, skip=random.randrange(LEDGER_WRITES), label="F11"
        )
    ]


def ledger_throttled(order_id: str, random: Random) -> list[Rule]:
    """F12: a few tries of one write fail."""
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
    """F13: one transient failure. Only one, because an enrich that died or got no response also counts as a call."""
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
            Delay(LONGER_THAN_CALLER_TIMEOUT_SECONDS),
        ]
    )
    return [Rule(action, "lambda", "Invoke", ORCHESTRATOR, order_id, label="F13")]


DELIVERY_FAULTS: Final[Mapping[str, Sequence[RequestFault]]] = {
    "F2": (redelivered_while_running, redelivered_after_the_end),
    "F6": (ingest_killed,),
    "F7": (start_refused,),
}
"""Faults before the execution starts. They can be injected for every order."""

EXECUTION_FAULTS: Final[Mapping[str, Sequence[RequestFault]]] = {
    "F8": (orchestrator_killed, orchestrator_killed, orchestrator_stalled),
    "F9": (checkpoint_refused,),
    "F11": (write_unanswered,),
    "F12": (ledger_throttled,),
    "F13": (enricher_failed,),
    "F23": (checkpoint_without_token,),
}
"""Faults inside the execution. They are injected only for orders without a scenario of their own."""


def event_lost(order_id: str) -> Rule:
    """F16: the event for the end of attempt 1 is lost. `skip=1`, because the first event is for its start."""
    return Rule(Drop(), STATUS_CHANGE, text=order_id, skip=1, label="F16")


def event_disturbed(order_id: str, random: Random) -> Rule:
    """F16: the event for the end of attempt 1 is late, out of order, or doubled."""
    action = random.choice([Delay(random.uniform(2, 8)), Twice(random.uniform(0, 6))])
    return Rule(action, STATUS_CHANGE, text=order_id, skip=1, label="F16")
