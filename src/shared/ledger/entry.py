"""An order's item in the ledger table, as DynamoDB stores it and as the pipeline reads it."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from shared.errors import EntryUnreadable
from shared.executions.names import OrderExecution
from shared.ledger.states import PATH, RETRYABLE, State
from shared.orders.order import Order

ORDERS_INDEX: Final = "OrdersIndex"
SHARDS: Final = 4
"""Index partitions per state. One takes about 1,000 writes a second; a Region starts 300 executions a second."""

MAX_TEXT_BYTES: Final = 1024
"""The limit for an error's type, its message and a transition's detail, each, in UTF-8: DynamoDB's 400 KB are UTF-8."""


RESUMED: Final = "retried from FINALIZING"
"""The detail of the first transition of an attempt that began with finalize."""

_REMEDY: Final = "see docs/operations.md, An item that cannot be read"


def kept_text(text: str) -> str:
    """The first MAX_TEXT_BYTES of a text. A lone surrogate, which DynamoDB refuses, is escaped."""
    return text.encode(errors="backslashreplace")[:MAX_TEXT_BYTES].decode(errors="ignore")


@dataclass(frozen=True)
class Transition:
    """One entry of an order's history. `detail` is the reason, if there is one.

    `execution_arn` is set on the first entry of an attempt: the execution that owned it. `former_digest` is set on the
    first entry of a corrected attempt: the digest of the order before.
    """

    state: State
    at: str
    attempt: int
    detail: str | None = None
    execution_arn: str | None = None
    former_digest: str | None = None

    def stored(self) -> dict[str, Any]:
        """The entry as the item's `history` stores it: the detail cut to its limit, unset fields left out."""
        detail = None if self.detail is None else kept_text(self.detail)
        optional = {"detail": detail, "executionArn": self.execution_arn, "formerDigest": self.former_digest}
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

    def states_after(self, state: State) -> tuple[State, ...]:  # noqa: ARG002 (an attempt can fail in every state)
        """The transitions that lead from a state to this end."""
        return (self.state,)

    @property
    def fields(self) -> dict[str, Any]:
        """The item's fields at this end."""
        error_type = kept_text(self.error_type)
        # The index can project a top-level attribute only.
        return {"error": {"type": error_type, "message": kept_text(self.message)}, "errorType": error_type}

    @property
    def detail(self) -> str:
        """The detail of the end's transition."""
        return f"{self.error_type}: {self.message}"


@dataclass(frozen=True)
class Completion:
    """How an attempt ended with success: its enrichment, and the result of finalize with its two times."""

    enrichment: Mapping[str, Any]
    result: Mapping[str, Any]
    state: State = State.COMPLETED

    def states_after(self, state: State) -> tuple[State, ...]:
        """The transitions that lead from an open state to COMPLETED."""
        return PATH[PATH.index(state) + 1 :]

    @property
    def fields(self) -> dict[str, Any]:
        """The item's fields when it is COMPLETED."""
        return {"enrichment": self.enrichment, "result": self.result}

    @property
    def detail(self) -> str:
        """The detail of each transition that was not written by the execution itself."""
        return "from the execution's result"


@dataclass(frozen=True)
class LedgerEntry:
    """What the ledger stores about one order. `version` is the number of transitions so far.

    `conflicts`: the executions (`executionArn`, `at`) that had another body and whose order the reconciler rejected.
    `execution_status`: how the owner ended on Lambda, if that differs from `state`. `resume_from`: FINALIZING when the
    next attempt is to begin with finalize. `forgotten_at`: when the personal fields were removed.
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
    resume_from: str | None = None
    forgotten_at: str | None = None

    @property
    def owners(self) -> frozenset[str]:
        """The ARNs of the executions that own or owned an attempt."""
        return frozenset(step.execution_arn for step in self.history if step.execution_arn is not None)

    @property
    def order_digests(self) -> frozenset[str]:
        """The digests of the order now and before its corrections."""
        former = {step.former_digest for step in self.history if step.former_digest is not None}
        return frozenset({self.order_digest, *former})

    @property
    def next_attempt(self) -> int | None:
        """The attempt that may begin now, or None when the order cannot be retried."""
        return self.attempt + 1 if self.state in RETRYABLE and self.forgotten_at is None else None

    def may_be_followed_by(self, execution: OrderExecution) -> bool:
        """Whether the execution may begin the next attempt now: only an execution's name can say that it is a retry."""
        return execution.named and execution.attempt == self.next_attempt

    def resumes_with(self, order: Order) -> bool:
        """Whether the next attempt, if it is of this order, begins with finalize. The enrichment is for no other."""
        return self.resume_from is not None and self.enrichment is not None and self.order_digest == order.digest()

    @property
    def was_resumed(self) -> bool:
        """Whether the current attempt began with finalize."""
        return any(step.attempt == self.attempt and step.detail == RESUMED for step in self.history)

    def has_conflict(self, execution_arn: str) -> bool:
        """Whether the execution is in `conflicts`."""
        return any(conflict["executionArn"] == execution_arn for conflict in self.conflicts)

    @property
    def reached(self) -> frozenset[State]:
        """The states of the current attempt so far."""
        return frozenset(step.state for step in self.history if step.attempt == self.attempt)

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> "LedgerEntry":
        """The entry that an item in DynamoDB's typed values holds.

        Raises `EntryUnreadable` for an item without a needed attribute, with a state that is not in the list, or with
        an index key that disagrees with its state. No value of the item is in the message.
        """
        order_id = item.get("orderId", {}).get("S", "?")
        try:
            fields = unmarshalled(item)
            state = State(fields["state"])
            if fields["stateShard"] != state_shard(state, order_id):
                raise EntryUnreadable(f"order {order_id}: stateShard does not agree with the state {state}; {_REMEDY}")
            return cls._of(fields)
        except KeyError as error:
            raise EntryUnreadable(f"order {order_id}: its item has no {error}; {_REMEDY}") from None
        except (TypeError, ValueError, AttributeError):
            raise EntryUnreadable(f"order {order_id}: its item has an unknown state or type; {_REMEDY}") from None

    @classmethod
    def _of(cls, fields: Mapping[str, Any]) -> "LedgerEntry":
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
                    step.get("formerDigest"),
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
            resume_from=fields.get("resumeFrom"),
            forgotten_at=fields.get("forgottenAt"),
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
