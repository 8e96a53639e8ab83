"""A rejected message fits SQS's limits whatever is wrong with it, and its body is unchanged."""

import json
from uuid import uuid4

import pytest
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.aws.rejected_orders import RejectedOrders, field_errors_json
from shared.errors import FieldError, InvalidOrder, RejectUnavailable
from shared.orders.order import parse_order
from tests.unit.transport import Endpoint, client, refusal, session

LARGEST_BODY = 1_032_192
SQS_LIMIT = 1024 * 1024
ERRORS = [FieldError("orderId", "Field required"), FieldError("", "not JSON")]

any_text = st.text(st.characters())
any_errors = st.lists(st.builds(FieldError, any_text, any_text), max_size=5) | st.lists(
    st.builds(FieldError, st.text(st.characters(), min_size=100, max_size=128), any_text), min_size=50, max_size=60
)
# What SQS takes in a body: XML's characters.
bodies = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\ufffe\uffff").filter(
        lambda c: c >= " " or c in "\t\n\r"
    ),
    min_size=1,
)


@pytest.fixture
def sqs(aws):
    return session().client("sqs")


@pytest.fixture
def queue(sqs):
    return sqs.create_queue(QueueName="rejected", Attributes={"MaximumMessageSize": str(SQS_LIMIT)})["QueueUrl"]


def received(sqs, queue):
    (message,) = sqs.receive_message(QueueUrl=queue, MessageAttributeNames=["All"])["Messages"]
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return message["Body"], {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}


def size_of(attributes):
    """As SQS counts: an attribute's name, type and value are part of the message."""
    return sum(len(name.encode()) + len("String") + len(value.encode()) for name, value in attributes.items())


def test_a_reject_carries_its_reason_beside_the_body(sqs, queue):
    RejectedOrders(sqs, queue).send("{}", "message-1", "INVALID_ORDER", ERRORS)
    body, attributes = received(sqs, queue)
    assert body == "{}"
    assert json.loads(attributes.pop("fieldErrors")) == [
        {"field": "orderId", "reason": "Field required"},
        {"field": "", "reason": "not JSON"},
    ]
    assert attributes == {"reasonCode": "INVALID_ORDER", "sourceMessageId": "message-1"}


@settings(max_examples=settings.default.max_examples // 4)
@given(bodies)
@example(" \r\n{} \t")
def test_a_body_arrives_as_it_came(sqs, queue, body):
    RejectedOrders(sqs, queue).send(body, str(uuid4()), "NOT_JSON", ERRORS)
    assert received(sqs, queue)[0] == body


def test_a_reject_of_the_largest_body_with_the_longest_reason_fits(sqs, queue):
    body = "x" * LARGEST_BODY
    errors = [FieldError("\U0001f600" * 128, "\U0001f600" * 128)] * 100
    RejectedOrders(sqs, queue).send(body, str(uuid4()), "INVALID_ORDER", errors)
    arrived, attributes = received(sqs, queue)
    assert arrived == body
    assert len(body) + size_of(attributes) <= SQS_LIMIT


@settings(max_examples=settings.default.max_examples // 4)
@given(any_errors)
def test_whatever_was_wrong_the_attributes_fit_into_the_16_kib_left_for_them(sqs, queue, errors):
    RejectedOrders(sqs, queue).send("x", str(uuid4()), "INVALID_ORDER", errors)
    _, attributes = received(sqs, queue)
    assert size_of(attributes) <= SQS_LIMIT - LARGEST_BODY


@settings(max_examples=settings.default.max_examples // 2)
@given(any_errors)
def test_field_errors_are_json_in_printable_ascii(errors):
    """SQS refuses control characters in an attribute, and an error's field is the producer's text."""
    text = field_errors_json(errors)
    assert text.isascii()
    assert text.isprintable()
    # A list of what came first, and all of it where it fits.
    kept = [FieldError(**error) for error in json.loads(text)]
    assert kept == errors[: len(kept)]
    assert kept == errors or len(field_errors_of(errors[: len(kept) + 1])) > 8 * 1024


def field_errors_of(errors):
    return json.dumps([{"field": error.field, "reason": error.reason} for error in errors])


@pytest.mark.parametrize("key", ["\x00", "\ud800", "\n" * 500, "\U0001f600" * 500, "k" * 100_000])
def test_an_order_with_any_key_can_be_rejected(sqs, queue, key):
    body = json.dumps({"orderId": "A", key: 1})
    with pytest.raises(InvalidOrder) as refused:
        parse_order(body)
    RejectedOrders(sqs, queue).send(body, str(uuid4()), "INVALID_ORDER", refused.value.errors)
    arrived, attributes = received(sqs, queue)
    assert arrived == body
    assert len(json.loads(attributes["fieldErrors"])) == 1


def test_when_not_all_errors_fit_the_first_are_sent():
    errors = [FieldError(f"items.{n}.quantity", "Input should be a valid integer") for n in range(2_000)]
    told = json.loads(field_errors_json(errors))
    assert 50 <= len(told) < 2_000
    assert [error["field"] for error in told] == [f"items.{n}.quantity" for n in range(len(told))]


@pytest.mark.parametrize(
    "answer",
    [
        refusal(400, "AWS.SimpleQueueService.NonExistentQueue"),
        refusal(403, "AccessDenied"),
        refusal(429, "ThrottlingException"),
        refusal(503, "ServiceUnavailable"),
        ReadTimeoutError(endpoint_url="https://sqs.invalid"),
        EndpointConnectionError(endpoint_url="https://sqs.invalid"),
    ],
    ids=lambda answer: type(answer).__name__ if isinstance(answer, Exception) else str(answer[1]["x-amzn-errortype"]),
)
def test_a_reject_that_cannot_be_sent_is_an_error(answer):
    sqs = client("sqs")
    Endpoint(sqs, "SendMessage", answer)
    with pytest.raises(RejectUnavailable):
        RejectedOrders(sqs, "https://sqs.invalid/1/rejected").send("zqMARKqz", "message-1", "NOT_JSON", ERRORS)


def test_a_failed_reject_does_not_repeat_the_body():
    sqs = client("sqs")
    Endpoint(sqs, "SendMessage", refusal(403, "AccessDenied"))
    with pytest.raises(RejectUnavailable) as failed:
        RejectedOrders(sqs, "https://sqs.invalid/1/rejected").send("zqMARKqz", "message-1", "NOT_JSON", ERRORS)
    assert "zqMARKqz" not in str(failed.value)
