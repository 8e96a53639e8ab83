"""A model of all that acts on one order: messages, executions and their processes, the reconciler, an operator, faults.

A `World` is the whole state. A move is one atomic action on the queue, on Lambda's list of executions, or on the ledger
item. So the order of moves describes a process that dies or stalls between two actions, a reconciler that is late or
runs twice, and a message that is delivered again at any time:

* `progress` lists what happens by itself, sooner or later;
* `mishaps` lists what may or may not happen: faults and people's actions, each limited by a budget, and the actions of
  stalled processes, which may come at any time or never.

Most promises are about a world in which nothing more happens by itself (`explore.wrong_at_rest`).
"""

from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import NamedTuple

from shared.executions.names import MAX_ATTEMPT
from shared.ledger.states import RETRYABLE, TERMINAL, State
from tests.protocol import ledger_model as ledger
from tests.protocol.ledger_model import EDGES, Item, Rules

# Lambda's statuses of an execution. DELETED: it was deleted, and Lambda no longer knows it.
RUNNING = "RUNNING"
SUCCEEDED = "SUCCEEDED"
FAILED = "FAILED"
TIMED_OUT = "TIMED_OUT"
STOPPED = "STOPPED"
DELETED = "DELETED"
NOT_SUCCEEDED = frozenset({FAILED, TIMED_OUT, STOPPED, DELETED})

# How an execution ended, where that matters.
ANOTHERS = "the order was another's"
RECORDED = "it answered with another's result"

# What a process does next. Each step makes a few writes and ends with a checkpoint.
CLAIM = "claim"
RECORD_ENRICHMENT = "record the enrichment"
CHECKPOINT_ENRICH = "checkpoint enrich"
CHECKPOINT_RESUMED = "checkpoint enrich, without a wait"
FINALIZE = "begin to finalize"
COMPLETE = "complete"
CHECKPOINT_FINALIZE = "checkpoint finalize"
RECORD_FAILURE = "record the failure"
CHECKPOINT_FAILURE = "checkpoint the failure"

FIRST_OF_STEP: Mapping[str, str] = {
    CLAIM: CLAIM,
    RECORD_ENRICHMENT: CLAIM,
    CHECKPOINT_ENRICH: CLAIM,
    CHECKPOINT_RESUMED: CLAIM,
    FINALIZE: FINALIZE,
    COMPLETE: FINALIZE,
    CHECKPOINT_FINALIZE: FINALIZE,
    RECORD_FAILURE: RECORD_FAILURE,
    CHECKPOINT_FAILURE: RECORD_FAILURE,
}
"""Where Lambda's next process starts if the one at this point is gone: at the beginning of the step."""
MARKS_LATE = "reconciler marks late"
"""The reconciler had nothing to write when it looked, but would have by the time it writes its mark."""
CANCELS_LATE = "operator cancels late"
"""The owner was running when the operator looked, and has ended by the time of the write."""
FORGETS = "operator forgets"
DELETES = "operator deletes"
RESUMES = "operator retries from finalize"
LOST = "the item is lost"
EXPIRES = "the item expires"
SET_BACK = "the item is set back to version "
CHECKPOINTS = frozenset({CHECKPOINT_ENRICH, CHECKPOINT_RESUMED, CHECKPOINT_FINALIZE, CHECKPOINT_FAILURE})
WRITES: Mapping[str, State] = {
    CLAIM: State.ENRICHING,
    RECORD_ENRICHMENT: State.WAITING,
    FINALIZE: State.FINALIZING,
    COMPLETE: State.COMPLETED,
    RECORD_FAILURE: State.FAILED,
}
"""The order's state after each write of a process."""


class Fault(IntEnum):
    """What happens only as often as a budget allows: faults, and what people do."""

    INGEST_DIES = 0
    """Ingest dies after the start and before the message is deleted, so the message comes again."""
    CRASH = 1
    """A process dies, and Lambda starts another."""
    STALL = 2
    """A process hangs, and Lambda starts another. Writes of the first still arrive; its checkpoint is refused."""
    STOP = 3
    TIMEOUT = 4
    DELETE = 5
    """Someone deletes the execution that owns the order. Another that has not written would leave no trace anywhere."""
    FORGET = 6
    """Lambda's retention ends: the name of an ended execution is free again."""
    ENRICHER = 7
    """The enricher fails, or its answer is not valid."""
    RETRY = 8
    CANCEL = 9
    DIRECT = 10
    """Someone invokes the orchestrator without a name."""
    STRAY = 11
    """Someone invokes it with the name of an attempt that no retry asked for."""
    LOSE = 12
    """Someone deletes the order's item."""
    SET_BACK = 13
    """Someone puts an older version of the item back, as a restore from a backup does."""
    RESUME = 14
    """A retry from finalize."""
    ERASE = 15
    """Someone forgets an ended order, and may then delete its executions."""
    EXPIRE = 16
    """The ledger's retention of an ended order is over. A producer may then send another order with the id."""


class Message(NamedTuple):
    """An order's message, and how often the queue will still deliver it."""

    body: str
    deliveries: int


class Execution(NamedTuple):
    """One execution, as Lambda knows it. A process is described by what it does next.

    `name` is the attempt in its name, or None without a name. `live` is the process that Lambda waits for; a running
    execution without one is in its durable wait. `stalled` are processes that Lambda no longer waits for, because it
    replaced them or because the execution has ended. `how` is ANOTHERS or RECORDED if it ended in that way.
    """

    name: int | None
    body: str
    status: str = RUNNING
    forgotten: bool = False
    live: str | None = CLAIM
    stalled: tuple[str, ...] = ()
    how: str = ""

    def ended(self, status: str, how: str = "") -> "Execution":
        """The ended execution. Its process may not know of the end, so it counts as stalled."""
        return Execution(self.name, self.body, status, self.forgotten, None, with_stalled(self.stalled, self.live), how)


class World(NamedTuple):
    """Everything about one order.

    Decided but not yet done: `starting`, starts of retries, as (name, body); `stopping`, executions of cancelled orders
    that must be stopped; `noting`, executions whose order the reconciler rejected and must note as conflicts.
    `marked`: executions that need no write to the ledger, so the reconciler does not read them again.
    """

    item: Item | None
    executions: tuple[Execution, ...]
    messages: tuple[Message, ...]
    rejected: frozenset[str]
    starting: tuple[tuple[int, str], ...]
    stopping: frozenset[int]
    noting: frozenset[int]
    marked: frozenset[int]
    budget: tuple[int, ...]


class Move(NamedTuple):
    """What happens, to which execution, and with which result."""

    kind: str
    execution: int | None = None
    outcome: str = ""

    def __str__(self) -> str:
        who = "" if self.execution is None else f"execution {self.execution}: "
        return f"{who}{self.kind}{self.outcome and ' → '}{self.outcome}"


Moves = Iterator[tuple[Move, World]]
"""Moves that are possible now, each with the world after it."""


def first_world(messages: Mapping[str, int], budget: Mapping[Fault, int]) -> World:
    """The world with only messages: the number of deliveries by body."""
    waiting = tuple(Message(body, deliveries) for body, deliveries in messages.items())
    nobody: frozenset[int] = frozenset()
    return World(
        None, (), waiting, frozenset(), (), nobody, nobody, nobody, tuple(budget.get(fault, 0) for fault in Fault)
    )


def progress(rules: Rules, world: World) -> Moves:
    """What happens by itself, sooner or later."""
    yield from _deliveries(rules, world)
    yield from _starts_of_retries(rules, world)
    for i, execution in enumerate(world.executions):
        if execution.live is not None:
            after, answer = act(rules, world, i, execution.live, live=True)
            yield Move(execution.live, i, answer), after
        elif execution.status == RUNNING:
            yield Move("the wait is over", i), change(world, i, execution._replace(live=FINALIZE))
        elif rules.reconciler:
            after, what = settle(rules, world, i)
            if after is not world:
                yield Move("reconciler", i, what), after
    for i in world.stopping:
        yield Move("operator stops", i), _stop(world, i)
    for i in world.noting:
        yield Move("reconciler notes the conflict", i), note_conflict(world, i)


def mishaps(rules: Rules, world: World) -> Moves:
    """What may happen at any time or never."""
    for i, execution in enumerate(world.executions):
        for point in dict.fromkeys(execution.stalled):
            after, answer = act(rules, world, i, point, live=False)
            yield Move(f"stalled: {point}", i, answer), after
        if can_be_marked(rules, world, i):
            looked_now = settle(rules, world, i)[0] is world
            yield Move("reconciler marks" if looked_now else MARKS_LATE, i), world._replace(marked=world.marked | {i})
        if any(world.budget):
            yield from _process_faults(world, i, execution)
            yield from _execution_faults(world, i, execution)
    yield from _deletions(world)
    if any(world.budget):
        yield from _losses(world)
        yield from _expiries(rules, world)
        yield from _people(rules, world)
        yield from _deaths_of_ingest(rules, world)


# ── messages and starts ──────────────────────────────────────────────────────────────────────────────


def start(rules: Rules, world: World, name: int | None, body: str) -> tuple[World, str]:
    """Lambda's asynchronous Invoke: the world after it, and "started", "joined" or "refused" (another body)."""
    if name is not None and rules.named_start:
        for execution in world.executions:
            if execution.name == name and not execution.forgotten:
                return world, "joined" if execution.body == body else "refused"
    return world._replace(executions=(*world.executions, Execution(name, body))), "started"


def _deliver(rules: Rules, world: World, body: str) -> tuple[World, str]:
    """Ingest's work on one message, without deleting it."""
    after, how = start(rules, world, 1, body)
    return (after._replace(rejected=after.rejected | {body}) if how == "refused" else after), how


def _deliveries(rules: Rules, world: World) -> Moves:
    for i, (body, deliveries) in enumerate(world.messages):
        if deliveries:
            after, how = _deliver(rules, world, body)
            left = _put(world.messages, i, Message(body, deliveries - 1))
            yield Move(f"ingest takes {body}", None, how), after._replace(messages=left)


def _deaths_of_ingest(rules: Rules, world: World) -> Moves:
    for body, deliveries in world.messages:
        for hit in _spend(world, Fault.INGEST_DIES) if deliveries else ():
            after, how = _deliver(rules, hit, body)
            yield Move(f"ingest takes {body} and dies", None, how), after


def _starts_of_retries(rules: Rules, world: World) -> Moves:
    for decided in dict.fromkeys(world.starting):
        name, body = decided
        after, how = start(rules, world, name, body)
        yield (
            Move(f"retry: attempt {name} of {body}", None, how),
            after._replace(starting=_less(world.starting, decided)),
        )


def _stop(world: World, i: int) -> World:
    """Lambda's StopDurableExecution after a cancel: an execution that has ended stays as it is."""
    execution = world.executions[i]
    stopped = change(world, i, execution.ended(STOPPED)) if execution.status == RUNNING else world
    return stopped._replace(stopping=world.stopping - {i})


# ── what a process does ──────────────────────────────────────────────────────────────────────────────


_AFTER_CLAIM: Mapping[str, str] = {
    ledger.CLAIMED: RECORD_ENRICHMENT,
    ledger.RECORDED_ENRICHMENT: CHECKPOINT_ENRICH,
    ledger.RESUMED: CHECKPOINT_RESUMED,
}
_ADVANCES: Mapping[str, tuple[tuple[State, ...], str]] = {
    RECORD_ENRICHMENT: ((State.ENRICHED, State.WAITING), CHECKPOINT_ENRICH),
    FINALIZE: ((State.FINALIZING,), COMPLETE),
    COMPLETE: ((State.COMPLETED,), CHECKPOINT_FINALIZE),
    RECORD_FAILURE: ((State.FAILED,), CHECKPOINT_FAILURE),
}
"""What each point after the claim writes, and the next point."""


def act(rules: Rules, world: World, i: int, point: str, *, live: bool) -> tuple[World, str]:
    """One action of a process, a write or a checkpoint, and the write's answer.

    A step without a next action ends with a checkpoint of its result or error. Only the live process can make one.
    """
    execution, item, answer, then = world.executions[i], world.item, "", None
    if point == CLAIM:
        item, answer = ledger.claim(rules, item, i, execution.name, execution.body)
        then = _AFTER_CLAIM.get(answer)
    elif point in _ADVANCES:
        targets, then = _ADVANCES[point]
        item, answer = ledger.advance(rules, item, i, targets)
        # If the failure cannot be recorded, the execution fails nevertheless.
        if answer not in ledger.HOLDS and point != RECORD_FAILURE:
            then = None
    if not live:
        changed = execution._replace(stalled=with_stalled(_less(execution.stalled, point), then))
    elif then:
        changed = execution._replace(live=then)
    else:
        changed = _checkpointed(execution._replace(live=None), point, answer)
        if changed.how == ANOTHERS and not world.budget[Fault.LOSE]:
            changed = changed._replace(how="")  # it matters only if the item is lost later
    return World(item, _put(world.executions, i, changed), *world[2:]), answer


def with_stalled(stalled: tuple[str, ...], point: str | None) -> tuple[str, ...]:
    """The stalled processes and the one at `point`, unless only its checkpoint is left, which would be refused."""
    return stalled if point is None or point in CHECKPOINTS else tuple(sorted((*stalled, point)))


def _checkpointed(execution: Execution, point: str, answer: str) -> Execution:
    """The execution after the checkpoint that ends a step."""
    if point == CHECKPOINT_ENRICH:
        return execution
    if point == CHECKPOINT_RESUMED:
        return execution._replace(live=FINALIZE)
    if point == CHECKPOINT_FINALIZE or answer == ledger.RECORDED_RESULT:
        return execution.ended(SUCCEEDED, "" if point == CHECKPOINT_FINALIZE else RECORDED)
    if point == CHECKPOINT_FAILURE or answer in ledger.REFUSALS:
        anothers = answer in {ledger.ORDER_CONFLICT, ledger.ORDER_IN_PROGRESS}
        return execution.ended(FAILED, ANOTHERS if anothers and point != CHECKPOINT_FAILURE else "")
    return execution._replace(live=RECORD_FAILURE)


# ── what the reconciler does ─────────────────────────────────────────────────────────────────────────


def settle(  # noqa: PLR0911 (the design's table, row by row)
    rules: Rules, world: World, i: int
) -> tuple[World, str]:
    """What the reconciler does next for an execution that has ended. Returns the same world if there is nothing to do.

    It learns of the end from an event or a sweep, once or more often, at any time. It looks at one that succeeded when
    the order has not moved for too long, or when an operator recovers the ledger.
    """
    item, execution = world.item, world.executions[i]
    if execution.status == SUCCEEDED:
        if not rules.success:
            return world, "nothing"
        what = "makes the item" if item is None else "completes its order" if item.owner == i else "takes the order"
        return _settled(world, ledger.complete(item, i, execution.name, execution.body)), what
    end = FAILED if execution.status == DELETED else execution.status
    if item is None:
        # An execution that did not own its order cannot say how the order ended.
        anothers = execution.status == DELETED or execution.how == ANOTHERS
        if anothers or ledger.is_beyond_the_last(rules, execution.name):
            return world, "nothing"
        return _settled(world, ledger.make(None, i, execution.name, execution.body, State(end))), "makes the item"
    if item.owner == i:
        return _settled(world, ledger.end(item, State(end))), f"writes {end}"
    is_next = ledger.is_next_attempt(rules, item, execution.name)
    if i in item.owners or execution.status == DELETED or ledger.is_beyond_the_last(rules, execution.name):
        return world, "nothing"
    if i in world.marked and not (is_next and rules.next_attempt_unmarked):
        return world, "nothing"
    if is_next:
        return _settled(world, ledger.make(item, i, execution.name, execution.body, State(end))), "makes the attempt"
    known = bodies_of(world, item) if rules.former_bodies else {item.body}
    if execution.body not in known and i not in item.conflicts | world.noting and rules.late_reject:
        return world._replace(
            rejected=world.rejected | {execution.body}, noting=world.noting | {i}
        ), "rejects its order"
    return world, "nothing"


def can_be_marked(rules: Rules, world: World, i: int) -> bool:
    """Whether the reconciler may mark an ended execution now.

    Either it owned no attempt and its body was the order's when the reconciler looked, perhaps long ago, or its name
    has a number after the last attempt.
    """
    item, execution = world.item, world.executions[i]
    if not rules.reconciler or i in world.marked or execution.status not in NOT_SUCCEEDED - {DELETED}:
        return False
    if ledger.is_beyond_the_last(rules, execution.name):
        return True
    if item is None or i in item.owners or i in item.conflicts | world.noting:
        return False
    return execution.body in bodies_of(world, item)


def bodies_of(world: World, item: Item) -> set[str]:
    """The bodies that the order had in its attempts."""
    return {world.executions[owner].body for owner in item.owners}


def note_conflict(world: World, i: int) -> World:
    """The reconciler's write after a reject. The order may have changed since the reject."""
    item = world.item._replace(conflicts=world.item.conflicts | {i}) if world.item else None
    return world._replace(item=item, noting=world.noting - {i})


def _settled(world: World, item: Item) -> World:
    return world if item is world.item else world._replace(item=item)


# ── faults and people ────────────────────────────────────────────────────────────────────────────────


def _process_faults(world: World, i: int, execution: Execution) -> Moves:
    live = execution.live
    if live is None:
        return
    first = FIRST_OF_STEP[live]
    for hit in _spend(world, Fault.CRASH) if live != first else ():
        yield Move("crashes", i), change(hit, i, execution._replace(live=first))
    for hit in _spend(world, Fault.STALL):
        stalled = with_stalled(execution.stalled, live)
        yield Move("stalls", i), change(hit, i, execution._replace(live=first, stalled=stalled))
    for hit in _spend(world, Fault.ENRICHER) if live == RECORD_ENRICHMENT else ():
        yield Move("the enricher fails", i), change(hit, i, execution._replace(live=RECORD_FAILURE))


def _execution_faults(world: World, i: int, execution: Execution) -> Moves:
    if execution.status == RUNNING:
        for hit in _spend(world, Fault.STOP):
            yield Move(STOPPED, i), change(hit, i, execution.ended(STOPPED))
        for hit in _spend(world, Fault.TIMEOUT):
            yield Move(TIMED_OUT, i), change(hit, i, execution.ended(TIMED_OUT))
        for hit in _spend(world, Fault.DELETE) if world.item and world.item.owner == i else ():
            yield Move(DELETED, i), change(hit, i, execution.ended(DELETED)._replace(forgotten=True))
    elif execution.name is not None and not execution.forgotten:
        for hit in _spend(world, Fault.FORGET):
            yield Move("its name is forgotten", i), change(hit, i, execution._replace(forgotten=True))


def _losses(world: World) -> Moves:
    if world.item is None:
        return
    for hit in _spend(world, Fault.LOSE):
        yield Move(LOST), hit._replace(item=None)
    for hit in _spend(world, Fault.SET_BACK):
        bodies = tuple(execution.body for execution in world.executions)
        for version in ledger.versions(world.item):
            yield Move(f"{SET_BACK}{version}"), hit._replace(item=ledger.set_back(world.item, version, bodies))


def _expiries(rules: Rules, world: World) -> Moves:
    """The end of an item that has ended: only such an item has a time of expiry."""
    if world.item is None or world.item.state not in TERMINAL:
        return
    for after in _spend(world, Fault.EXPIRE):
        if not rules.kept_longer:
            yield Move(EXPIRES), after._replace(item=None)
        elif not _has_traces(world):
            # All that was about the order is gone, and its id is free.
            anew = first_world({"B": 1}, {})
            yield Move(EXPIRES), anew._replace(budget=after.budget)


def _has_traces(world: World) -> bool:
    """Whether a message, a process or an execution that Lambda knows can still act on the order."""
    known = any(e.status == RUNNING or e.stalled or not e.forgotten for e in world.executions)
    waiting = any(message.deliveries for message in world.messages)
    return known or waiting or bool(world.starting or world.stopping or world.noting)


def _about_an_ended_order(rules: Rules, world: World, item: Item) -> Moves:
    if item.state in RETRYABLE and item.attempt < rules.last_attempt:
        for after in _spend(world, Fault.RETRY):
            for body in dict.fromkeys((item.body, "C")):
                decided = after._replace(item=ledger.unmarked(rules, item))
                yield Move(f"operator retries with {body}"), _starting(decided, item.attempt + 1, body)
        for after in _spend(world, Fault.RESUME) if State.ENRICHED in item.reached else ():
            marked = after._replace(item=item._replace(mark=ledger.RESUME))
            yield Move(f"{RESUMES} and dies"), marked
            yield Move(RESUMES), _starting(marked, item.attempt + 1, item.body)
    for after in _spend(world, Fault.ERASE):
        yield Move(FORGETS), after._replace(item=ledger.forgotten(item))


def _deletions(world: World) -> Moves:
    """What follows a forget, unless the operator dies: the owners' executions are deleted, then the conflicts'."""
    item = world.item
    if item is None or item.mark != ledger.FORGOTTEN:
        return
    owners, conflicts = (
        [i for i in those if world.executions[i].status != DELETED] for those in (item.owners, item.conflicts)
    )
    for i in owners[:1] or conflicts:
        if world.executions[i].status != RUNNING:
            yield Move(DELETES, i), change(world, i, world.executions[i].ended(DELETED)._replace(forgotten=True))


def _people(rules: Rules, world: World) -> Moves:
    item = world.item
    if item and item.state in TERMINAL and item.mark != ledger.FORGOTTEN:
        yield from _about_an_ended_order(rules, world, item)
    if item and (item.state, State.CANCELLED) in EDGES:
        for after in _spend(world, Fault.CANCEL):
            cancelled = after._replace(item=ledger.cancel(item))
            running = world.executions[item.owner].status in {RUNNING, DELETED}
            kind = "operator cancels" if running else CANCELS_LATE
            yield Move(f"{kind} and dies"), cancelled
            yield Move(kind), cancelled._replace(stopping=world.stopping | {item.owner})
    for after in _spend(world, Fault.DIRECT):
        yield Move("someone invokes without a name"), start(rules, after, None, "A")[0]
    for after in _spend(world, Fault.STRAY):
        for name in (2, 3, MAX_ATTEMPT, MAX_ATTEMPT + 1):
            yield Move(f"someone starts attempt {name}"), start(rules, after, name, "C")[0]


def _starting(world: World, name: int, body: str) -> World:
    """The start of a retry is on its way."""
    return world._replace(starting=tuple(sorted((*world.starting, (name, body)))))


# ── parts ────────────────────────────────────────────────────────────────────────────────────────────


def _spend(world: World, fault: Fault) -> tuple[World, ...]:
    """The world with one such fault less to come, if any was left."""
    left = world.budget[fault]
    return (world._replace(budget=_put(world.budget, fault, left - 1)),) if left else ()


def change(world: World, i: int, execution: Execution) -> World:
    """The world with an execution changed."""
    return world._replace(executions=_put(world.executions, i, execution))


def _put(values: tuple, i: int, value: object) -> tuple:
    return (*values[:i], value, *values[i + 1 :])


def _less(values: tuple, value: object) -> tuple:
    """Without the first such value."""
    i = values.index(value)
    return values[:i] + values[i + 1 :]
