"""What must be true after all work has ended, whatever failed before. Each violation is a sentence.

- Every accepted order is in exactly one terminal state, with a history of legal transitions without gap or repeat, in
  ascending attempts with one owner each.
- There is one execution for each order and attempt, and no attempt that was not requested.
- The ledger and Lambda agree on every end: the table "Which ends agree" of docs/architecture.md.
- Every execution that ended without success is recorded in an order, or has a mark: nobody has to examine it again.
- Every message is processed, rejected with its reason, or in the dead-letter queue; no other queue has a message.
- Every transition has its event and is counted, and no event tells of a transition that is not in the ledger.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from shared.errors import REFUSALS, InvalidOrder, OrderConflict
from shared.executions.names import ExecutionName, execution_of, stack_hash
from shared.ledger.entry import LedgerEntry, Transition
from shared.ledger.settlement import MAX_CONFLICTS
from shared.ledger.states import RETRYABLE, TERMINAL, TRANSITIONS, State
from shared.orders.order import Order, parse_order
from tests.faults.events import Event, of_ledger, states_of_ledger
from tests.faults.observed import NOT_ENDED, Message, Observed, Record

UNSUCCESSFUL = frozenset({"FAILED", "TIMED_OUT", "STOPPED"})
REFUSED = frozenset(refusal.__name__ for refusal in REFUSALS)
AGREEING = {
    State.COMPLETED: "SUCCEEDED",
    State.FAILED: "FAILED",
    State.TIMED_OUT: "TIMED_OUT",
    State.STOPPED: "STOPPED",
    State.CANCELLED: "STOPPED",
}
# The pipeline writes these ends itself, before the execution ends on Lambda. So the execution may still end in another
# way.
WRITTEN_BEFORE_THE_END = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED})


@dataclass
class Sent:
    """The input of a run, and the actions of operators.

    `messages`: the bodies sent to the orders queue, by message id. `direct`: the bodies of direct invokes without a
    name. `corrections`: the corrected bodies of retries. `retries`: the number of started retries, by order id.
    """

    messages: dict[str, str] = field(default_factory=dict)
    direct: list[str] = field(default_factory=list)
    corrections: list[str] = field(default_factory=list)
    retries: Counter[str] = field(default_factory=Counter)

    def digests(self) -> dict[str, set[str]]:
        """The digests of all orders that were sent, by order id."""
        known: dict[str, set[str]] = {}
        for body in (*self.messages.values(), *self.direct, *self.corrections):
            if isinstance(order := _order(body), Order):
                known.setdefault(order.order_id, set()).add(order.digest())
        return known


def violations(observed: Observed, sent: Sent) -> list[str]:
    """All violations; empty if everything is correct."""
    return [
        *(f"{count} messages are left in {queue}" for queue, count in observed.left.items() if count),
        *(sentence for entry in observed.entries.values() for sentence in history_faults(entry)),
        *_orders_nobody_sent(observed, sent),
        *_messages(observed, sent),
        *_rejects(observed, sent),
        *_executions(observed, sent),
        *_ends(observed),
        *_unmarked(observed),
        *_events(observed),
    ]


def repeated_events(observed: Observed, redeliveries: int, set_back: Collection[str] = ()) -> Iterator[str]:
    """Events that were published more often than their batch was delivered.

    `set_back`: the orders whose item was replaced by an older one, so that they reach states a second time.
    """
    for event, count in Counter(observed.events or ()).items():
        if count > 1 + redeliveries + (event.order_id in set_back):
            yield f"{_text(event)} was published {count} times, with {redeliveries} redeliveries"


def _events(observed: Observed) -> Iterator[str]:
    """Transitions without their event, events without their transition, and states that were counted too few times."""
    if observed.events is None or observed.counted is None:
        return
    published, wanted = set(observed.events), of_ledger(observed.entries.values())
    yield from (f"{_text(event)} was not published" for event in wanted - published)
    yield from (f"{_text(event)} was published, and the ledger does not have it" for event in published - wanted)
    for state, count in states_of_ledger(observed.entries.values()).items():
        if observed.counted[state] < count:
            yield f"{observed.counted[state]} transitions to {state} were counted, of {count} in the ledger"


def _text(event: Event) -> str:
    return f"the event {event.detail_type} of version {event.version} of order {event.order_id}"


def history_faults(entry: LedgerEntry) -> Iterator[str]:
    """The faults in one order's history."""
    order, steps = f"order {entry.order_id}", entry.history
    path = " ".join(step.state for step in steps)
    if entry.state not in TERMINAL:
        yield f"{order} has not ended: {path}"
    if steps[0].state is not State.RECEIVED:
        yield f"{order} begins with {steps[0].state}: {path}"
    for before, after in pairwise(steps):
        if after.state not in TRANSITIONS[before.state]:
            yield f"{order} went from {before.state} to {after.state}: {path}"
        if after.attempt != before.attempt + (after.state is State.RECEIVED):
            yield f"{order} went from attempt {before.attempt} to {after.attempt} with {after.state}: {path}"
    if (entry.state, entry.attempt, entry.version) != (steps[-1].state, steps[-1].attempt, len(steps)):
        yield f"{order} is {entry.state}, attempt {entry.attempt}, version {entry.version}; its history says: {path}"
    yield from _owner_faults(entry)


def _owner_faults(entry: LedgerEntry) -> Iterator[str]:
    order = f"order {entry.order_id}"
    for step in entry.history:
        if (step.execution_arn is not None) != (step.state is State.RECEIVED):
            yield f"{order}: {step.state} of attempt {step.attempt} names the owner {step.execution_arn}"
    owners = [step.execution_arn for step in entry.history if step.execution_arn]
    if len(set(owners)) < len(owners):
        yield f"{order} was owned twice by one execution: {owners}"
    if owners and owners[-1] != entry.execution_arn:
        yield f"{order} is owned by {entry.execution_arn}; its history says {owners[-1]}"


def _orders_nobody_sent(observed: Observed, sent: Sent) -> Iterator[str]:
    digests = sent.digests()
    for order_id, entry in observed.entries.items():
        if entry.order_digest not in digests.get(order_id, ()):
            yield f"order {order_id} is in the ledger with a body that nobody sent"
        if entry.attempt > 1 + sent.retries[order_id]:
            yield f"order {order_id} is in attempt {entry.attempt} after {sent.retries[order_id]} retries"


def _messages(observed: Observed, sent: Sent) -> Iterator[str]:
    """Messages of the orders queue that were lost or wrongly rejected."""
    dead = {message.id for message in observed.dead}
    reasons: dict[str, set[str]] = {}
    for reject in observed.rejected:
        reasons.setdefault(_source(reject), set()).add(reject.attributes.get("reasonCode", "no reason"))
    for message_id, body in sent.messages.items():
        read = _order(body)
        if isinstance(read, InvalidOrder):
            if message_id not in dead and reasons.get(message_id) != {read.code}:
                yield f"message {message_id} is no order and was not rejected as {read.code}: {body[:80]}"
        elif message_id in reasons:
            yield from _message_rejected(observed, read, message_id, reasons[message_id])
        elif message_id not in dead:
            yield from _message_taken(observed, sent, read, message_id)


def _message_rejected(observed: Observed, order: Order, message_id: str, reasons: set[str]) -> Iterator[str]:
    entry = observed.entries.get(order.order_id)
    if reasons != {OrderConflict.code}:
        yield f"message {message_id} is a valid order and was rejected as {', '.join(reasons)}"
    elif entry is None:
        yield f"message {message_id} was rejected as a conflict with order {order.order_id}, which is not there"
    elif entry.order_digest == order.digest() and entry.attempt == 1:
        yield f"message {message_id} was rejected and is the order {order.order_id} itself"


def _message_taken(observed: Observed, sent: Sent, order: Order, message_id: str) -> Iterator[str]:
    entry = observed.entries.get(order.order_id)
    if entry is None:
        yield f"message {message_id} is lost: order {order.order_id} is neither in the ledger nor rejected nor dead"
    elif entry.order_digest != order.digest() and not _is_corrected(entry, sent):
        arns = {conflict["executionArn"] for conflict in entry.conflicts}
        bodies = {m.body for m in observed.rejected if _source(m) in arns}
        if order.canonical_bytes().decode() not in bodies:
            yield f"message {message_id} is lost: order {order.order_id} has another body, and nobody was told"


def _is_corrected(entry: LedgerEntry, sent: Sent) -> bool:
    corrected = {order.digest() for body in sent.corrections if isinstance(order := _order(body), Order)}
    return entry.attempt > 1 and entry.order_digest in corrected


def _rejects(observed: Observed, sent: Sent) -> Iterator[str]:
    """Rejects with no message, bad input or recorded conflict as their source, or with a changed body."""
    inputs = {
        record.arn: record.input
        for record in observed.records
        if record.status in UNSUCCESSFUL and _order_of(observed, record) is None
    }
    conflicts = {c["executionArn"] for entry in observed.entries.values() for c in entry.conflicts}
    for reject in observed.rejected:
        source = _source(reject)
        if source in sent.messages:
            if reject.body != sent.messages[source]:
                yield f"message {source} was rejected with another body: {reject.body[:80]}"
        elif source in inputs:
            if reject.body != inputs[source]:
                yield f"the input of {source} was rejected with another body: {reject.body[:80]}"
        elif source not in conflicts:
            yield f"a reject tells of {source}, which is no message sent, no input without an order, no conflict noted"
    rejected = {_source(reject) for reject in observed.rejected}
    for arn in conflicts - rejected:
        yield f"the conflict of {arn} is noted and was not rejected"
    for arn in inputs.keys() - rejected:
        yield f"the input of {arn} is no order and was not rejected"


def _executions(observed: Observed, sent: Sent) -> Iterator[str]:
    """Executions that have not ended, and more than one for an attempt, besides direct invokes."""
    named: Counter[tuple[str, int]] = Counter()
    unnamed: Counter[str] = Counter()
    for record in observed.records:
        if record.status in NOT_ENDED:
            yield f"execution {record.arn} is {record.status}"
        name = ExecutionName.in_arn(record.arn)
        order = _order_of(observed, record)
        if name is not None and name.stack == stack_hash(observed.stack_id):
            named[name.order_id, name.attempt] += 1
        elif order is not None:
            unnamed[order.order_id] += 1
    directly = Counter(order.order_id for body in sent.direct if isinstance(order := _order(body), Order))
    for order_id, count in unnamed.items():
        if count > directly[order_id]:
            yield f"order {order_id} has {count} executions without its name, after {directly[order_id]} direct invokes"
    for (order_id, attempt), count in named.items():
        if count > 1:
            yield f"attempt {attempt} of order {order_id} has {count} executions"
        if attempt > 1 + sent.retries[order_id]:
            yield f"attempt {attempt} of order {order_id} was started after {sent.retries[order_id]} retries"


def _ends(observed: Observed) -> Iterator[str]:
    """Ends on which the ledger and Lambda disagree, for each execution of an order that Lambda still has."""
    for record in observed.records:
        order = _order_of(observed, record)
        if order is None or record.status in NOT_ENDED:
            continue
        entry = observed.entries.get(order.order_id)
        if entry is None:
            yield f"execution {record.arn} ended {record.status}, and order {order.order_id} is not in the ledger"
        elif record.arn == entry.execution_arn:
            yield from _owner_ends(entry, record)
        elif record.arn in entry.owners:
            yield from _earlier_owner_ends(entry, record)
        else:
            yield from _stranger_ends(observed, entry, record, order)


def _unmarked(observed: Observed) -> Iterator[str]:
    """Executions that ended without success and are recorded neither in an order nor by a mark."""
    for record in observed.records:
        if record.status not in UNSUCCESSFUL or record.arn in observed.marked:
            continue
        order = _order_of(observed, record)
        entry = observed.entries.get(order.order_id) if order else None
        if entry is None or not (record.arn in entry.owners or entry.has_conflict(record.arn)):
            yield f"execution {record.arn} ended {record.status}, and neither an order nor a mark tells of it"


def _owner_ends(entry: LedgerEntry, record: Record) -> Iterator[str]:
    if entry.state not in TERMINAL:
        return  # `history_faults` reports it
    agrees = (
        record.status == AGREEING[entry.state]
        or (entry.state is State.CANCELLED and record.error_type == "OrderCancelled")
        or (
            entry.state in WRITTEN_BEFORE_THE_END
            and record.status in UNSUCCESSFUL
            and record.status == entry.execution_status
        )
    )
    if not agrees:
        yield (
            f"order {entry.order_id} is {entry.state} and its execution {record.status} ({record.error_type}),"
            f" of which the ledger notes {entry.execution_status}"
        )
    if record.status == "SUCCEEDED" and entry.state is State.COMPLETED:
        yield from _result_faults(entry, record)


def _earlier_owner_ends(entry: LedgerEntry, record: Record) -> Iterator[str]:
    """The ledger has the execution status of a failed attempt only until the next attempt."""
    end = _end_of_attempt_owned_by(entry.history, record.arn)
    if record.status != AGREEING.get(end.state) and (
        end.state is not State.FAILED or record.status not in UNSUCCESSFUL
    ):
        yield (f"attempt {end.attempt} of order {entry.order_id} ended {end.state}, and its execution {record.status}")


def _stranger_ends(observed: Observed, entry: LedgerEntry, record: Record, order: Order) -> Iterator[str]:
    """An execution that never owned its order: refused, answered with the recorded result, or dead before its claim."""
    same = entry.order_digest == order.digest()
    me = execution_of(order, record.arn, observed.stack_id)
    # An execution that was refused as a duplicate, before a retry changed the order's body, is no conflict.
    was_a_duplicate = record.arn in observed.marked and entry.attempt > 1
    told = entry.has_conflict(record.arn) or len(entry.conflicts) >= MAX_CONFLICTS or was_a_duplicate
    if record.status == "SUCCEEDED":
        if entry.state is not State.COMPLETED or not same:
            yield f"execution {record.arn} succeeded for order {entry.order_id}, which is {entry.state} by another"
        else:
            yield from _result_faults(entry, record)
    elif entry.state in RETRYABLE and me.named and me.attempt == entry.attempt + 1 and record.error_type not in REFUSED:
        yield f"execution {record.arn} ended {record.status}, a retry of order {entry.order_id} the ledger knows not of"
    elif not same and not told:
        yield f"execution {record.arn} came with another body of order {entry.order_id}, and nobody was told"


def _result_faults(entry: LedgerEntry, record: Record) -> Iterator[str]:
    answered = json.loads(record.result or "{}").get("processedAt")
    recorded = (entry.result or {}).get("processedAt")
    if answered is None or answered != recorded:
        yield f"execution {record.arn} answered {answered}, and the ledger has {recorded}"


def _end_of_attempt_owned_by(history: Sequence[Transition], arn: str) -> Transition:
    attempt = next(step.attempt for step in history if step.execution_arn == arn)
    return [step for step in history if step.attempt == attempt][-1]


def _source(reject: Message) -> str:
    """The message, or the execution, that was rejected."""
    return reject.attributes.get("sourceMessageId", f"no source, in the reject {reject.id}")


def _order(body: str) -> Order | InvalidOrder:
    try:
        return parse_order(body)
    except InvalidOrder as error:
        return error


def _order_of(observed: Observed, record: Record) -> Order | None:
    """The order that the execution started with; None if the input is no order, or not the one in its name."""
    try:
        order = parse_order(record.input)
        execution_of(order, record.arn, observed.stack_id)
    except InvalidOrder:
        return None
    return order
