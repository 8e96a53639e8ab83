"""Reading the order in a message's body; the error for a wrapped message says how to turn the wrapping off."""

import json

import pytest

from ingest.messages import order_in
from shared.errors import InvalidOrder, NotJson, OrderTooLarge

ORDER = {"orderId": "ORDER-123"}
SNS = {
    "Type": "Notification",
    "MessageId": "dc1e94d9-56c5-5e96-808d-cc7f68faa162",
    "TopicArn": "arn:aws:sns:us-east-2:123456789012:orders",
    "Message": json.dumps(ORDER),
    "Timestamp": "2026-01-01T12:00:00.000Z",
    "SignatureVersion": "1",
    "Signature": "FMG5tlZhJNHLHUXvZgtZzlk24FzVa7oX0T4P03neeXw8ZEXZx6z35j2FOTuNYShn2h0bKNC",
    "SigningCertURL": "https://sns.us-east-2.amazonaws.com/cert.pem",
    "UnsubscribeURL": "https://sns.us-east-2.amazonaws.com/?Action=Unsubscribe",
}
EVENT = {
    "version": "0",
    "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
    "detail-type": "Order placed",
    "source": "shop",
    "account": "123456789012",
    "time": "2026-01-01T12:00:00Z",
    "region": "us-east-1",
    "resources": [],
    "detail": ORDER,
}


def refusal_of(body):
    with pytest.raises(InvalidOrder) as refused:
        order_in(body)
    return refused.value


def test_a_body_that_is_an_order_is_the_order():
    assert order_in(json.dumps(ORDER)).order_id == "ORDER-123"


@pytest.mark.parametrize(
    ("service", "envelope"), [("SNS", SNS), ("SNS", {**SNS, "Subject": "x"}), ("EventBridge", EVENT)]
)
def test_an_order_in_a_services_envelope_is_refused_with_the_way_to_raw_delivery(service, envelope):
    error = refusal_of(json.dumps(envelope))
    assert error.code == "INVALID_ORDER"
    (problem,) = error.errors
    assert problem.field == ""
    assert problem.reason.startswith(f"the message is wrapped by {service}: ")
    assert "raw" in problem.reason
    assert "delivery" in problem.reason


def test_what_only_looks_a_little_like_an_envelope_is_refused_for_its_own_fields():
    error = refusal_of(json.dumps({**ORDER, "source": "shop", "detail": {}}))
    assert [problem.field for problem in error.errors] == ["source", "detail"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("", NotJson),
        ("order 7, please", NotJson),
        ("[]", InvalidOrder),
        ("{}", InvalidOrder),
        (json.dumps({**ORDER, "attributes": {f"{n:02}": "\x01" * 256 for n in range(50)}}), OrderTooLarge),
    ],
)
def test_a_body_that_is_no_order_says_which_kind_of_no_order_it_is(body, kind):
    assert type(refusal_of(body)) is kind
