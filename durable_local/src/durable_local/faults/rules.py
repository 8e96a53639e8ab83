"""Which requests something is done to, and what."""

from __future__ import annotations

from dataclasses import dataclass

from durable_local.faults.actions import (
    TO_A_DELIVERY,
    TO_A_REQUEST,
    TO_A_STATUS_CHANGE,
    TO_A_WORKER,
    Action,
    Point,
    point_of,
)

STATUS_CHANGE = "status-change"
"""The service under which an event of an execution's status is seen on its way to the bus; its text is the event's
detail."""

EVENT_SOURCE = "event-source"
"""The service under which each message is seen that an event source mapping takes from a queue (`ReceiveMessage`) and
deletes after its batch (`DeleteMessage`); its function is the one that the mapping feeds, its text the message."""

_ACTIONS = {STATUS_CHANGE: TO_A_STATUS_CHANGE, EVENT_SOURCE: TO_A_DELIVERY}


@dataclass(frozen=True)
class Request:
    """A request as the stack saw it come.

    `service` and `operation` as in AWS's models ("lambda", "CheckpointDurableExecution"), or one of those above.
    `function` is the name of the function whose worker sent it, and `pid` that worker; None for anybody else.
    `text` is its path with the names in it, the name of the execution it starts, and its body.
    """

    service: str
    operation: str
    function: str | None
    pid: int | None
    text: str


@dataclass(frozen=True)
class Rule:
    """Does `action` to requests of `service` and, where they are given, of `operation` and of `function`'s workers,
    whose text holds `text`, or every one of several.

    The first `skip` of them pass, then it is done `times` times (None: to all). What kills or stalls a worker passes
    over requests that no worker sent. Of several rules that are due, the first added is the one. `label` is for
    whoever counts. Raises ValueError for an action that cannot be done there.
    """

    action: Action
    service: str
    operation: str | None = None
    function: str | None = None
    text: str | tuple[str, ...] = ()
    skip: int = 0
    times: int | None = 1
    label: str = ""

    def __post_init__(self) -> None:
        possible = _ACTIONS.get(self.service, TO_A_REQUEST)
        if type(self.action) not in possible:
            raise ValueError(f"{self.action} cannot be done to {self.service}")
        if self.service in _ACTIONS and point_of(self.action) is not Point.BEFORE:
            raise ValueError(f"{self.service} has no answer: {self.action}")

    def matches(self, request: Request) -> bool:
        """Whether the rule is about this request."""
        texts = (self.text,) if isinstance(self.text, str) else self.text
        return (
            self.service == request.service
            and self.operation in (None, request.operation)
            and self.function in (None, request.function)
            and (request.pid is not None or not isinstance(self.action, TO_A_WORKER))
            and all(text in request.text for text in texts)
        )


@dataclass(frozen=True)
class Injection:
    """A rule that was in fact carried out: the id it was added under, its label, and what it was done to."""

    rule: int
    label: str
    request: Request
