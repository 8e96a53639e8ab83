"""Checks the state after a run: the invariants of every order, and what the schedule of each order allows."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import pairwise

from durable_local.faults import Injection, Point, Request, Rule, Twice
from durable_local.faults.actions import point_of
from shared.executions.names import ExecutionName
from shared.ledger.entry import LedgerEntry
from shared.ledger.states import State
from tests.faults.invariants import Sent, repeated_events, violations
from tests.faults.observed import Observed
from tests.faults.seeded.trial import Trial
from tests.faults.seeded.world import writes

JUMP_SECONDS = 300
MAX_ENRICHER_CALLS = 3
POISON = {"NOT_JSON", "INVALID_ORDER", "TOO_LARGE"}
ENRICHER_CALL = re.compile(r"/functions/[^/]*OrderEnricher")


@dataclass(frozen=True)
class Seen:
    """The trials, and everything that was read after them."""

    trials: Sequence[Trial]
    observed: Observed
    sent: Sent
    injections: Sequence[Injection]
    rules: Mapping[int, Rule]
    requests: Sequence[Request]

    @cached_property
    def by_order(self) -> Mapping[str, Sequence[Request]]:
        """The requests about each trial's order, in sequence."""
        ids = [trial.order_id for trial in self.trials]
        return {order_id: [request for request in self.requests if order_id in request.text] for order_id in ids}


def check(seen: Seen, happened: Counter[str]) -> tuple[list[str], Counter[str]]:
    """The violations, and how often each fault was injected. `happened` counts the faults injected without a rule."""
    found = [
        *violations(seen.observed, seen.sent),
        *_ends(seen),
        *_neighbours(seen),
        *_enricher_calls(seen),
        *_repeated_rejects(seen),
        *_repeated_events(seen),
    ]
    rules = {(injection.rule, injection.label) for injection in seen.injections if injection.label}
    injected = Counter(label for _, label in rules) + happened
    injected["F4"] += len(
        {m.attributes["sourceMessageId"] for m in seen.observed.rejected if m.attributes["reasonCode"] in POISON}
    )
    injected["F20"] += sum(map(_jumped, seen.observed.entries.values()))
    return found, injected


def _ends(seen: Seen) -> Iterator[str]:
    """Orders that ended in a state that their schedule does not allow."""
    for trial in seen.trials:
        entry = seen.observed.entries.get(trial.order_id)
        if entry is None:
            yield f"order {trial.order_id} is not in the ledger"
        elif entry.state not in trial.ends:
            error = f" ({entry.error['type']})" if entry.error else ""
            yield f"order {trial.order_id} is {entry.state}{error}, not {' or '.join(sorted(trial.ends))}"
        elif entry.state is State.FAILED and trial.error and trial.error not in (entry.error or {}).get("type", ""):
            yield f"order {trial.order_id} failed with {(entry.error or {}).get('type')}, not {trial.error}"


def _neighbours(seen: Seen) -> Iterator[str]:
    """Orders that shared a batch with a failed or hanging start, and were not started exactly once."""
    for trial in seen.trials:
        for neighbour in trial.neighbours:
            starts = sum(
                request.operation == "Invoke" and (request.function or "").endswith("OrderIngest")
                for request in seen.by_order[neighbour.order_id]
            )
            if starts != 1:
                yield f"order {neighbour.order_id} was started {starts} times; only {trial.order_id} should start again"


def _enricher_calls(seen: Seen) -> Iterator[str]:
    """Calls of the enricher after a recorded enrichment, or more than one call for each fault.

    On a busy machine a call may time out without a fault, so the tries of the retry policy are allowed in addition.
    """
    executions = Counter(order_id for record in seen.observed.records for order_id in [_order_id(record.arn)])
    for trial in seen.trials:
        if executions[trial.order_id] != 1:
            continue
        faults = [injection for injection in seen.injections if trial.order_id in injection.request.text]
        not_applied = {
            (injection.request.pid, injection.request.text)
            for injection in faults
            if point_of(action := seen.rules[injection.rule].action) is Point.BEFORE and not isinstance(action, Twice)
        }
        calls, after, recorded = 0, 0, False
        for request in seen.by_order[trial.order_id]:
            if request.operation == "Invoke" and ENRICHER_CALL.search(request.text):
                calls, after = calls + 1, after + recorded
            elif request.operation == "UpdateItem" and writes(State.ENRICHED) in request.text:
                recorded = recorded or (request.pid, request.text) not in not_applied
        if after:
            yield f"order {trial.order_id} called the enricher {after} times after its enrichment was recorded"
        if calls > MAX_ENRICHER_CALLS + len(faults):
            yield f"order {trial.order_id} called the enricher {calls} times, with {len(faults)} faults"


def _repeated_rejects(seen: Seen) -> Iterator[str]:
    """Rejects that were sent twice although ingest did not die between the send and the delete."""
    killed = {i.request.text for i in seen.injections if i.label == "F6"}
    for source, count in Counter(m.attributes["sourceMessageId"] for m in seen.observed.rejected).items():
        if count > 1 and not killed:
            yield f"message {source} was rejected {count} times, and ingest never died"


def _repeated_events(seen: Seen) -> Iterator[str]:
    """Events that were published more often than the faults of the publisher explain."""
    faults = sum(injection.label == "F27" for injection in seen.injections)
    set_back = {trial.order_id for trial in seen.trials if trial.scenario.fault == "F26"}
    return repeated_events(seen.observed, faults, set_back)


def _jumped(entry: LedgerEntry) -> bool:
    """Whether the clock jumped while the order was processed, by the times in its history."""
    times = [datetime.fromisoformat(step.at) for step in entry.history]
    return any(abs((after - before).total_seconds()) > JUMP_SECONDS for before, after in pairwise(times))


def _order_id(arn: str) -> str | None:
    name = ExecutionName.in_arn(arn)
    return name.order_id if name else None


def blamed(trials: Iterable[Trial], found: Sequence[str]) -> Counter[str]:
    """How many violations name an order with the fault, by fault."""
    return Counter(
        fault for trial in trials for sentence in found if trial.order_id in sentence for fault in trial.faults
    )


def report(seed: int, orders: int, trials: Iterable[Trial], seen: Seen, found: Sequence[str]) -> str:
    """For each order that a violation names: its schedule, its events, its item and its executions."""
    if not found:
        return ""
    named = [trial for trial in trials if any(trial.order_id in sentence for sentence in found)]
    lines = [f"seed {seed}, {orders} orders; run it again with: make faults SEED={seed} ORDERS={orders}", *found]
    for trial in named:
        entry = seen.observed.entries.get(trial.order_id)
        lines += [
            "",
            trial.plan(),
            "  what happened, from the start of the seed:",
            *(f"    {note}" for note in trial.notes),
        ]
        lines += ["  in the ledger:", *(f"    {line}" for line in (_item(entry) if entry else ["nothing"]))]
        lines += ["  its executions:"]
        lines += [
            f"    {record.status} {record.error_type or ''} {record.arn}"
            for record in seen.observed.records
            if trial.order_id in record.input
        ]
        lines += ["  injected:"]
        lines += [
            f"    {injection.label} {seen.rules[injection.rule].action} at {injection.request.operation}"
            for injection in seen.injections
            if trial.order_id in injection.request.text
        ]
    return "\n".join(lines)


def _item(entry: LedgerEntry) -> list[str]:
    head = f"{entry.state}, attempt {entry.attempt}, version {entry.version}, enrich began {entry.starts} times"
    notes = [
        f"{name}: {value}"
        for name, value in (
            ("error", entry.error),
            ("executionStatus", entry.execution_status),
            ("conflicts", entry.conflicts),
        )
        if value
    ]
    history = [
        f"{step.at}  {step.attempt}  {step.state}  {step.execution_arn or step.detail or ''}" for step in entry.history
    ]
    return [head, *notes, *history]
