"""An order's item in the ledger table, as DynamoDB stores it and as the pipeline reads it."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from shared.executions.names import OrderExecution
from shared.ledger.states import RETRYABLE, State

STATE_INDEX: Final = "StateIndex"
SHARDS: Final = 4
"""Index partitions per state. One takes about 1,000 writes a second; a Region starts 300 executions a second."""

MAX_TEXT_BYTES: Final = 1024
"""The limit for an error's type, its message and a transition's detail, each, in UTF-8: DynamoDB's 400 KB are UTF-8."""


def kept_text(text: str) -> str:
    """The first MAX_TEXT_BYTES of a text. A lone surrogate, which DynamoDB refuses, is escaped."""
    return text.encode(errors="backslashreplace")[:MAX_TEXT_BYTES].decode(errors="ignore")


@dataclass(frozen=True)
class Transition:
    """One entry of an order's history. `detail` is the reason, if there is one.

    `execution_arn` is set on the first entry of an attempt: the execution that owned it.
    """

    state: State
    at: str
    attempt: int
    detail: str | None = None
    execution_arn: str | None = None

    def stored(self) -> dict[str, Any]:
        """The entry as the item's `history` stores it: the detail cut to its limit, unset fields left out."""
        detail = None if self.detail is None else kept_text(self.detail)
        optional = {"detail": detail, "executionArn": self.execution_arn}
        return {"state": self.state, "at": self.at, "attempt": self.attempt} | {
            name: value for name, value in optional.items() if value is not None
        }


@dataclass(frozen=True)
class End:
    """How an attempt ended without success: FAILED, TIMED_OUT or STOPPED, and the error.

    The message can be up to a megabyte of arbitrary text (`StopDurableExecution`); the item stores its first
    MAX_TEXT_BYTES.
    """

    state: State
    error_type: str
    message: str

    @property
    def fields(self) -> dict[str, Any]:
        """The item's fields at this end."""
        return {"error": {"type": kept_text(self.error_type), "message": kept_text(self.message)}}

    @property
    def detail(self) -> str:
        """The detail of the end's transition."""
        return f"{self.error_type}: {self.message}"


@dataclass(frozen=True)
class LedgerEntry:
    """What the ledger stores about one order. `version` is the number of transitions so far.

    `conflicts`: the executions (`executionArn`, `at`) that had another body and whose order the reconciler rejected.
    `execution_status`: how the owner ended on Lambda, if that differs from `state`.
    """

    order_id: str
    state: State
    attempt: int
    version: int
    execution_arn: str
    order: Mapping[str, Any]
    order_digest: str
    history: tuple[Transition, ...]
    updated_at: str
    starts: int
    enrichment: Mapping[str, Any] | None = None
    result: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    conflicts: tuple[Mapping[str, str], ...] = ()
    execution_status: str | None = None

    @property
    def owners(self) -> frozenset[str]:
        """The ARNs of the executions that own or owned an attempt."""
        return frozenset(step.execution_arn for step in self.history if step.execution_arn is not None)

    @property
    def next_attempt(self) -> int | None:
        """The attempt that may begin now, or None when the order cannot be retried."""
        return self.attempt + 1 if self.state in RETRYABLE else None

    def may_be_followed_by(self, execution: OrderExecution) -> bool:
        """Whether the execution may begin the next attempt now: only an execution's name can say that it is a retry."""
        return execution.named and execution.attempt == self.next_attempt

    def has_conflict(self, execution_arn: str) -> bool:
        """Whether the execution is in `conflicts`."""
        return any(conflict["executionArn"] == execution_arn for conflict in self.conflicts)

    @property
    def reached(self) -> frozenset[State]:
        """The states of the current attempt so far."""
        return frozenset(step.state for step in self.history if step.attempt == self.attempt)

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> "LedgerEntry":
        """The entry that an item in DynamoDB's typed values holds."""
        fields = unmarshalled(item)
        return cls(
            order_id=fields["orderId"],
            state=State(fields["state"]),
            attempt=fields["attempt"],
            version=fields["version"],
            execution_arn=fields["executionArn"],
            order=fields["order"],
            order_digest=fields["orderDigest"],
            history=tuple(
                Transition(
                    State(step["state"]),
                    step["at"],
                    step["attempt"],
                    step.get("detail"),
                    step.get("executionArn"),
                )
                for step in fields["history"]
            ),
            updated_at=fields["updatedAt"],
            starts=fields["enrichStarts"],
            enrichment=fields.get("enrichment"),
            result=fields.get("result"),
            error=fields.get("error"),
            conflicts=tuple(fields.get("conflicts", ())),
            execution_status=fields.get("executionStatus"),
        )


class _IntDeserializer(TypeDeserializer):
    """Reads numbers as int: every number in the ledger is a count, and money is a string."""

    def _deserialize_n(self, value: str) -> int:
        return int(value)


def marshalled(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values as DynamoDB's typed values."""
    serialize = TypeSerializer().serialize
    return {name: serialize(value) for name, value in fields.items()}


def unmarshalled(item: Mapping[str, Any]) -> dict[str, Any]:
    """DynamoDB's typed values as plain values, numbers as int."""
    deserialize = _IntDeserializer().deserialize
    return {name: deserialize(value) for name, value in item.items()}


def state_shard(state: State, order_id: str) -> str:
    """The index partition key of an order in a state: the state and a shard number from a hash of the order's id."""
    return f"{state}#{zlib.crc32(order_id.encode()) % SHARDS}"


def state_shards(state: State) -> list[str]:
    """All index partition keys of a state."""
    return [f"{state}#{shard}" for shard in range(SHARDS)]
