"""An order's item in the ledger table, as DynamoDB keeps it and as the pipeline reads it."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from shared.ledger.states import RETRYABLE, State

STATE_INDEX: Final = "StateIndex"
SHARDS: Final = 4
"""Partitions of the index per state: one takes about 1,000 writes a second, a Region starts 300 executions."""

MAX_TEXT_BYTES: Final = 1024
"""Of an error's type, its message and a transition's detail, each, in UTF-8: DynamoDB counts an item's 400 KB so."""


def kept_text(text: str) -> str:
    """The beginning of a text, as much as the item keeps; a lone surrogate, which DynamoDB refuses, is escaped."""
    return text.encode(errors="backslashreplace")[:MAX_TEXT_BYTES].decode(errors="ignore")


def recorded_error(error_type: str, message: str) -> dict[str, str]:
    """The item's `error`."""
    return {"type": kept_text(error_type), "message": kept_text(message)}


@dataclass(frozen=True)
class Transition:
    """One entry of an order's history. `detail` says why, where there is a why.

    `execution_arn` is set on an attempt's first entry: who owned that attempt.
    """

    state: State
    at: str
    attempt: int
    detail: str | None = None
    execution_arn: str | None = None

    def stored(self) -> dict[str, Any]:
        """The entry as the item's `history` holds it: the beginning of its detail, and without what is not set."""
        detail = None if self.detail is None else kept_text(self.detail)
        optional = {"detail": detail, "executionArn": self.execution_arn}
        return {"state": self.state, "at": self.at, "attempt": self.attempt} | {
            name: value for name, value in optional.items() if value is not None
        }


@dataclass(frozen=True)
class LedgerEntry:
    """What the ledger knows of one order. `version` is the number of transitions so far.

    `conflicts`: the executions (`executionArn`, `at`) whose other body was rejected after ingest could not see it.
    `execution_status`: how the owner ended on Lambda, where that is not what `state` says.
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
        """The ARNs of the executions that own, or owned, an attempt."""
        return frozenset(step.execution_arn for step in self.history if step.execution_arn is not None)

    def is_followed_by(self, attempt: int) -> bool:
        """Whether that attempt may begin now: the next, after one that may be retried."""
        return self.state in RETRYABLE and attempt == self.attempt + 1

    def has_conflict(self, execution_arn: str) -> bool:
        """Whether an execution's conflict is noted."""
        return any(conflict["executionArn"] == execution_arn for conflict in self.conflicts)

    @property
    def reached(self) -> frozenset[State]:
        """The states of the present attempt."""
        return frozenset(step.state for step in self.history if step.attempt == self.attempt)

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> "LedgerEntry":
        """The entry in a marshalled item."""
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
    """Every number in the ledger is a count; what is money is a string."""

    def _deserialize_n(self, value: str) -> int:
        return int(value)


def marshalled(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Plain data as DynamoDB's typed values."""
    serialize = TypeSerializer().serialize
    return {name: serialize(value) for name, value in fields.items()}


def unmarshalled(item: Mapping[str, Any]) -> dict[str, Any]:
    """DynamoDB's typed values as plain data, with whole numbers as int."""
    deserialize = _IntDeserializer().deserialize
    return {name: deserialize(value) for name, value in item.items()}


def state_shard(state: State, order_id: str) -> str:
    """The index partition of an order in a state: the state, and one of `SHARDS` by the order's id."""
    return f"{state}#{zlib.crc32(order_id.encode()) % SHARDS}"


def state_shards(state: State) -> list[str]:
    """Every index partition of a state."""
    return [f"{state}#{shard}" for shard in range(SHARDS)]
