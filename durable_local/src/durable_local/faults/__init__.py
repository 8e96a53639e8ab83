"""Faults on request, between the functions, their callers and AWS. Only with `local_stack(faults=True)`:

    stack.faults.add(Rule(Kill(Point.APPLIED), "dynamodb", "UpdateItem", text="ORDER-1", skip=1))

kills the worker that makes the second write for ORDER-1, after the write was applied and before it was answered.
"""

from durable_local.faults.actions import (
    Action,
    Answer,
    Cut,
    Delay,
    Drop,
    Fail,
    Hold,
    Kill,
    Orphan,
    Point,
    Redeliver,
    Stall,
    Twice,
    Withhold,
)
from durable_local.faults.client import Faults
from durable_local.faults.rules import Call, Injection, Request, Rule

__all__ = [
    "Action",
    "Answer",
    "Call",
    "Cut",
    "Delay",
    "Drop",
    "Fail",
    "Faults",
    "Hold",
    "Injection",
    "Kill",
    "Orphan",
    "Point",
    "Redeliver",
    "Request",
    "Rule",
    "Stall",
    "Twice",
    "Withhold",
]
