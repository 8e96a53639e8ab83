"""The pipeline's code and the protocol's model reach the same item after every move.

The moves are chosen in two ways. First every situation of the model, on the shortest run to it, one call after the
other. Then at random by Hypothesis, where any two calls of the code interleave between any two of their requests.

    PROTOCOL_SEEDS=100   more random runs
    PROTOCOL_SHRINK=1    shrink a failing run to the shortest one, which may take minutes
"""

import itertools
import os
from functools import partial

import pytest
from hypothesis import HealthCheck, Phase, note, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from shared.ledger.states import RETRYABLE, TERMINAL
from tests.protocol.actors import Cancellation, Erasure, Reconciliation, Retrial
from tests.protocol.explore import LARGE, SCENARIOS
from tests.protocol.followed import LOSSES, MESSAGES, PLENTY, Followed
from tests.protocol.ledger_model import Rules
from tests.protocol.paths import covering_paths
from tests.protocol.paused import before_request
from tests.protocol.pipeline_model import DELETED, EXPIRES, RUNNING, STOPPED, TIMED_OUT, Fault

SEEDS = range(int(os.environ.get("PROTOCOL_SEEDS", "2")))
RUNS = 10
"""The number of runs for each seed. After more runs Hypothesis repeats parts of earlier ones."""
STEPS = 60
"""The number of steps of each run."""
PHASES = [Phase.generate, *([Phase.shrink] if "PROTOCOL_SHRINK" in os.environ else [])]

KINDS = ["goes on"] * 14 + ["begins"] * 6 + ["breaks"] * 5 + ["ends"] * 2 + ["arrives"] * 2 + ["rests"]
"""The kinds of the next step. The repetitions are their weights."""
WHICH = st.integers(min_value=0, max_value=59)
"""The index of the chosen step among the possible ones, modulo their number."""
CROWD = 4
"""The largest number of concurrent calls of the reconciler and the operator, and of stalled processes."""
CAP = 3
"""The limit for starts of enrich, low enough that a few crashes reach it."""


@pytest.fixture
def followed(dynamodb, ledger_table):
    """A function that creates a new order for code and model to process."""
    dynamodb.meta.events.register("before-call.dynamodb.*", lambda model, **_: before_request(model.name))
    numbers = itertools.count(1)
    return lambda rules, budget=PLENTY, messages=MESSAGES: Followed(
        dynamodb, ledger_table, f"ORDER-{next(numbers)}", rules, budget, messages
    )


@pytest.mark.slow
def test_the_code_follows_the_model_in_every_situation(followed):
    paths = covering_paths([scenario for name, scenario in SCENARIOS.items() if name not in LARGE], Rules())
    assert len(paths) > 100
    for path in paths:
        expires = any(move.kind == EXPIRES for move in path)
        # An item does not expire before the queue has delivered the order's last message.
        messages = {"A": 2} if expires else MESSAGES
        it = followed(Rules(), PLENTY | {Fault.LOSE: 1, Fault.SET_BACK: 1, Fault.EXPIRE: int(expires)}, messages)
        try:
            for move in path:
                it.perform(move)
        except AssertionError as error:
            error.add_note("\n".join(["in the run:", *map(str, path)]))
            raise
        finally:
            it.end()
        assert it.took == path


@pytest.mark.slow
@pytest.mark.parametrize("number", SEEDS)
def test_code_and_model_reach_the_same_item_after_every_move(followed, monkeypatch, number):
    monkeypatch.setattr("shared.ledger.owner.MAX_STARTS", CAP)
    run_state_machine_as_test(
        seed(number)(lambda: Moves(lambda: followed(Rules(cap=CAP), LOSSES if number % 2 else PLENTY))),
        settings=settings(
            max_examples=RUNS,
            stateful_step_count=STEPS,
            phases=PHASES,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


class Moves(RuleBasedStateMachine):
    """Processes one order after the other. Each step is one request of the code, or one fault."""

    def __init__(self, follow):
        super().__init__()
        self.follow = follow
        self.took = []
        self.begin_order()

    def begin_order(self):
        self.it = self.follow()
        self.it.take("ingest takes A")
        self.took.append(self.it.took)

    def teardown(self):
        self.it.end()
        for took in self.took:
            note("\n".join(["the moves of an order:", *map(str, took)]))

    @invariant()
    def code_and_model_agree(self):
        self.it.compare()

    # One rule instead of many: Hypothesis leaves some of a machine's rules out of most runs, but here each kind of step
    # needs the others.
    @rule(kind=st.sampled_from(KINDS), which=WHICH, wholly=st.booleans())
    def next(self, kind, which, wholly):
        """A running call continues, the reconciler or the operator begins, or a fault happens."""
        if kind == "rests" or self.is_over:
            self.it.run_to_the_end()
            if self.is_over:
                self.begin_order()
            return
        can = self.possible_steps(kind, wholly)
        if can:
            can[which % len(can)]()

    def possible_steps(self, kind, wholly):
        match kind:
            case "goes on":
                return self.running_calls(wholly)
            case "begins":
                return self.new_calls(wholly) if len(self.it.others) < CROWD else []
            case "breaks":
                return self.process_faults()
            case "ends":
                return self.from_outside((STOPPED, TIMED_OUT, DELETED, "its name is forgotten", "the item"))
            case "arrives":
                return self.from_outside(("ingest", "someone"))

    @property
    def is_over(self):
        """Whether no call can write to the item any more."""
        item = self.it.world.item
        return item is not None and item.state in TERMINAL - RETRYABLE and not self.running_calls(wholly=False)

    def running_calls(self, wholly):
        """Steps that continue the running calls: by one request, or to the end of their step or call (`wholly`)."""
        running = [i for i, execution in enumerate(self.it.world.executions) if execution.status == RUNNING]
        return [
            *(partial(self.it.finish_step if wholly else self.it.act, i) for i in running),
            *(process.go_on for process in self.it.stalled),
            *(partial(self.it.finish, other) if wholly else other.go_on for other in self.it.others),
        ]

    def new_calls(self, wholly):
        """Steps that begin a call of the reconciler or the operator. Calls that would write are listed twice."""
        moves = [move for move, _ in self.it.possible()]
        ended = {
            i for i, execution in enumerate(self.it.world.executions) if execution.status not in {RUNNING, DELETED}
        }
        unsettled = {move.execution for move in moves if move.kind == "reconciler"} & ended
        asked = {move.kind.split()[1] for move in moves if move.kind.startswith("operator")}
        calls = [
            *(partial(Reconciliation, self.it, i) for i in [*ended, *unsettled]),
            *[partial(Retrial, self.it), partial(Retrial, self.it, "C")] * (2 if "retries" in asked else 1),
            *[partial(Retrial, self.it, resumes=True)] * min(self.it.world.budget[Fault.RESUME], 1),
            *[partial(Erasure, self.it)] * min(self.it.world.budget[Fault.ERASE], 1),
            *[partial(Cancellation, self.it)] * (2 if "cancels" in asked else 1),
            partial(Reconciliation, self.it),
        ]
        return [(lambda call=call: self.it.finish(call())) if wholly else call for call in calls]

    def process_faults(self):
        """Steps in which a process crashes, stalls or has a failing enricher, or in which a stalled one dies."""
        unfinished = [i for i in self.it.live if self.it.world.executions[i].live]
        processes = [*self.it.live.values(), *self.it.stalled]
        return [
            *(partial(self.it.crash, i) for i in unfinished),
            *(partial(self.it.take, "stalls", i) for i in unfinished if len(self.it.stalled) < CROWD),
            *(process.fail for process in processes if process.call.request == "enricher"),
            *(process.die for process in self.it.stalled),
        ]

    def from_outside(self, kinds):
        """Steps for the model's moves of these kinds, without starts that join an existing execution."""
        return [
            partial(self.it.take, move.kind, move.execution)
            for move, _ in self.it.possible()
            if move.kind.startswith(kinds) and move.outcome != "joined"
        ]
