"""What one order costs at list price, counted from its entry in the ledger.

`orders get`, `orders stats` and benchmarks use it. It counts what the order itself causes. What the entry cannot say,
such as how long an invocation takes, is in `Assumptions`. `docs/costs.md` has what is left out.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from math import ceil
from typing import Any, Final, NamedTuple

from orchestrator.result import order_result
from shared.ledger.entry import RESUMED, LedgerEntry, Transition, state_shard
from shared.ledger.states import RETRYABLE, State
from tools.operations.prices import Meter, usd

INDEXES: Final[Mapping[str, tuple[str, ...]]] = {
    "OrdersIndex": ("attempt", "errorType", "customerId"),
}
"""The ledger's index in template.yaml, with what it projects beside its keys `stateShard` and `updatedAt`."""

FUNCTION_MEMORY_MB: Final = 1024
"""`MemorySize` of all functions in template.yaml."""

_WRITE_UNIT: Final = 1024
_READ_UNIT: Final = 4096
_CHUNK: Final = 64 * 1024
"""SQS bills each 64 KiB of a message as a request."""


@dataclass(frozen=True)
class Deployment:
    """The settings of a stack that have a price. `retention_days`: how long Lambda keeps an execution's data."""

    architecture: str = "arm64"
    retention_days: int = 30
    memory_mb: int = FUNCTION_MEMORY_MB

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> "Deployment":
        """From the stack's parameters."""
        default = cls()
        return cls(
            parameters.get("Architecture", default.architecture),
            int(parameters.get("RetentionDays", default.retention_days)),
        )


def _assumed(value: float, why: str) -> Any:
    return field(default=value, metadata={"why": why})


_TIMED: Final = "of 20 orders on the local stack, 2 shared cores"
_BENCHED: Final = "by `make bench` on 2 shared cores, with 5 ms for each call of AWS"
_LOGGED: Final = "counted on the local stack at the level INFO"


@dataclass(frozen=True)
class Assumptions:
    """What the ledger does not record. Replace a value by a measured one where there is one."""

    messages_in_batch: float = _assumed(1, "an order that comes alone; a busy queue fills its batches")
    records_in_batch: float = _assumed(
        2, "an order that comes alone writes twice in the publisher's window of a second"
    )
    ingest_ms: float = _assumed(45, _TIMED)
    first_invocation_ms: float = _assumed(50, _BENCHED)
    next_invocation_ms: float = _assumed(28, _BENCHED)
    enricher_ms: float = _assumed(12, _TIMED)
    publisher_ms: float = _assumed(18, _TIMED)
    reconciler_ms: float = _assumed(50, "guessed")
    invocation_log_bytes: float = _assumed(400, f"Lambda's own lines of an invocation, {_LOGGED}")
    ingest_log_bytes: float = _assumed(590, f"the line of a message, {_LOGGED}")
    ingest_batch_log_bytes: float = _assumed(640, f"the metrics of a batch, {_LOGGED}")
    first_invocation_log_bytes: float = _assumed(1170, f"three lines, {_LOGGED}")
    next_invocation_log_bytes: float = _assumed(390, f"one line, {_LOGGED}")
    enricher_log_bytes: float = _assumed(390, f"one line, {_LOGGED}")
    publisher_log_bytes: float = _assumed(810, f"the metrics of a batch, {_LOGGED}")


class Charge(NamedTuple):
    """What one part of the pipeline uses for an order."""

    part: str
    meter: Meter
    quantity: float

    @property
    def usd(self) -> float:
        """The list price in US dollars."""
        return usd(self.meter, self.quantity)


DEFAULT: Final = Deployment()
ASSUMED: Final = Assumptions()


def cost(charges: Sequence[Charge]) -> float:
    """The sum in US dollars."""
    return sum(charge.usd for charge in charges)


def charges(entry: LedgerEntry, deployment: Deployment = DEFAULT, assumed: Assumptions = ASSUMED) -> list[Charge]:
    """What the order has caused so far, each meter of each part once."""
    attempts = [_Attempt(entry, number) for number in sorted({step.attempt for step in entry.history})]
    found: dict[tuple[str, Meter], float] = {}
    for part, meter, quantity in (
        *_intake(entry, attempts, assumed, deployment),
        *_orchestrator(entry, attempts, assumed, deployment),
        *_enricher(entry, attempts, assumed, deployment),
        *_ledger(entry),
        *_publisher(entry, assumed, deployment),
        *_reconciler(entry, attempts, assumed, deployment),
    ):
        found[part, meter] = found.get((part, meter), 0) + quantity
    return [Charge(part, meter, quantity) for (part, meter), quantity in found.items() if quantity]


def item_sizes(entry: LedgerEntry) -> list[int]:
    """The bytes of the order's item after each write of transitions, by DynamoDB's rules.

    Transitions of one attempt with the same time were one write. Earlier attempts are counted with the order and the
    enrichment of the last one: the item keeps no other.
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    """
    fixed = {"orderId": entry.order_id, "executionArn": entry.execution_arn, "orderDigest": entry.order_digest}
    always = fields_size(fixed | {"order": entry.order} | _customer(entry))
    counts = fields_size({"attempt": 1, "enrichStarts": entry.starts})
    enrichment = fields_size({"enrichment": entry.enrichment}) if entry.enrichment else 0
    result = fields_size({"result": entry.result}) if entry.result else 0
    error = fields_size({"error": entry.error, "errorType": entry.error["type"]}) if entry.error else 0
    sizes, version, history = [], 0, 3 + len("history")
    reached: set[State] = set()
    for write in _writes(entry):
        last = write[-1]
        version += len(write)
        history += sum(1 + _size(step.stored()) for step in write)
        reached = {*(set() if write[0].state is State.RECEIVED else reached), *(step.state for step in write)}
        moved = {
            "state": last.state,
            "stateShard": state_shard(last.state, entry.order_id),
            "updatedAt": last.at,
            "version": version,
        }
        beside = (
            enrichment * (State.ENRICHED in reached)
            + result * (State.COMPLETED in reached)
            + error * (last.state in RETRYABLE)
        )
        sizes.append(always + counts + fields_size(moved) + history + beside)
    return sizes


def write_units(entry: LedgerEntry) -> dict[str, int]:
    """The ledger's write units, of the table and of each index by name.

    An update costs the larger of the item before and after it. A change of an index's key deletes one of the index's
    items and puts another. A refused write costs the item that refused it.
    """
    sizes = item_sizes(entry)
    table = sum(units_of(max(before, after)) for before, after in zip([0, *sizes], sizes, strict=False))
    # The claim of a later attempt first tries to write an order without an item, and is refused.
    writes = list(_writes(entry))
    later = [size for size, write in zip(sizes, writes[1:], strict=False) if write[0].state is State.RECEIVED]
    table += sum(units_of(size) for size in later) + _silent_updates(entry) * units_of(sizes[-1])
    return {"LedgerTable": table} | {name: _index_units(entry, projected) for name, projected in INDEXES.items()}


class _Attempt:
    """What happened in one attempt, as far as the ledger says it."""

    def __init__(self, entry: LedgerEntry, number: int) -> None:
        steps = [step for step in entry.history if step.attempt == number]
        reached = {step.state for step in steps}
        current = number == entry.attempt
        resumed = steps[0].detail == RESUMED
        self.from_queue = number == 1
        self.calls = entry.starts if current else int(State.ENRICHING in reached and not resumed)
        self.tries = max(1, self.calls)
        self.waited = State.WAITING in reached and not resumed
        self.finalized = State.FINALIZING in reached
        self.failed = State.FAILED in reached
        self.unsuccessful = bool(reached & RETRYABLE)
        self.resumptions = int(self.waited and self.finalized)

    @property
    def operations(self) -> int:
        """Metered: the start, each try of a step, the wait."""
        return 1 + self.tries + self.waited + self.finalized + self.failed


_Parts = Iterator[tuple[str, Meter, float]]


def _function(part: str, count: float, ms: float, log_bytes: float, deployment: Deployment) -> _Parts:
    """Invocations of a function, with their whole time and their own log lines."""
    compute = Meter.GB_SECOND_ARM if deployment.architecture == "arm64" else Meter.GB_SECOND_X86
    yield part, Meter.LAMBDA_REQUEST, count
    yield part, compute, ms / 1000 * deployment.memory_mb / 1024
    yield part, Meter.LOG_BYTES, log_bytes


def _intake(entry: LedgerEntry, attempts: list[_Attempt], assumed: Assumptions, deployment: Deployment) -> _Parts:
    """An order's first attempt comes from the queue; an operator starts the others."""
    if not any(attempt.from_queue for attempt in attempts):
        return
    share = 1 / assumed.messages_in_batch
    # Sent alone, at most 64 KiB; received and deleted with its batch.
    yield "queue", Meter.SQS_REQUEST, 1 + max(share, _json_size(entry.order) / _CHUNK) + share
    logged = share * (assumed.invocation_log_bytes + assumed.ingest_batch_log_bytes) + assumed.ingest_log_bytes
    yield from _function("ingest", share, share * assumed.ingest_ms, logged, deployment)


def _orchestrator(entry: LedgerEntry, attempts: list[_Attempt], assumed: Assumptions, deployment: Deployment) -> _Parts:
    for attempt in attempts:
        first, after = attempt.tries, attempt.resumptions
        ms = first * assumed.first_invocation_ms + after * assumed.next_invocation_ms
        logged = (
            (first + after) * assumed.invocation_log_bytes
            + first * assumed.first_invocation_log_bytes
            + after * assumed.next_invocation_log_bytes
        )
        yield from _function("orchestrator", first + after, ms, logged, deployment)
        yield "orchestrator", Meter.OPERATION, attempt.operations
        data = durable_bytes(entry, attempt_finalized=attempt.finalized)
        yield "orchestrator", Meter.DURABLE_BYTES, data
        yield "orchestrator", Meter.DURABLE_BYTE_MONTHS, data * deployment.retention_days / 30


def durable_bytes(entry: LedgerEntry, *, attempt_finalized: bool) -> int:
    """What Lambda stores of an attempt: the input, the steps' results and the response."""
    found = _json_size(entry.order)
    if entry.enrichment is not None:
        found += len(json.dumps({"enrichment": entry.enrichment}))
    if entry.error is not None:
        found += _json_size(entry.error)
    if attempt_finalized and entry.result is not None and entry.enrichment is not None:
        response = order_result(entry.order_id, entry.enrichment, entry.result)
        found += len(json.dumps(entry.result)) + len(json.dumps(response))
    return found


def _enricher(entry: LedgerEntry, attempts: list[_Attempt], assumed: Assumptions, deployment: Deployment) -> _Parts:
    calls = sum(attempt.calls for attempt in attempts)
    logged = calls * (assumed.invocation_log_bytes + assumed.enricher_log_bytes)
    yield from _function("enricher", calls, calls * assumed.enricher_ms, logged, deployment)
    # An eventually consistent read of a small item, of an order that has a customer.
    yield "enricher", Meter.READ_UNIT, 0.5 * calls * bool(_customer(entry))


def _ledger(entry: LedgerEntry) -> _Parts:
    for name, units in write_units(entry).items():
        yield f"ledger, {name}", Meter.WRITE_UNIT, units


def _publisher(entry: LedgerEntry, assumed: Assumptions, deployment: Deployment) -> _Parts:
    records = sum(1 for _ in _writes(entry)) + _silent_updates(entry)
    count = records / assumed.records_in_batch
    logged = count * (assumed.invocation_log_bytes + assumed.publisher_log_bytes)
    yield "publisher", Meter.STREAM_RECORD, records
    yield from _function("publisher", count, count * assumed.publisher_ms, logged, deployment)
    yield "publisher", Meter.EVENT, len(entry.history)


def _reconciler(entry: LedgerEntry, attempts: list[_Attempt], assumed: Assumptions, deployment: Deployment) -> _Parts:
    """The status change of each attempt that ended without success: sent, received and deleted alone, and one read."""
    count = sum(attempt.unsuccessful for attempt in attempts)
    if count:
        logged = count * assumed.invocation_log_bytes
        yield "reconciler", Meter.SQS_REQUEST, 3 * count
        yield from _function("reconciler", count, count * assumed.reconciler_ms, logged, deployment)
        yield "reconciler", Meter.READ_UNIT, count * ceil(item_sizes(entry)[-1] / _READ_UNIT)


def _writes(entry: LedgerEntry) -> Iterator[list[Transition]]:
    for _, steps in groupby(entry.history, key=lambda step: (step.attempt, step.at)):
        yield list(steps)


def _silent_updates(entry: LedgerEntry) -> int:
    """Writes without a transition, which change no index: counted starts, marks of a resumed retry, notes."""
    marks = sum(step.detail == RESUMED for step in entry.history) + (entry.resume_from is not None)
    return max(0, entry.starts - 1) + marks + len(entry.conflicts) + (entry.execution_status is not None)


def _index_units(entry: LedgerEntry, projected: Sequence[str]) -> int:
    total, before = 0, 0
    for write in _writes(entry):
        last = write[-1]
        beside = {"attempt": last.attempt} | _customer(entry)
        if last.state in RETRYABLE and entry.error is not None:
            beside["errorType"] = entry.error["type"]
        keys = {
            "orderId": entry.order_id,
            "stateShard": state_shard(last.state, entry.order_id),
            "updatedAt": last.at,
        }
        after = units_of(fields_size(keys | {name: value for name, value in beside.items() if name in projected}))
        total, before = total + before + after, after
    return total


def _customer(entry: LedgerEntry) -> dict[str, Any]:
    customer = entry.order.get("customerId")
    return {} if customer is None else {"customerId": customer}


def units_of(size: int) -> int:
    """The write units of an item of this size, in bytes. A transaction costs twice as many."""
    return max(1, ceil(size / _WRITE_UNIT))


def fields_size(fields: Mapping[str, Any]) -> int:
    """The bytes of an item with these fields in DynamoDB."""
    return sum(len(name.encode()) + _size(value) for name, value in fields.items())


def _size(value: Any) -> int:
    """The bytes of a value in DynamoDB. Every number in the ledger is a count."""
    match value:
        case str():
            return len(value.encode())
        case bool() | None:
            return 1
        case int():
            return 1 + (max(1, len(str(value).strip("-0"))) + 1) // 2
        case Mapping():
            return 3 + len(value) + fields_size(value)
        case _:
            return 3 + sum(1 + _size(member) for member in value)


def _json_size(value: Any) -> int:
    return len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())
