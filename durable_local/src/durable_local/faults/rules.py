"""A rule: which requests it applies to, and what it does to them."""

from dataclasses import dataclass

from pydantic import TypeAdapter

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
"""The service of a status event on its way to EventBridge. The request's text is the event's detail."""

EVENT_SOURCE = "event-source"
"""The service of each message that an event source mapping receives (`ReceiveMessage`) and deletes after its batch
(`DeleteMessage`). The request's function is the mapping's target, its text the message."""

_ACTIONS = {STATUS_CHANGE: TO_A_STATUS_CHANGE, EVENT_SOURCE: TO_A_DELIVERY}


@dataclass(frozen=True)
class Request:
    """A request to the stack.

    `service` and `operation` as in AWS's models ("lambda", "CheckpointDurableExecution"), or one of those above.
    `function` and `pid` are the function and process id of the worker that sent it; None for any other caller.
    `text` is its path, the name of the execution that it starts, and its body.
    """

    service: str
    operation: str
    function: str | None
    pid: int | None
    text: str


@dataclass(frozen=True)
class Call:
    """One kind of request that the workers of a function made: service, operation, and one resource ("" for none)."""

    function: str
    service: str
    operation: str
    resource: str


@dataclass(frozen=True)
class Rule:
    """Does `action` to requests of `service`, and of `operation` and `function` if given, that contain every `text`.

    The first `skip` requests pass, then `times` requests get the action (None: all). An action on a worker skips
    requests that no worker sent. Of several due rules, the first added is used. `label` is the test's own. Raises
    ValueError for an action that the service does not allow.
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
            raise ValueError(f"{self.action} cannot be applied to {self.service}")
        if self.service in _ACTIONS and point_of(self.action) is not Point.BEFORE:
            raise ValueError(f"{self.service} has no answer: {self.action}")

    def matches(self, request: Request) -> bool:
        """Whether the request matches the rule."""
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
    """A rule that was applied: its id, its label, and the request."""

    rule: int
    label: str
    request: Request


# The control API of these: its path, and its bodies.
CONTROL_PREFIX = "/_local_stack/faults/"
RULES = TypeAdapter(list[Rule])
INJECTIONS = TypeAdapter(list[Injection])
REQUESTS = TypeAdapter(list[Request])
CALLS = TypeAdapter(list[Call])
