"""Payloads of a direct invoke that the SDK cannot read."""

import pytest

from orchestrator.payload import refusal
from tests.unit.events import invocation


@pytest.mark.parametrize(
    ("payload", "error_type"),
    [
        ('{"orderId": "A", "n": ' + "9" * 5000 + "}", "NotJson"),
        ("[" * 9_000 + "]" * 9_000, "NotJson"),
        ("not json", "NotJson"),
        ('{"attributes": {' + '"!": 0,' * 900_000 + '"!": 0}}', "OrderTooLarge"),
    ],
    ids=["five thousand digits", "nested deeply", "no JSON", "six megabytes"],
)
def test_a_payload_that_would_crash_the_invocation_fails_the_execution_instead(payload, error_type):
    answer = refusal(invocation(payload))
    assert answer["Status"] == "FAILED"
    assert answer["Error"]["ErrorType"].endswith(error_type)
    assert "999" not in answer["Error"]["ErrorMessage"]


@pytest.mark.parametrize("payload", ['{"orderId": "A"}', ""])
def test_an_order_reaches_the_workflow(payload):
    assert refusal(invocation(payload)) is None


@pytest.mark.parametrize(
    ("payload", "named"), [('{"orderId": 7}', "orderId"), ('{"orderId": "A", "coupon": 1}', "coupon")]
)
def test_a_payload_that_is_no_order_is_refused_with_the_names_of_its_fields(payload, named):
    """The answer has the names that the caller chose. A log does not: the SDK would log an error of the workflow."""
    error = refusal(invocation(payload))["Error"]
    assert error["ErrorType"] == "shared.errors.InvalidOrder"
    assert error["ErrorMessage"].startswith(f"{named}: ")


def test_an_invocation_of_an_unknown_form_is_passed_to_the_sdk():
    assert refusal({"orderId": "A"}) is None
    assert refusal([]) is None
