"""One fixed seed of `make faults`, and the parts of the runs that need no local stack."""

import pytest

from tests.faults.seeded.mutants import MUTANTS
from tests.faults.seeded.run import run
from tests.faults.seeded.schedule import MIN_ORDERS, schedule
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
from tests.faults.seeded.table import too_rare


def test_a_seed_has_no_violation_and_injects_every_fault():
    outcome = run(1, MIN_ORDERS, timeout_seconds=300)
    assert outcome.violations == [], outcome.details
    assert too_rare(outcome.injected, 1) == []


def test_the_same_seed_gives_the_same_schedule():
    first, again = ([trial.plan() for trial in schedule(7, 50).trials] for _ in range(2))
    assert first == again
    assert first != [trial.plan() for trial in schedule(8, 50).trials]


@pytest.mark.parametrize("orders", [MIN_ORDERS, 50, 80])
def test_a_schedule_has_the_requested_number_of_orders(orders):
    trials = schedule(1, orders).trials
    assert len({trial.order_id for trial in trials}) == orders
    assert not [
        (one.order_id, other.order_id)
        for one in trials
        for other in trials
        if one is not other and one.order_id in other.order_id
    ]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.without)
def test_the_edits_of_each_mutant_match_the_sources(mutant, tmp_path):
    copy, clocks = Copy(tmp_path / "pipeline"), Clocks(tmp_path / "clocks.json")
    copy.edit([*mutant.edits, *clocks.edits])
    copy.keep_older([*OLDER, *OLDER_RECONCILER])
    copy.edit([*ONE_MORE_FIELD, *NEWER_ENRICHER, *NEWER_RECONCILER])
    for edit in mutant.edits:
        compile((tmp_path / "pipeline" / edit.path).read_text(), edit.path, "exec")


def test_an_edit_whose_text_does_not_occur_once_is_an_error(tmp_path):
    copy = Copy(tmp_path / "pipeline")
    with pytest.raises(LookupError, match="0 times"):
        copy.edit([Edit("src/shared/ledger/owner.py", "no such text", "")])
