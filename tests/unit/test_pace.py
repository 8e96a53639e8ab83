"""Calls are spaced so that a second never has more than allowed, and none waits longer than necessary."""

import pytest

from reconciler.pace import Pace


class Clock:
    def __init__(self):
        self.now, self.slept = 100.0, []

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pace(clock):
    return Pace(8, clock=lambda: clock.now, sleep=clock.sleep)


def test_the_first_call_does_not_wait(pace, clock):
    pace.wait()
    assert clock.slept == []


def test_calls_in_a_row_are_an_interval_apart(pace, clock):
    for _ in range(17):
        pace.wait()
    assert clock.now == pytest.approx(102)
    assert clock.slept == pytest.approx([1 / 8] * 16)


def test_a_call_that_takes_a_while_waits_for_the_rest_of_its_interval_only(pace, clock):
    pace.wait()
    clock.now += 0.1
    pace.wait()
    assert clock.slept == pytest.approx([0.025])


def test_no_burst_follows_a_pause(pace, clock):
    """A function's process may sleep for minutes between two batches."""
    pace.wait()
    clock.now += 600
    for _ in range(9):
        pace.wait()
    assert clock.slept == pytest.approx([1 / 8] * 8)
