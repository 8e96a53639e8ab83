"""The pipeline's code and the protocol's model reach the same item after every move.

Two ways to choose the moves. In every situation that the model knows: along the shortest runs that lead there, call
after call. And at random, by Hypothesis: there any two calls of the code meet between any two of their requests.

    PROTOCOL_SEEDS=100   more of the random runs
    PROTOCOL_SHRINK=1    a run that fails is made as short as can be, which may take minutes
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
from tests.protocol.actors import Cancellation, Reconciliation, Retrial
from tests.protocol.explore import SCENARIOS
from tests.protocol.followed import Followed
from tests.protocol.ledger_model import Rules
from tests.protocol.paths import covering_paths
from tests.protocol.paused import before_request
from tests.protocol.pipeline_model import DELETED, NOT_SUCCEEDED, RUNNING, STOPPED, TIMED_OUT

LARGE = {"stop, timeout and retries", "direct invokes", "all at once"}
"""Scenarios that are many worlds, and hardly a situation that no other has."""

SEEDS = range(int(os.environ.get("PROTOCOL_SEEDS", "4")))
RUNS = 10
"""For each seed. After as many, Hypothesis goes over to making runs by repeating parts of those before."""
STEPS = 60
"""Of each run."""
PHASES = [Phase.generate, *([Phase.shrink] if "PROTOCOL_SHRINK" in os.environ else [])]

KINDS = ["goes on"] * 14 + ["begins"] * 6 + ["breaks"] * 5 + ["ends"] * 2 + ["arrives"] * 2 + ["rests"]
"""What comes next, as often as it stands here."""
WHICH = st.integers(min_value=0, max_value=59)
"""Which of those who can, counted round and round."""
CROWD = 4
"""So many calls of the reconciler and the operator, and so many stalled processes, at once."""
CAP = 3
"""On the starts of enrich, so that few crashes reach it."""


@pytest.fixture
def followed(dynamodb, ledger_table):
    """Makes an order of its own, to be followed."""
    dynamodb.meta.events.register("before-call.dynamodb.*", lambda model, **_: before_request(model.name))
    numbers = itertools.count(1)
    return lambda rules: Followed(dynamodb, ledger_table, f"ORDER-{next(numbers)}", rules)


def test_the_code_follows_the_model_in_every_situation(followed):
    paths = covering_paths([scenario for name, scenario in SCENARIOS.items() if name not in LARGE], Rules())
    assert len(paths) > 100
    for path in paths:
        it = followed(Rules())
        try:
            for move in path:
                it.perform(move)
        except AssertionError as error:
            error.add_note("\n".join(["on the way of:", *map(str, path)]))
            raise
        finally:
            it.end()
        assert it.took == path


@pytest.mark.parametrize("number", SEEDS)
def test_code_and_model_reach_the_same_item_after_every_move(followed, monkeypatch, number):
    monkeypatch.setattr("shared.ledger.owner.MAX_STARTS", CAP)
    run_state_machine_as_test(
        seed(number)(lambda: Moves(lambda: followed(Rules(cap=CAP)))),
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
    """Orders, one after the other. Each step is one request of the code at work on it, or something that happens."""

    def __init__(self, follow):
        super().__init__()
        self.follow = follow
        self.took = []
        self.an_order_arrives()

    def an_order_arrives(self):
        self.it = self.follow()
        self.it.take("ingest takes A")
        self.took.append(self.it.took)

    def teardown(self):
        self.it.end()
        for took in self.took:
            note("\n".join(["what happened to an order:", *map(str, took)]))

    @invariant()
    def code_and_model_agree(self):
        self.it.compare()

    # One rule, where there could be many: Hypothesis leaves some of a machine's rules out of most of its runs, and
    # here each needs the others.
    @rule(kind=st.sampled_from(KINDS), which=WHICH, wholly=st.booleans())
    def next(self, kind, which, wholly):
        """One of those at work goes on, the reconciler or the operator begins, or something happens to them."""
        if kind == "rests" or self.is_over:
            self.it.come_to_rest()
            if self.is_over:
                self.an_order_arrives()
            return
        can = self.who_can(kind, wholly)
        if can:
            can[which % len(can)]()

    def who_can(self, kind, wholly):
        match kind:
            case "goes on":
                return self.at_work(wholly)
            case "begins":
                return self.concerned(wholly) if len(self.it.others) < CROWD else []
            case "breaks":
                return self.mortal()
            case "ends":
                return self.from_outside((STOPPED, TIMED_OUT, DELETED, "its name is forgotten"))
            case "arrives":
                return self.from_outside(("ingest", "someone"))

    @property
    def is_over(self):
        """Whether nobody will write to the item any more."""
        item = self.it.world.item
        return item is not None and item.state in TERMINAL - RETRYABLE and not self.at_work(wholly=False)

    def at_work(self, wholly):
        """How those at work go on: by one request, or to the end of their step or call."""
        running = [i for i, execution in enumerate(self.it.world.executions) if execution.status == RUNNING]
        return [
            *(partial(self.it.finish_step if wholly else self.it.act, i) for i in running),
            *(process.go_on for process in self.it.stalled),
            *(partial(self.it.finish, other) if wholly else other.go_on for other in self.it.others),
        ]

    def concerned(self, wholly):
        """How a call of the reconciler or the operator begins; those that would find something to do come twice."""
        moves = [move for move, _ in self.it.possible()]
        ended = {
            i for i, execution in enumerate(self.it.world.executions) if execution.status in NOT_SUCCEEDED - {DELETED}
        }
        unsettled = {move.execution for move in moves if move.kind == "reconciler"} & ended
        asked = {move.kind.split()[1] for move in moves if move.kind.startswith("operator")}
        calls = [
            *(partial(Reconciliation, self.it, i) for i in [*ended, *unsettled]),
            *[partial(Retrial, self.it), partial(Retrial, self.it, "C")] * (2 if "retries" in asked else 1),
            *[partial(Cancellation, self.it)] * (2 if "cancels" in asked else 1),
            partial(Reconciliation, self.it),
        ]
        return [(lambda call=call: self.it.finish(call())) if wholly else call for call in calls]

    def mortal(self):
        """How processes that have begun may crash, stall, or have the enricher fail; and stalled ones die."""
        unfinished = [i for i in self.it.live if self.it.world.executions[i].live]
        processes = [*self.it.live.values(), *self.it.stalled]
        return [
            *(partial(self.it.crash, i) for i in unfinished),
            *(partial(self.it.take, "stalls", i) for i in unfinished if len(self.it.stalled) < CROWD),
            *(process.fail for process in processes if process.call.request == "enricher"),
            *(process.die for process in self.it.stalled),
        ]

    def from_outside(self, kinds):
        """How the model's moves of these kinds happen, but for starts of what was started before."""
        return [
            partial(self.it.take, move.kind, move.execution)
            for move, _ in self.it.possible()
            if move.kind.startswith(kinds) and move.outcome != "joined"
        ]
