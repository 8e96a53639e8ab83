"""Two fixed seeds of what `make faults` runs many of: one with a sweep from the start, one that events must do for."""

import pytest

from tests.faults.seeded.mutants import MUTANTS
from tests.faults.seeded.run import run
from tests.faults.seeded.schedule import FEWEST_ORDERS, schedule
from tests.faults.seeded.sources import ONE_MORE_FIELD, Clocks, Copy, Edit
from tests.faults.seeded.table import too_rare


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_lost_doubled_or_silent_whatever_the_seed_lets_go_wrong(seed):
    outcome = run(seed, FEWEST_ORDERS)
    assert outcome.violations == [], outcome.details
    assert too_rare(outcome.injected, 1) == []


def test_the_same_seed_draws_the_same_schedule():
    first, again = ([trial.plan() for trial in schedule(7, 50).trials] for _ in range(2))
    assert first == again
    assert first != [trial.plan() for trial in schedule(8, 50).trials]


@pytest.mark.parametrize("orders", [FEWEST_ORDERS, 50, 80])
def test_a_schedule_has_as_many_orders_as_it_is_asked_for(orders):
    trials = schedule(1, orders).trials
    assert len({trial.order_id for trial in trials}) == orders
    assert not [
        (one.order_id, other.order_id)
        for one in trials
        for other in trials
        if one is not other and one.order_id in other.order_id
    ]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.without)
def test_what_a_mutant_takes_out_is_there(mutant, tmp_path):
    copy, clocks = Copy(tmp_path / "pipeline"), Clocks(tmp_path / "clocks.json")
    copy.edit([*mutant.edits, *clocks.edits])
    copy.edit(ONE_MORE_FIELD)
    for edit in mutant.edits:
        compile((tmp_path / "pipeline" / edit.path).read_text(), edit.path, "exec")


def test_an_edit_whose_text_is_not_there_once_is_an_error(tmp_path):
    copy = Copy(tmp_path / "pipeline")
    with pytest.raises(LookupError, match="0 times"):
        copy.edit([Edit("src/shared/ledger/owner.py", "no such text", "")])
