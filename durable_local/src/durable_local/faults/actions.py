"""What a rule can do to a request. All times are seconds of real time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field


class Point(StrEnum):
    """When the action runs: before the request is applied, after that and before its answer, or after its answer."""

    BEFORE = "BEFORE"
    APPLIED = "APPLIED"
    ANSWERED = "ANSWERED"


@dataclass(frozen=True)
class Fail:
    """The request fails with AWS's error of that code and is not applied."""

    status: int
    code: str
    message: str = "injected"
    do: Literal["fail"] = field(default="fail", kw_only=True, repr=False)


@dataclass(frozen=True)
class Answer:
    """The request gets this answer and is not applied."""

    body: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    do: Literal["answer"] = field(default="answer", kw_only=True, repr=False)


@dataclass(frozen=True)
class Delay:
    """The request or its answer is delayed. A delayed status change does not delay later ones."""

    seconds: float
    at: Point = Point.BEFORE
    do: Literal["delay"] = field(default="delay", kw_only=True, repr=False)


@dataclass(frozen=True)
class Hold:
    """The request or its answer waits until the rule is released or the rules are cleared."""

    at: Point = Point.BEFORE
    do: Literal["hold"] = field(default="hold", kw_only=True, repr=False)


@dataclass(frozen=True)
class Cut:
    """The connection breaks before the request is applied, or before its answer."""

    at: Point = Point.BEFORE
    do: Literal["cut"] = field(default="cut", kw_only=True, repr=False)


@dataclass(frozen=True)
class Twice:
    """The request is applied twice: at once, with the second answer, or again `after` so many seconds."""

    after: float = 0
    do: Literal["twice"] = field(default="twice", kw_only=True, repr=False)


@dataclass(frozen=True)
class Withhold:
    """The request is applied, and its JSON response lacks the field."""

    response_field: str
    at: ClassVar[Point] = Point.APPLIED
    do: Literal["withhold"] = field(default="withhold", kw_only=True, repr=False)


@dataclass(frozen=True)
class Kill:
    """The worker that sent the request is killed (SIGKILL)."""

    at: Point = Point.BEFORE
    do: Literal["kill"] = field(default="kill", kw_only=True, repr=False)


@dataclass(frozen=True)
class Orphan:
    """The worker that sent the request is killed, and the request is applied `after` so many seconds."""

    after: float
    do: Literal["orphan"] = field(default="orphan", kw_only=True, repr=False)


@dataclass(frozen=True)
class Stall:
    """The worker stops (SIGSTOP) and continues after `seconds`. At `Point.BEFORE` the request waits too."""

    seconds: float
    at: Point = Point.BEFORE
    do: Literal["stall"] = field(default="stall", kw_only=True, repr=False)


@dataclass(frozen=True)
class Drop:
    """The status change is lost."""

    do: Literal["drop"] = field(default="drop", kw_only=True, repr=False)


@dataclass(frozen=True)
class Redeliver:
    """The message is delivered again `after` so many seconds.

    At ReceiveMessage its visibility timeout ends early, while the function may still work on it. At DeleteMessage the
    deletion fails.
    """

    after: float = 0
    do: Literal["redeliver"] = field(default="redeliver", kw_only=True, repr=False)


Action = Annotated[
    Fail | Answer | Delay | Hold | Cut | Twice | Withhold | Kill | Orphan | Stall | Drop | Redeliver,
    Field(discriminator="do"),
]

TO_A_WORKER = (Kill, Orphan, Stall)
TO_A_REQUEST = (Fail, Answer, Delay, Hold, Cut, Twice, Withhold, *TO_A_WORKER)
TO_A_STATUS_CHANGE = (Drop, Delay, Hold, Twice)
TO_A_DELIVERY = (Redeliver, Delay)


def point_of(action: Action) -> Point:
    """The point of the action; `Point.BEFORE` for those without one."""
    return getattr(action, "at", Point.BEFORE)
