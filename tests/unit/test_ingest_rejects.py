"""A rejected message with any error fits SQS's limits, and its body is unchanged."""

import base64
import json
from uuid import uuid4

import pytest
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.aws.rejected_orders import ATTRIBUTES, MAX_FIELD_ERRORS_BYTES, Received, RejectedOrders, field_errors_json
from shared.errors import FieldError, InvalidOrder, RejectUnavailable
from shared.orders.order import parse_order
from tests.unit.transport import Endpoint, client, refusal, session
from tools.operations.resend import resend

LARGEST_BODY = 1_032_192
SQS_LIMIT = 1024 * 1024
ERRORS = [FieldError("orderId", "Field required"), FieldError("", "not JSON")]

any_text = st.text(st.characters())
any_errors = st.lists(st.builds(FieldError, any_text, any_text), max_size=5) | st.lists(
    st.builds(FieldError, st.text(st.characters(), min_size=100, max_size=128), any_text), min_size=50, max_size=60
)
# SQS accepts only characters of XML in a body.
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
    """The size that SQS counts: the body, and the name, type and value of each attribute."""
    return sum(len(name.encode()) + len("String") + len(value.encode()) for name, value in attributes.items())


def test_a_reject_has_its_reason_in_the_attributes(sqs, queue):
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
def test_a_body_is_rejected_unchanged(sqs, queue, body):
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
def test_the_attributes_of_any_reject_fit_into_16_kib(sqs, queue, errors):
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
    # The first errors, and all of them if they fit.
    kept = [FieldError(**error) for error in json.loads(text)]
    assert len(text) <= MAX_FIELD_ERRORS_BYTES
    if kept != errors:
        *kept, more = kept
        assert kept == errors[: len(kept)]
        assert more.reason == f"{len(errors) - len(kept)} more, for which SQS has no space here"
        assert len(field_errors_of(errors[: len(kept) + 1])) > MAX_FIELD_ERRORS_BYTES - 200


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
    errors = [FieldError(f"items.{n}.quantity", "should be a whole number") for n in range(2_000)]
    *told, more = json.loads(field_errors_json(errors))
    assert 50 <= len(told) < 2_000
    assert more["reason"] == f"{2_000 - len(told)} more, for which SQS has no space here"
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


# ── what a message came with ──────────────────────────────────────────────────────────────────────


def record(attributes, **system):
    """A record of Lambda's event with these attributes."""
    values = {
        name: {"stringListValues": [], "binaryListValues": [], "dataType": kind} | value
        for name, (kind, value) in attributes.items()
    }
    return {"messageId": "message-1", "body": "{}", "messageAttributes": values, "attributes": system}


def text(value, kind="String"):
    return kind, {"stringValue": value}


def sent_with(sqs, queue, came):
    """The reject of a message that came so: all its attributes and system attributes."""
    RejectedOrders(sqs, queue).send("{}", "message-1", "INVALID_ORDER", ERRORS, Received.of(came))
    (message,) = sqs.receive_message(QueueUrl=queue, MessageAttributeNames=["All"], AttributeNames=["All"])["Messages"]
    return message


def test_a_reject_has_the_attributes_that_the_message_came_with(sqs, queue):
    came = record(
        {
            "correlationId": text("7a1f"),
            "tries": text("3", "Number"),
            "kind": text("x", "String.shop"),
            "checksum": ("Binary", {"binaryValue": base64.b64encode(b"\x00\xff").decode()}),
        }
    )
    attributes = sent_with(sqs, queue, came)["MessageAttributes"]
    assert attributes.keys() == {"correlationId", "tries", "kind", "checksum", *ATTRIBUTES}
    assert attributes["correlationId"]["StringValue"] == "7a1f"
    assert (attributes["tries"]["DataType"], attributes["tries"]["StringValue"]) == ("Number", "3")
    assert attributes["kind"]["DataType"] == "String.shop"
    assert attributes["checksum"]["BinaryValue"] == b"\x00\xff"


def test_the_pipelines_attributes_win_and_seven_others_fit(sqs, queue):
    came = record({f"name{n}": text("x") for n in range(9)} | {"reasonCode": text("mine")})
    attributes = sent_with(sqs, queue, came)["MessageAttributes"]
    assert attributes.keys() == {*(f"name{n}" for n in range(7)), *ATTRIBUTES}
    assert attributes["reasonCode"]["StringValue"] == "INVALID_ORDER"


def test_a_reject_has_the_message_group_and_the_trace_header():
    sqs = client("sqs")
    endpoint = Endpoint(sqs, "SendMessage", (200, {}, b'{"MessageId": "reject-1"}'))
    came = Received.of(record({}, MessageGroupId="tenant-7", AWSTraceHeader="Root=1-5759e988-bd862e3fe1be46a994272793"))
    RejectedOrders(sqs, "https://sqs.invalid/1/rejected").send("{}", "message-1", "NOT_JSON", ERRORS, came)
    request = json.loads(endpoint.requests[0].body)
    assert request["MessageGroupId"] == "tenant-7"
    assert request["MessageSystemAttributes"] == {
        "AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-5759e988-bd862e3fe1be46a994272793"}
    }


def test_a_message_without_a_group_has_a_reject_without_one():
    sqs = client("sqs")
    endpoint = Endpoint(sqs, "SendMessage", (200, {}, b'{"MessageId": "reject-1"}'))
    RejectedOrders(sqs, "https://sqs.invalid/1/rejected").send("{}", "m", "NOT_JSON", ERRORS, Received.of(record({})))
    assert json.loads(endpoint.requests[0].body).keys() == {"QueueUrl", "MessageBody", "MessageAttributes"}


@pytest.mark.parametrize("body", [None, '{"orderId": "MENDED"}'])
def test_a_resent_message_has_its_own_attributes_and_not_the_pipelines(sqs, queue, body):
    orders = sqs.create_queue(QueueName="orders")["QueueUrl"]
    resend(sqs, queue, orders, sent_with(sqs, queue, record({"correlationId": text("7a1f")})), body)
    (message,) = sqs.receive_message(QueueUrl=orders, MessageAttributeNames=["All"])["Messages"]
    assert message["Body"] == (body or "{}")
    assert message["MessageAttributes"] == {"correlationId": {"StringValue": "7a1f", "DataType": "String"}}
    assert (
        sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"][
            "ApproximateNumberOfMessagesNotVisible"
        ]
        == "0"
    )


def test_a_resent_message_keeps_its_group_and_its_trace_header():
    sqs = client("sqs")
    endpoint = Endpoint(sqs, "SendMessage", (200, {}, b'{"MessageId": "again-1"}'))
    Endpoint(sqs, "DeleteMessage", (200, {}, b"{}"))
    message = {
        "Body": "{}",
        "ReceiptHandle": "r",
        "Attributes": {"MessageGroupId": "tenant-7", "AWSTraceHeader": "Root=1", "SenderId": "x"},
    }
    assert resend(sqs, "https://sqs.invalid/1/rejected", "https://sqs.invalid/1/orders", message) == "again-1"
    request = json.loads(endpoint.requests[0].body)
    assert request["MessageGroupId"] == "tenant-7"
    assert request["MessageSystemAttributes"]["AWSTraceHeader"]["StringValue"] == "Root=1"
