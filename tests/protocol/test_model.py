"""The protocol holds in every interleaving, and each of its rules is needed for that."""

from functools import cache

import pytest

from tests.protocol.explore import LARGE, SCENARIOS, explore, main
from tests.protocol.ledger_model import Rules

# A removed rule, a scenario that needs it, and the broken promise at the end of the shortest such run.
NEEDED = [
    ("fence", "direct invokes", "history: attempt 1 written by executions [0, 1]"),
    ("fence", "the enricher fails, and retries", "history: attempt 2 written by executions [0, 1]"),
    ("predecessor", "a cancel races", "history: an illegal step: RECEIVED, ENRICHING, CANCELLED, ENRICHED, WAITING"),
    (
        "predecessor",
        "stop, timeout and retries",
        "history: an illegal step: RECEIVED, ENRICHING, STOPPED, ENRICHED, WAITING",
    ),
    ("reconciler", "stop, timeout and retries", "end: an order left no trace"),
    ("reconciler", "an execution is deleted", "end: the ledger stays ENRICHING"),
    ("success", "an item is lost", "end: an order left no trace"),
    ("success", "an item is set back", "end: the ledger stays ENRICHING"),
    ("former-bodies", "direct invokes", "false alarm: A was rejected as a conflict with itself"),
    ("late-reject", "a conflict, the name forgotten", "end: message B vanished"),
    ("named-start", "duplicates and crashes", "one execution: two executions are named for one attempt: [1, 1]"),
    ("last-attempt", "a start under a stray name", "history: attempt 51, after the last"),
    (
        "next-attempt-unmarked",
        "a start under a stray name",
        "end: the name of attempt 2 is taken, so the order cannot be retried",
    ),
    ("plain-retry", "a retry from finalize", "history: attempt 2 resumes, and the last retry was a plain one"),
    ("same-body", "a retry from finalize", "history: attempt 2 of C has the enrichment of A"),
    ("forgotten", "an order is forgotten", "history: attempt 2 of a forgotten order"),
    ("kept-longer", "an item expires", "twice: executions [0, 1] completed the order"),
    ("cap", "a step that kills its process", "history: enrich began 16 times in attempt 1"),
]


@cache
def explored_with_all_rules(name):
    return explore(SCENARIOS[name], Rules())


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.large) if name in LARGE else name for name in SCENARIOS]
)
def test_every_promise_holds_in_every_interleaving(name):
    explored = explored_with_all_rules(name)
    assert explored.wrong is None, "\n".join(map(str, explored.path))
    assert explored.worlds > 200


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "name", "wrong"), NEEDED)
def test_without_a_rule_a_promise_breaks(rule, name, wrong):
    explored = explore(SCENARIOS[name], Rules().without(rule))
    assert str(explored.wrong) == wrong
    assert explored.path


def test_every_rule_is_shown_to_be_needed():
    assert {rule.replace("-", "_") for rule, _, _ in NEEDED} == set(vars(Rules()))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["duplicates and crashes", "a conflict, the name forgotten", "the enricher fails, and retries"]
)
def test_without_named_starts_the_ledger_stays_correct(name):
    explored = explore(SCENARIOS[name], Rules().without("named-start"), overlooked="one execution")
    assert explored.wrong is None, "\n".join(map(str, explored.path))
    assert explored.worlds > explored_with_all_rules(name).worlds


def test_the_command_prints_the_moves_that_break_a_promise(capsys):
    assert main(["direct invokes", "--without", "fence"]) == 1
    first, *path = capsys.readouterr().out.splitlines()
    assert first.startswith("direct invokes: ")
    assert first.endswith(" worlds, history: attempt 1 written by executions [0, 1]")
    assert path[0] == "    ingest takes A → started"
    assert path[-1] == "    execution 1: record the enrichment → written"


def test_the_command_says_that_every_promise_holds(capsys):
    assert main(["duplicates and crashes"]) == 0
    assert capsys.readouterr().out.endswith(" worlds, every promise holds\n")
