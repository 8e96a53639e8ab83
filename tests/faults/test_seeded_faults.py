"""Two fixed seeds of what `make faults` runs many of: one with a sweep from the start, one that events must do for."""

import pytest

from tests.faults.seeded.run import run
from tests.faults.seeded.schedule import FEWEST_ORDERS, schedule
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
