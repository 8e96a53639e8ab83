"""`orders why` names the cause of a fault, on a running stack. `make why` injects every fault, ten times."""

import pytest

from tests.faults.causes import SCRIPTS, expected, inject

LONG_SECONDS = 3_600
"""Six minutes on the fast clock of these stacks: no execution times out, however busy the machine is."""
FAULTS = ("F3", "F4", "F7", "F8", "F12", "F13", "F15", "F16", "F26")
"""Those with a cause, and one that heals. None needs a deployment or a time-out."""


@pytest.fixture(scope="module")
def answers():
    return {answer.fault: answer for answer in inject(1, FAULTS, LONG_SECONDS)}


@pytest.mark.parametrize("fault", FAULTS)
def test_why_names_the_cause_that_the_document_says(answers, fault):
    assert answers[fault].cause == expected()[fault], answers[fault].evidence


def test_every_fault_of_the_document_has_a_script():
    assert set(SCRIPTS) == set(expected())
