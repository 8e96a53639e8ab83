"""One seed, from an empty stack to a verdict."""

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

from durable_local.faults import Cut, Fail, Rule
from shared.ledger.states import RETRYABLE, TERMINAL
from tests.faults.observed import observe
from tests.faults.seeded.fates import PLAIN
from tests.faults.seeded.findings import Seen, blamed, report, verdict
from tests.faults.seeded.schedule import Schedule, schedule
from tests.faults.seeded.sources import ONE_MORE_FIELD, Clocks, Copy, Edit
from tests.faults.seeded.trial import COMPLETED, Trial
from tests.faults.seeded.world import ORCHESTRATOR, World
from tools.pipeline import local_stack

TIME_SCALE: Final = 40
"""The clock of the executions. A wait of 40 s takes a second, and the ledger's policy (3 to 6 minutes) 5 to 10 s."""

EXECUTION_TIMEOUT_SECONDS: Final = 900
"""22 s here, for what only waits; what a handler works counts in real time."""

LONG_WAIT_SECONDS: Final = 480
"""12 s here: a deployment fits into it."""

SHORT_WAIT_SECONDS: Final = 40
CONCURRENCY: Final = 8

# Real time, and the template's are minutes: a redelivery would be all that a run waits for.
ORDERS_VISIBILITY_SECONDS: Final = 8
EVENTS_VISIBILITY_SECONDS: Final = 3
# While a start hangs for three tries of 5 s, its neighbours must not come again by the visibility timeout.
BATCHES_VISIBILITY_SECONDS: Final = 40

SWEEP_EVERY_SECONDS: Final = 4
# The sweep looks at what stood still for five minutes, by its own clock; it is set ahead by more than the others jump.
SWEEPS_CLOCK_AHEAD_SECONDS: Final = 3 * 3600
LARGEST_JUMP_SECONDS: Final = 3600
OUTAGE_SECONDS: Final = 1.5

PATIENCE_SECONDS: Final = 120
"""For anything that a script waits for, and for quiet. A machine that is very busy needs some of it."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What a seed came to. `violations` are sentences, `blamed` counts the faults that befell their orders.

    `details` is what to read when there are violations. `states`: how many orders ended in which.
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
    seed: int, orders: int, edits: Sequence[Edit] = (), say: Say = lambda _: None, patience: float = PATIENCE_SECONDS
) -> Outcome:
    """Runs the schedule of the seed against a stack of its own, with `edits` made to what is deployed there.

    `patience`: for how many seconds anything is waited for.
    """
    began = time.monotonic()
    plan = schedule(seed, orders)
    with tempfile.TemporaryDirectory() as folder:
        copy, clocks = Copy(Path(folder) / "pipeline"), Clocks(Path(folder) / "clocks.json")
        copy.edit([*edits, *clocks.edits])
        clocks.set("OrderSweep", SWEEPS_CLOCK_AHEAD_SECONDS)
        say("a stack starts")
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
            World(stack, clocks, patience) as world,
        ):
            problems = _Run(world, plan, copy, say, patience).run()
            say("reading what is left")
            world.look()
            seen = Seen(
                plan.trials, observe(stack), world.sent, world.injections(), world.rules, stack.faults.requests()
            )
    violations, injected = verdict(seen, world.happened)
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
    """The waves of a schedule, and what goes on beside them."""

    def __init__(self, world: World, plan: Schedule, copy: Copy, say: Say, patience: float) -> None:
        self._world = world
        self._plan = plan
        self._copy = copy
        self._say = say
        self._patience = patience
        self._problems: list[str] = []
        # By turns: sweeps that run beside all else, and events that must do without the sweep.
        self._sweeps_from_the_start = plan.seed % 2 == 0

    def run(self) -> list[str]:
        """Until nothing moves any more; what went wrong with the scripts."""
        self._visibility("StatusChangesQueueUrl", EVENTS_VISIBILITY_SECONDS)
        self._visibility("OrdersQueueUrl", BATCHES_VISIBILITY_SECONDS)
        with every(SWEEP_EVERY_SECONDS, self._world.sweep if self._sweeps_from_the_start else lambda: None):
            self._say("orders begin to wait")
            self._begin(self._plan.before_deployment)
            self._until_waiting()
            self._say("deploying a new version")
            self._copy.edit(ONE_MORE_FIELD)
            self._world.stack.deploy({"WaitSeconds": str(SHORT_WAIT_SECONDS)})
            self._world.deployed.set()
            self._say("batches")
            for leader in self._plan.batches:
                # Not in one batch: the one that hangs would keep the other from being given back.
                self._begin([leader])
                self._until_received(leader)
            self._visibility("OrdersQueueUrl", ORDERS_VISIBILITY_SECONDS)
            self._say(f"{len(self._plan.rest)} orders under fire")
            self._begin(self._plan.rest)
            with every(3, self._weather(Random(self._plan.seed))):
                self._join()
            self._world.faults.clear()
            self._world.clocks.set(ORCHESTRATOR, 0)
            self._say("what events tell of ends without the sweep")
            self._until_quiet({trial.order_id for trial in self._plan.trials if trial.event_lost})
        if not self._sweeps_from_the_start:
            self._check_events()
        self._say("sweeping")
        # Once at least, after the last fault: an order that never reached the ledger is nothing that moves until then.
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
            trial.fate.script(world, trial)
            if trial.retried:
                world.until_state(trial, *RETRYABLE)
                world.disarm(trial)
                world.sent.retries[trial.order_id] += 1
                world.retry(trial)
                trial.ends, trial.error = COMPLETED, None
                world.until_ended(trial, attempt=2)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            trial.note(f"{type(error).__name__}: {error}")
            self._problems.append(f"order {trial.order_id}: {type(error).__name__}: {error}")

    def _join(self) -> None:
        deadline = time.monotonic() + 3 * self._patience
        for trial in self._plan.trials:
            if trial.thread is not None:
                trial.thread.join(max(0, deadline - time.monotonic()))
                if trial.thread.is_alive():
                    self._problems.append(f"order {trial.order_id}: its script did not end")

    def _until_waiting(self) -> None:
        waiting = [trial for trial in self._plan.before_deployment if trial.thread]
        self._world.until(
            lambda: all((entry := self._world.entry(trial)) and entry.state == "WAITING" for trial in waiting),
            "the first orders to wait",
        )

    def _until_received(self, leader: Trial) -> None:
        for trial in (leader, *leader.neighbours):
            self._world.until_seen(trial.order_id, "ReceiveMessage")

    # -- beside them ----------------------------------------------------------------------------------------

    def _weather(self, random: Random) -> Callable[[], None]:
        """Clocks that jump (F20), and moments without a ledger (F12)."""
        turns = 0

        def turn() -> None:
            nonlocal turns
            turns += 1
            jump = random.uniform(-LARGEST_JUMP_SECONDS, LARGEST_JUMP_SECONDS)
            self._world.clocks.set(ORCHESTRATOR, jump)
            if turns % 4 == 2:
                action = random.choice([Cut(), Fail(400, "ProvisionedThroughputExceededException")])
                # Only for orders whose scripts do not wait for a write of theirs: of two rules one is carried out.
                rules = self._world.add(
                    *(
                        Rule(action, "dynamodb", "UpdateItem", ORCHESTRATOR, trial.order_id, times=None, label="F12")
                        for trial in self._plan.rest
                        if trial.fate is PLAIN
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
        """Until nothing moves for two looks, but for these orders; or until patience ends: `verdict` says the rest."""
        world, deadline = self._world, time.monotonic() + self._patience
        looks = 0
        while looks < 2 and time.monotonic() < deadline:
            looks = looks + 1 if not world.moving(but) else 0
            time.sleep(0.5)

    def _check_events(self) -> None:
        """Seeds without a sweep so far: an end that was told of has been brought to the ledger by that alone."""
        self._world.look()
        for trial in self._plan.trials:
            entry = self._world.entry(trial)
            if trial.event_lost or (entry is not None and entry.state in TERMINAL):
                continue
            if entry is not None or self._world.execution_of(trial) is not None:
                state = entry.state if entry else "not in the ledger"
                self._problems.append(f"order {trial.order_id} is {state}: its execution's end was told of in vain")


@contextmanager
def every(seconds: float, what: Callable[[], None]) -> Iterator[None]:
    """Does it again and again beside the block, on a thread of its own."""
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
