"""Payloads of a direct invoke that the SDK cannot read."""

import json

import pytest

from orchestrator.payload import refusal


def invocation(payload):
    """Return the event that Lambda sends to a durable function on its first invocation."""
    return {
        "DurableExecutionArn": "arn",
        "CheckpointToken": "token",
        "InitialExecutionState": {
            "Operations": [{"Id": "1", "Type": "EXECUTION", "ExecutionDetails": {"InputPayload": payload}}]
        },
    }


@pytest.mark.parametrize(
    ("payload", "error_type"),
    [
        ('{"orderId": "A", "n": ' + "9" * 5000 + "}", "NotJson"),
        ("[" * 9_000 + "]" * 9_000, "NotJson"),
        ("not json", "NotJson"),
        (json.dumps({"attributes": {f"!{n}": 0 for n in range(400_000)}}), "OrderTooLarge"),
    ],
    ids=["five thousand digits", "nested deeply", "no JSON", "six megabytes"],
)
def test_a_payload_that_would_crash_the_invocation_fails_the_execution_instead(payload, error_type):
    answer = refusal(invocation(payload))
    assert answer["Status"] == "FAILED"
    assert answer["Error"]["ErrorType"].endswith(error_type)
    assert "999" not in answer["Error"]["ErrorMessage"]


@pytest.mark.parametrize("payload", ['{"orderId": "A"}', '{"orderId": 7}', "[]", ""])
def test_a_readable_payload_reaches_the_workflow(payload):
    assert refusal(invocation(payload)) is None


def test_an_invocation_of_an_unknown_form_is_passed_to_the_sdk():
    assert refusal({"orderId": "A"}) is None
    assert refusal([]) is None
