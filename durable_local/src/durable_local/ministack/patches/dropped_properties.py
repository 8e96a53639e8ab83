"""Reports the properties of a template that MiniStack's CloudFormation ignores.

MiniStack refuses an unknown resource type but accepts unknown properties. The properties are given to its handlers in a
dictionary that records which keys are read. Keys that no handler has read become the reason of the resource's stack
event, which `make up`, `sam deploy` and DescribeStackEvents show. Where an ignored property would change what a
function does, the resource is refused instead.

A property that is read and stored but has no effect (a key for encryption, say) is not found.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from .patching import Original, Patch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOTICE = "Not carried out by the local stack: "
# Properties that lambda_resources reads.
READ_HERE = {
    "AWS::Lambda::Function": {"DurableConfig", "DeadLetterConfig", "ReservedConcurrentExecutions", "TenancyConfig"}
}
# Properties that change a function's code or what starts it.
REFUSED = {
    # The routes of SAM's HttpApi event.
    "AWS::ApiGatewayV2::Api": {"Body", "BodyS3Location"},
    "AWS::Lambda::Function": {"FileSystemConfigs", "ImageConfig", "CapacityProviderConfig"},
    "AWS::Lambda::EventSourceMapping": set(
        """AmazonManagedKafkaEventSourceConfig DocumentDBEventSourceConfig ProvisionedPollerConfig Queues
        SelfManagedEventSource SelfManagedKafkaEventSourceConfig SourceAccessConfigurations StartingPositionTimestamp
        Topics TumblingWindowInSeconds""".split()
    ),
}
POLLED = frozenset({"sqs", "kinesis", "dynamodb"})

patch = Patch(__name__)
handlers = patch.uses("ministack.services.cloudformation.provisioners", "_RESOURCE_HANDLERS")

_read: dict[str, set[str]] = {}  # by resource type, the keys that its handlers have read
_noted: dict[tuple[str, str], str] = {}  # by stack and resource, until the event is written


class NotSupportedError(ValueError):
    """CloudFormation reports the text as the reason why the resource failed."""


class Watched(dict[str, Any]):
    """A dictionary that records which keys are read. Iterating over it reads all keys."""

    def __init__(self, content: dict[str, Any]) -> None:
        super().__init__(content)
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.read.add(str(key))
        return super().__contains__(key)

    def __iter__(self) -> Iterator[str]:
        self._read_all()
        return super().__iter__()

    def get(self, key: str, default: Any = None) -> Any:  # noqa: D102 - a dictionary's own
        self.read.add(key)
        return super().get(key, default)

    def pop(self, key: str, *default: Any) -> Any:  # noqa: D102
        self.read.add(key)
        return super().pop(key, *default)

    def keys(self) -> Any:  # noqa: D102
        self._read_all()
        return super().keys()

    def items(self) -> Any:  # noqa: D102
        self._read_all()
        return super().items()

    def values(self) -> Any:  # noqa: D102
        self._read_all()
        return super().values()

    def _read_all(self) -> None:
        self.read.update(super().keys())


@patch.at_start
def watch_handlers() -> None:
    """Wraps the create and update handlers of every resource type."""
    for resource_type, handler in handlers.get().items():
        if "create" in handler:
            handler["create"] = _watching(handler["create"], resource_type, properties_at=1)
        if "update" in handler:
            handler["update"] = _watching(handler["update"], resource_type, properties_at=2)


@patch.replaces("ministack.services.cloudformation.stacks", "_add_event")
def add_event(original: Original, *arguments: Any, **named: Any) -> None:
    """Adds the notice as the event's reason."""
    _, stack_name, logical_id, _, status, *rest = arguments
    if status in {"CREATE_COMPLETE", "UPDATE_COMPLETE"} and not rest and not named.get("reason"):
        notice = _noted.pop((stack_name, logical_id), "")
        if notice:
            named["reason"] = notice
    original(*arguments, **named)


def _watching(action: Callable[..., Any], resource_type: str, properties_at: int) -> Callable[..., Any]:
    @functools.wraps(action)  # MiniStack inspects a handler's parameters
    def act(*arguments: Any, **named: Any) -> Any:
        properties = arguments[properties_at]
        if not isinstance(properties, dict):
            return action(*arguments, **named)
        refuse(resource_type, properties)
        watched = Watched(properties)
        given = [*arguments[:properties_at], watched, *arguments[properties_at + 1 :]]
        result = action(*given, **named)
        read = _read.setdefault(resource_type, set())
        read |= watched.read | READ_HERE.get(resource_type, set())
        if dropped := sorted(properties.keys() - read):
            logical_id, stack_name = _place(arguments, named, properties_at)
            _noted[stack_name, logical_id] = NOTICE + ", ".join(dropped)
        return result

    return act


def _place(arguments: tuple[Any, ...], named: dict[str, Any], properties_at: int) -> tuple[str, str]:
    """Logical id and stack name. An update handler without a logical id has the physical id."""
    if properties_at == 1:
        return arguments[0], arguments[2]
    logical_id = named.get("logical_id") or (arguments[4] if len(arguments) > 4 else arguments[0])
    return logical_id, arguments[3]


def refuse(resource_type: str, properties: dict[str, Any]) -> None:
    """Raises NotSupportedError for a property or an event source that the stack would ignore."""
    if found := sorted(REFUSED.get(resource_type, set()) & properties.keys()):
        raise NotSupportedError(f"the local stack does not support {', '.join(found)} of {resource_type}")
    if resource_type == "AWS::Lambda::EventSourceMapping":
        source = str(properties.get("EventSourceArn", ""))
        service = source.split(":")[2] if source.count(":") >= 5 else source or "none"
        if service not in POLLED:
            raise NotSupportedError(
                f"the local stack does not poll event sources of {service}; it polls {', '.join(sorted(POLLED))}"
            )
