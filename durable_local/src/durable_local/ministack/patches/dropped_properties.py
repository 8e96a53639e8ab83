# mypy: disable-error-code="import-not-found"
"""Names what of a template MiniStack's CloudFormation passes over in silence.

It refuses a resource type it does not know, but takes a resource with any properties and reads those it knows. Which
it reads is seen, not listed by hand: the properties are handed over in a dictionary that notes what is asked of it.
What nobody asked for stands as the reason of the resource's stack event, where `make up`, `sam deploy` and
DescribeStackEvents show it. Where a function would run otherwise than on AWS, the resource is refused instead.

A property that is read, stored and has no effect (a key for encryption, say) cannot be told from one that has.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOTICE = "Not carried out by the local stack: "
# Read by lambda_resources, which stands around the handlers watched here.
READ_HERE = {"AWS::Lambda::Function": {"DurableConfig", "DeadLetterConfig", "ReservedConcurrentExecutions"}}
# Without these a function's code, or what starts it, is another than the template says.
REFUSED = {
    # Its routes: SAM's HttpApi event writes them there.
    "AWS::ApiGatewayV2::Api": {"Body", "BodyS3Location"},
    "AWS::Lambda::Function": {"FileSystemConfigs", "ImageConfig", "TenancyConfig", "CapacityProviderConfig"},
    "AWS::Lambda::EventSourceMapping": {
        "AmazonManagedKafkaEventSourceConfig",
        "DocumentDBEventSourceConfig",
        "ProvisionedPollerConfig",
        "Queues",
        "SelfManagedEventSource",
        "SelfManagedKafkaEventSourceConfig",
        "SourceAccessConfigurations",
        "StartingPositionTimestamp",
        "Topics",
        "TumblingWindowInSeconds",
    },
}
POLLED = frozenset({"sqs", "kinesis", "dynamodb"})

_read: dict[str, set[str]] = {}  # by resource type, what its handlers have ever asked for
_noted: dict[tuple[str, str], str] = {}  # by stack and resource, until its event is written


class NotSupportedError(ValueError):
    """CloudFormation reports the text as the reason why the resource failed."""


class Watched(dict[str, Any]):
    """A dictionary that notes which of its keys were asked for; who takes it as a whole has asked for all."""

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


def install() -> None:
    """Wraps every resource type's create and update, and the writing of stack events."""
    from ministack.services.cloudformation import provisioners, stacks  # noqa: PLC0415 - not before sys.executable is

    for resource_type, handler in provisioners._RESOURCE_HANDLERS.items():  # noqa: SLF001 - there is no public way
        if "create" in handler:
            handler["create"] = _watching(handler["create"], resource_type, properties_at=1)
        if "update" in handler:
            handler["update"] = _watching(handler["update"], resource_type, properties_at=2)

    add_event = stacks._add_event  # noqa: SLF001

    def with_notice(*arguments: Any, **named: Any) -> None:
        stack_id, stack_name, logical_id, resource_type, status, *rest = arguments
        if status in {"CREATE_COMPLETE", "UPDATE_COMPLETE"} and not rest and not named.get("reason"):
            notice = _noted.pop((stack_name, logical_id), "")
            if notice:
                named["reason"] = notice
        add_event(stack_id, stack_name, logical_id, resource_type, status, *rest, **named)

    stacks._add_event = with_notice  # noqa: SLF001


def _watching(action: Callable[..., Any], resource_type: str, properties_at: int) -> Callable[..., Any]:
    @functools.wraps(action)  # MiniStack looks at a handler's parameters
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
    """Logical id and stack name; an update handler that is not told the logical id gives the physical one."""
    if properties_at == 1:
        return arguments[0], arguments[2]
    logical_id = named.get("logical_id") or (arguments[4] if len(arguments) > 4 else arguments[0])
    return logical_id, arguments[3]


def refuse(resource_type: str, properties: dict[str, Any]) -> None:
    """Raises NotSupportedError for properties without which the resource would do something else."""
    if found := sorted(REFUSED.get(resource_type, set()) & properties.keys()):
        raise NotSupportedError(f"the local stack does not support {', '.join(found)} of {resource_type}")
    if resource_type == "AWS::Lambda::EventSourceMapping":
        source = str(properties.get("EventSourceArn", ""))
        service = source.split(":")[2] if source.count(":") >= 5 else source or "none"
        if service not in POLLED:
            raise NotSupportedError(
                f"the local stack does not poll event sources of {service}; it polls {', '.join(sorted(POLLED))}"
            )
