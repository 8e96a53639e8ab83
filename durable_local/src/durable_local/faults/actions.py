"""What can be done to a request. All times are in seconds of real time.

Three points matter to whoever sent it: before it is applied, after it was applied and before it is answered, and
after its answer is on its way.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - pydantic reads the annotations
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field


class Point(StrEnum):
    """Where in the life of a request something is done to it."""

    BEFORE = "BEFORE"
    APPLIED = "APPLIED"
    ANSWERED = "ANSWERED"


@dataclass(frozen=True)
class Fail:
    """Refused with AWS's error of that code, not applied."""

    status: int
    code: str
    message: str = "injected"
    do: Literal["fail"] = field(default="fail", kw_only=True, repr=False)


@dataclass(frozen=True)
class Answer:
    """Answered with this, not applied."""

    body: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    do: Literal["answer"] = field(default="answer", kw_only=True, repr=False)


@dataclass(frozen=True)
class Delay:
    """Late: before it is applied, or its answer. A status change does not hold up those after it."""

    seconds: float
    at: Point = Point.BEFORE
    do: Literal["delay"] = field(default="delay", kw_only=True, repr=False)


@dataclass(frozen=True)
class Hold:
    """Late until the rule is released or the rules are cleared."""

    at: Point = Point.BEFORE
    do: Literal["hold"] = field(default="hold", kw_only=True, repr=False)


@dataclass(frozen=True)
class Cut:
    """The connection breaks: before the request is applied, or with its answer lost."""

    at: Point = Point.BEFORE
    do: Literal["cut"] = field(default="cut", kw_only=True, repr=False)


@dataclass(frozen=True)
class Twice:
    """Applied twice: at once, the second answer given; or the second time `after` so long."""

    after: float = 0
    do: Literal["twice"] = field(default="twice", kw_only=True, repr=False)


@dataclass(frozen=True)
class Kill:
    """The worker that sent it is killed (SIGKILL)."""

    at: Point = Point.BEFORE
    do: Literal["kill"] = field(default="kill", kw_only=True, repr=False)


@dataclass(frozen=True)
class Orphan:
    """The worker that sent it is killed, and the request applied `after` so long all the same: a zombie's write."""

    after: float
    do: Literal["orphan"] = field(default="orphan", kw_only=True, repr=False)


@dataclass(frozen=True)
class Stall:
    """The worker that sent it stands still (SIGSTOP), then goes on. Before it is applied, the request does so too."""

    seconds: float
    at: Point = Point.BEFORE
    do: Literal["stall"] = field(default="stall", kw_only=True, repr=False)


@dataclass(frozen=True)
class Drop:
    """A status change that never comes."""

    do: Literal["drop"] = field(default="drop", kw_only=True, repr=False)


@dataclass(frozen=True)
class Redeliver:
    """A message that comes again `after` so long.

    At ReceiveMessage its visibility timeout ends early, whatever the function is doing with it; at DeleteMessage its
    deletion fails.
    """

    after: float = 0
    do: Literal["redeliver"] = field(default="redeliver", kw_only=True, repr=False)


Action = Annotated[
    Fail | Answer | Delay | Hold | Cut | Twice | Kill | Orphan | Stall | Drop | Redeliver, Field(discriminator="do")
]

TO_A_WORKER = (Kill, Orphan, Stall)
TO_A_REQUEST = (Fail, Answer, Delay, Hold, Cut, Twice, *TO_A_WORKER)
TO_A_STATUS_CHANGE = (Drop, Delay, Hold, Twice)
TO_A_DELIVERY = (Redeliver, Delay)


def point_of(action: Action) -> Point:
    """Where the action is done."""
    return getattr(action, "at", Point.BEFORE)
