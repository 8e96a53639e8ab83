"""Runs one seed: starts an empty stack, runs the schedule, checks the result."""

import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from durable_local.faults import Cut, Fail, Kill, Point, Rule
from shared.ledger.states import RETRYABLE, TERMINAL
from tests.faults.events import Consumer
from tests.faults.observed import observe
from tests.faults.seeded.findings import Seen, blamed, check, report
from tests.faults.seeded.scenarios import PLAIN
from tests.faults.seeded.schedule import Schedule, schedule
from tests.faults.seeded.sources import (
    NEWER_ENRICHER,
    NEWER_RECONCILER,
    OLDER,
    OLDER_RECONCILER,
    ONE_MORE_FIELD,
    Clocks,
    Copy,
    Edit,
)
from tests.faults.seeded.trial import COMPLETED, Trial
from tests.faults.seeded.world import ORCHESTRATOR, PUBLISHER, World
from tools.pipeline import local_stack

TIME_SCALE: Final = 40
"""The executions' clock is this much faster. A wait of 40 s takes 1 s; the ledger's retries (3 to 6 min) 5 to 10 s."""

EXECUTION_TIMEOUT_SECONDS: Final = 900
"""22 s here for waits. The run time of a handler counts in real time."""

LONG_WAIT_SECONDS: Final = 480
"""12 s here: long enough for a deployment."""

SHORT_WAIT_SECONDS: Final = 40
CONCURRENCY: Final = 8

# Real time. The template's values are minutes, and a run would spend most of its time on them.
ORDERS_VISIBILITY_SECONDS: Final = 8
EVENTS_VISIBILITY_SECONDS: Final = 3
# A start hangs for three tries of 5 s. Its neighbours must not be redelivered in that time.
BATCH_VISIBILITY_SECONDS: Final = 40

SWEEP_EVERY_SECONDS: Final = 4
# The sweep examines orders without a transition for five minutes. Its clock is ahead by more than the others jump.
SWEEP_CLOCK_AHEAD_SECONDS: Final = 3 * 3600
MAX_JUMP_SECONDS: Final = 3600
OUTAGE_SECONDS: Final = 1.5

MAX_TRIES: Final = 3
"""Of the publisher's client."""
PUBLISHER_FAULTS: Final = (
    *(Kill(point) for point in Point),
    Fail(500, "InternalException"),
    Cut(),
    Cut(Point.APPLIED),
)

WAIT_TIMEOUT_SECONDS: Final = 120
"""The limit for each wait of a script and for the end of all work. A busy machine needs some of it."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """The result of a seed. `violations` are sentences; `blamed` counts the faults of the orders that they name.

    `details` is the report to read after a violation. `states`: the number of orders by final state.
    """

    seed: int
    orders: int
    injected: Counter[str]
    violations: list[str]
    blamed: Counter[str]
    details: str
    states: Counter[str]
    seconds: float


def run(
    seed: int,
    orders: int,
    edits: Sequence[Edit] = (),
    say: Say = lambda _: None,
    timeout_seconds: float = WAIT_TIMEOUT_SECONDS,
) -> Outcome:
    """Runs the seed's schedule on a stack of its own that deploys the sources with `edits`.

    `timeout_seconds` limits each wait.
    """
    began = time.monotonic()
    plan = schedule(seed, orders)
    with tempfile.TemporaryDirectory() as folder:
        copy, clocks = Copy(Path(folder) / "pipeline"), Clocks(Path(folder) / "clocks.json")
        copy.edit([*edits, *clocks.edits])
        copy.keep_older([*OLDER, *OLDER_RECONCILER])
        clocks.set("OrderSweep", SWEEP_CLOCK_AHEAD_SECONDS)
        say("starting a stack")
        with (
            local_stack(
                template=copy.template,
                parameters={
                    "WaitSeconds": str(LONG_WAIT_SECONDS),
                    "ExecutionTimeoutSeconds": str(EXECUTION_TIMEOUT_SECONDS),
                    "IngestConcurrency": "4",
                },
                concurrency=CONCURRENCY,
                time_scale=TIME_SCALE,
                faults=True,
            ) as stack,
            World(stack, clocks, timeout_seconds) as world,
        ):
            consumer = Consumer(stack)
            problems = _Run(world, plan, copy, say, timeout_seconds).run()
            say("reading queues, ledger, executions and events")
            world.look()
            observed = observe(stack, consumer)
            seen = Seen(plan.trials, observed, world.sent, world.injections(), world.rules, stack.faults.requests())
    violations, injected = check(seen, world.happened)
    violations = [*problems, *violations]
    return Outcome(
        seed,
        orders,
        injected,
        violations,
        blamed(plan.trials, violations),
        report(seed, orders, plan.trials, seen, violations),
        Counter(str(entry.state) for entry in seen.observed.entries.values()),
        time.monotonic() - began,
    )


class _Run:
    """The waves of a schedule, and the sweeps and background faults that run at the same time."""

    def __init__(self, world: World, plan: Schedule, copy: Copy, say: Say, timeout_seconds: float) -> None:
        self._world = world
        self._plan = plan
        self._copy = copy
        self._say = say
        self._timeout_seconds = timeout_seconds
        self._problems: list[str] = []
        # Even seeds sweep from the start. Odd seeds must settle by events alone until the sweep starts at the end.
        self._sweeps_from_the_start = plan.seed % 2 == 0

    def run(self) -> list[str]:
        """Runs until all work has ended. Returns the problems of the scripts."""
        self._visibility("StatusChangesQueueUrl", EVENTS_VISIBILITY_SECONDS)
        self._visibility("OrdersQueueUrl", BATCH_VISIBILITY_SECONDS)
        with every(SWEEP_EVERY_SECONDS, self._world.sweep if self._sweeps_from_the_start else lambda: None):
            self._say("starting the orders that wait")
            self._begin(self._plan.before_deployment)
            self._until_waiting()
            self._say("deploying a new version")
            self._copy.edit([*ONE_MORE_FIELD, *NEWER_ENRICHER])
            self._world.stack.deploy({"WaitSeconds": str(SHORT_WAIT_SECONDS)})
            self._world.deployed.set()
            self._say("batches")
            for leader in self._plan.batches:
                # Each in its own batch: the start that hangs would delay giving the other one back.
                self._begin([leader])
                self._until_received(leader)
            self._visibility("OrdersQueueUrl", ORDERS_VISIBILITY_SECONDS)
            self._say(f"{len(self._plan.rest)} orders with faults")
            self._begin(self._plan.rest)
            with every(3, self._background_faults(Random(self._plan.seed))):
                self._join()
            self._world.faults.clear()
            self._world.clocks.set(ORCHESTRATOR, 0)
            self._say("deploying the newer reconciler")
            self._copy.edit(NEWER_RECONCILER)
            self._world.stack.deploy({"WaitSeconds": str(SHORT_WAIT_SECONDS)})
            self._say("waiting until the events are processed")
            self._until_quiet({trial.order_id for trial in self._plan.trials if trial.event_lost})
        if not self._sweeps_from_the_start:
            self._check_events()
        self._say("sweeping")
        # At least once after the last fault: `_until_quiet` cannot see an order that is not in the ledger yet.
        self._world.sweep()
        with every(SWEEP_EVERY_SECONDS, self._world.sweep):
            self._until_quiet(set())
        return self._problems

    # -- waves ----------------------------------------------------------------------------------------------

    def _begin(self, trials: Iterable[Trial]) -> None:
        for trial in trials:
            trial.thread = threading.Thread(target=self._script, args=(trial,), daemon=True)
            trial.thread.start()

    def _script(self, trial: Trial) -> None:
        world = self._world
        try:
            threading.Event().wait(trial.begins)
            if trial.rules:
                world.arm(trial, *trial.rules)
            trial.scenario.script(world, trial)
            if trial.retried:
                world.until_state(trial, *RETRYABLE)
                world.disarm(trial)
                world.sent.retries[trial.order_id] += 1
                world.retry(trial)
                trial.ends, trial.error = COMPLETED, None
                world.until_ended(trial, attempt=2)
        except Exception as error:  # noqa: BLE001 - any error of a script is a finding
            trial.note(f"{type(error).__name__}: {error}")
            self._problems.append(f"order {trial.order_id}: {type(error).__name__}: {error}")

    def _join(self) -> None:
        deadline = time.monotonic() + 3 * self._timeout_seconds
        for trial in self._plan.trials:
            if trial.thread is not None:
                trial.thread.join(max(0, deadline - time.monotonic()))
                if trial.thread.is_alive():
                    self._problems.append(f"order {trial.order_id}: its script did not end")

    def _until_waiting(self) -> None:
        waiting = [trial for trial in self._plan.before_deployment if trial.thread]
        self._world.until(
            lambda: all(
                trial.may_deploy.is_set() or ((entry := self._world.entry(trial)) and entry.state == "WAITING")
                for trial in waiting
            ),
            "the first orders to wait",
        )

    def _until_received(self, leader: Trial) -> None:
        for trial in (leader, *leader.neighbours):
            self._world.until_seen(trial.order_id, "ReceiveMessage")

    # -- at the same time -----------------------------------------------------------------------------------

    def _background_faults(self, random: Random) -> Callable[[], None]:
        """Makes clocks jump (F20), the publisher fail (F27), and the ledger fail for a moment (F12)."""
        turns = 0
        publisher_faults = list(PUBLISHER_FAULTS)
        random.shuffle(publisher_faults)

        def turn() -> None:
            nonlocal turns
            turns += 1
            jump = random.uniform(-MAX_JUMP_SECONDS, MAX_JUMP_SECONDS)
            self._world.clocks.set(ORCHESTRATOR, jump)
            fault = publisher_faults[turns % len(publisher_faults)]
            # Each try of the publisher's client fails, so the batch is delivered again.
            times = 1 if isinstance(fault, Kill) else MAX_TRIES
            self._world.add(Rule(fault, "events", "PutEvents", PUBLISHER, times=times, label="F27"))
            if turns % 4 == 2:
                action = random.choice([Cut(), Fail(400, "ProvisionedThroughputExceededException")])
                # Only for orders without a scenario: of two rules for one request only the first is applied.
                rules = self._world.add(
                    *(
                        Rule(action, "dynamodb", "UpdateItem", ORCHESTRATOR, trial.order_id, times=None, label="F12")
                        for trial in self._plan.rest
                        if trial.scenario is PLAIN
                    )
                )
                time.sleep(OUTAGE_SECONDS)
                for rule in rules:
                    self._world.release(rule)

        return turn

    def _visibility(self, queue: str, seconds: int) -> None:
        self._world.sqs.set_queue_attributes(
            QueueUrl=self._world.stack.outputs[queue], Attributes={"VisibilityTimeout": str(seconds)}
        )

    # -- the end --------------------------------------------------------------------------------------------

    def _until_quiet(self, but: set[str]) -> None:
        """Waits until two looks see no work except for these orders, or until the timeout: `check` reports the rest."""
        world, deadline = self._world, time.monotonic() + self._timeout_seconds
        looks = 0
        while looks < 2 and time.monotonic() < deadline:
            looks = looks + 1 if not world.moving(but) else 0
            time.sleep(0.5)

    def _check_events(self) -> None:
        """In seeds without a sweep so far: each end with an event must be in the ledger because of that event."""
        self._world.look()
        for trial in self._plan.trials:
            entry = self._world.entry(trial)
            if trial.event_lost or (entry is not None and entry.state in TERMINAL):
                continue
            if entry is not None or self._world.execution_of(trial) is not None:
                state = entry.state if entry else "not in the ledger"
                self._problems.append(f"order {trial.order_id} is {state}: the event of its end had no effect")


@contextmanager
def every(seconds: float, what: Callable[[], None]) -> Iterator[None]:
    """Calls `what` every `seconds` on a thread of its own while the block runs."""
    over = threading.Event()

    def loop() -> None:
        while not over.wait(seconds):
            what()

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
