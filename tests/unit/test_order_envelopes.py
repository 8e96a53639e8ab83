"""An order inside something else is refused with its path, and with the way to send it alone."""

import base64
import json

import pytest
from boto3.dynamodb.types import TypeSerializer
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.errors import InvalidOrder
from shared.orders.envelopes import from_base64
from shared.orders.exact_json import MAX_VALUES
from shared.orders.order import order_from, parse_order
from tests.unit.orders import order_data

FEWER = settings(max_examples=settings.default.max_examples // 2)
ORDER = {
    "orderId": "ORDER-123",
    "currency": "USD",
    "items": [{"sku": "CD", "quantity": 2, "unitPrice": "13.24"}, {"sku": "LP", "quantity": 1, "unitPrice": "9"}],
}
SMALLEST = {"orderId": "ORDER-123"}
EVENT = {
    "version": "0",
    "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
    "detail-type": "Order placed",
    "source": "shop",
    "account": "123456789012",
    "time": "2026-01-01T12:00:00Z",
    "region": "us-east-1",
    "resources": [],
}
SNS = {
    "Type": "Notification",
    "MessageId": "dc1e94d9-56c5-5e96-808d-cc7f68faa162",
    "TopicArn": "arn:aws:sns:us-east-2:123456789012:orders",
    "Timestamp": "2026-01-01T12:00:00.000Z",
    "SignatureVersion": "1",
    "Signature": "FMG5tlZhJNHLHUXvZgtZzlk24FzVa7oX0T4P03neeXw8ZEXZx6z35j2FOTuNYShn2h0bKNC",
    "SigningCertURL": "https://sns.us-east-2.amazonaws.com/cert.pem",
    "UnsubscribeURL": "https://sns.us-east-2.amazonaws.com/?Action=Unsubscribe",
}
SQS = {
    "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
    "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
    "attributes": {
        "ApproximateReceiveCount": "1",
        "SentTimestamp": "1545082649183",
        "SenderId": "AIDAIENQZJOLO23YVJ4VO",
    },
    "messageAttributes": {},
    "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
    "eventSource": "aws:sqs",
    "eventSourceARN": "arn:aws:sqs:us-east-2:123456789012:my-queue",
    "awsRegion": "us-east-2",
}
HTTP = {
    "version": "2.0",
    "routeKey": "POST /orders",
    "rawPath": "/orders",
    "headers": {"content-type": "application/json", "host": "id.execute-api.us-east-1.amazonaws.com"},
    "requestContext": {"accountId": "123456789012", "requestId": "id", "time": "12/Mar/2026:19:03:58 +0000"},
}


def text(data):
    return json.dumps(data)


def b64(data):
    return base64.b64encode(json.dumps(data).encode()).decode()


def typed(data):
    return TypeSerializer().serialize(data)["M"]


def stream(order):
    return {
        "eventID": "1",
        "eventName": "INSERT",
        "eventSource": "aws:dynamodb",
        "dynamodb": {
            "ApproximateCreationDateTime": 1479499740,
            "Keys": {"orderId": {"S": "ORDER-123"}},
            "NewImage": typed(order),
            "OldImage": typed(order),
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
    }


OBJECT = "an order seems to be here: send only this object as the message's body"
IN_TEXT = (
    "an order seems to be here as JSON text in a string: send only this text as the message's body, without quotes"
)
IN_BASE64 = "an order seems to be here as base64 of JSON text: send only the text that it decodes to"
IN_TYPES = "an order seems to be here in DynamoDB's typed JSON: send it as plain JSON, without the types"

ENVELOPES = {
    "EventBridge": (lambda o: {**EVENT, "detail": o}, "detail", f'{OBJECT} (set InputPath to "$.detail"'),
    "a partner's event": (
        lambda o: {**EVENT, "detail": {"metadata": {"shop": "x"}, "payload": o}},
        "detail.payload",
        f'{OBJECT} (set InputPath to "$.detail.payload"',
    ),
    "an EventBridge event with the text": (lambda o: {**EVENT, "detail": {"body": text(o)}}, "detail.body", IN_TEXT),
    "SNS": (lambda o: {**SNS, "Message": text(o)}, "Message", IN_TEXT),
    "a pipe from SQS": (lambda o: {**SQS, "body": text(o)}, "body", IN_TEXT),
    "a pipe from Kinesis": (
        lambda o: {"eventSource": "aws:kinesis", "partitionKey": "1", "data": b64(o)},
        "data",
        IN_BASE64,
    ),
    "a pipe from DynamoDB": (stream, "dynamodb.NewImage", IN_TYPES),
    "a Lambda event of SQS": (lambda o: {"Records": [{**SQS, "body": text(o)}]}, "Records.0.body", IN_TEXT),
    "a Lambda event of SNS": (
        lambda o: {"Records": [{"EventSource": "aws:sns", "Sns": {**SNS, "Message": text(o)}}]},
        "Records.0.Sns.Message",
        IN_TEXT,
    ),
    "SNS in SQS": (
        lambda o: {"Records": [{**SQS, "body": text({**SNS, "Message": text(o)})}]},
        "Records.0.body.Message",
        IN_TEXT,
    ),
    "a Lambda event of Kinesis": (
        lambda o: {"Records": [{"kinesis": {"data": b64(o), "partitionKey": "1"}, "eventSource": "aws:kinesis"}]},
        "Records.0.kinesis.data",
        IN_BASE64,
    ),
    "a Lambda event of Kafka": (
        lambda o: {"eventSource": "aws:kafka", "records": {"orders-0": [{"topic": "orders", "value": b64(o)}]}},
        "records.orders-0.0.value",
        IN_BASE64,
    ),
    "API Gateway": (lambda o: {**HTTP, "body": text(o), "isBase64Encoded": False}, "body", IN_TEXT),
    "API Gateway, base64": (lambda o: {**HTTP, "body": b64(o), "isBase64Encoded": True}, "body", IN_BASE64),
    "CloudEvents": (
        lambda o: {
            "specversion": "1.0",
            "type": "order.placed",
            "source": "/shop",
            "id": "A-1",
            "time": "x",
            "data": o,
        },
        "data",
        OBJECT,
    ),
    "CloudEvents, base64": (
        lambda o: {"specversion": "1.0", "type": "order.placed", "source": "/shop", "id": "A-1", "data_base64": b64(o)},
        "data_base64",
        IN_BASE64,
    ),
    "a Lambda destination": (
        lambda o: {
            "version": "1.0",
            "timestamp": "2026-11-14T18:16:05.568Z",
            "requestContext": {"requestId": "e", "functionArn": "arn", "condition": "Success"},
            "requestPayload": {"orders": 1},
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
            "responsePayload": o,
        },
        "responsePayload",
        OBJECT,
    ),
    "a Step Functions task": (lambda o: {"Input": o, "TaskToken": "AAAA"}, "Input", OBJECT),
    "a message queue of another framework": (
        lambda o: {"uuid": "1", "job": "PlaceOrder", "data": {"command": text(o)}},
        "data.command",
        IN_TEXT,
    ),
    "Debezium": (lambda o: {"payload": {"before": None, "after": o, "op": "c", "ts_ms": 1}}, "payload.after", OBJECT),
    "GraphQL": (lambda o: {"data": {"createOrder": o}}, "data.createOrder", OBJECT),
    "a list of one": (lambda o: [o], "0", OBJECT),
    "an event with the order's id": (
        lambda o: {"eventType": "ORDER_PLACED", "orderId": "ORDER-123", "payload": {**o, "currency": "USD"}},
        "payload",
        OBJECT,
    ),
}


def errors_of(message):
    with pytest.raises(InvalidOrder) as refused:
        parse_order(message if isinstance(message, str) else json.dumps(message))
    assert refused.value.code == "INVALID_ORDER"
    return refused.value.errors


@pytest.mark.parametrize("order", [ORDER, SMALLEST], ids=["order", "smallest order"])
@pytest.mark.parametrize(("wrapped", "path", "reason"), ENVELOPES.values(), ids=ENVELOPES)
def test_an_order_in_an_envelope_is_refused_with_its_path_alone(wrapped, path, reason, order):
    (error,) = errors_of(wrapped(order))
    assert error.field == path
    assert error.reason.startswith(reason)


@pytest.mark.parametrize(("wrapped", "path", "reason"), ENVELOPES.values(), ids=ENVELOPES)
def test_the_mistakes_of_an_order_in_an_envelope_are_named_too(wrapped, path, reason):
    """Else the producer would unwrap the order and be refused again."""
    items = [{**item, "name": "x"} for item in ORDER["items"]]
    first, *others = errors_of(wrapped({**ORDER, "coupon": "SPRING", "items": items}))
    assert first.reason.startswith(reason)
    assert [str(error) for error in others] == [
        f"{path}.coupon: unknown field, leave it out or put it into attributes as a string",
        f"{path.replace('.0', '.*') if path != '0' else '*'}.items.*.name: unknown field (2 times)",
    ]


@FEWER
@given(order_data(), st.sampled_from(sorted(ENVELOPES)))
def test_any_order_is_found_in_any_envelope(data, name):
    wrapped, path, _ = ENVELOPES[name]
    assert [error.field for error in errors_of(wrapped(data))] == [path]


keys = st.sampled_from(["detail", "data", "body", "payload", "message", "event", "record", "content", "x"])


@FEWER
@given(order_data(), st.lists(keys | st.just(0), min_size=1, max_size=6), st.booleans())
def test_an_order_is_found_at_any_path(data, path, as_text):
    wrapped = json.dumps(data) if as_text else data
    for step in reversed(path):
        wrapped = [wrapped] if step == 0 else {"version": 1, step: wrapped}
    (error,) = errors_of(wrapped)
    assert error.field == ".".join(map(str, path))


def test_many_orders_in_one_message_are_one_entry():
    (error,) = errors_of({"orders": [ORDER, SMALLEST, ORDER]})
    assert error.field == "orders.*"
    assert error.reason == f"{OBJECT} (3 times)"


def test_orders_in_a_batch_are_named_with_all_their_mistakes():
    errors = errors_of([{**ORDER, "coupon": 1}, {**SMALLEST, "orderId": "#1"}])
    assert [error.field for error in errors] == ["*", "0.coupon", "1.orderId"]


def test_a_text_of_an_order_in_a_json_string_is_refused():
    (error,) = errors_of(json.dumps(json.dumps(ORDER)))
    assert (error.field, error.reason.partition(":")[0]) == ("", "the message is an order as JSON text in a string")


def test_an_order_in_dynamodbs_typed_json_is_refused():
    (error,) = errors_of(typed(ORDER))
    assert (error.field, error.reason.partition(":")[0]) == ("", "the message is an order in DynamoDB's typed JSON")


def test_sns_and_pipes_have_a_setting_that_sends_the_order_alone():
    (error,) = errors_of({**SNS, "Message": text(ORDER)})
    assert error.reason.endswith(" (enable raw message delivery on the SNS subscription)")
    (error,) = errors_of({**SQS, "body": text(ORDER)})
    assert error.reason.endswith(' (set the input template of the EventBridge pipe to "<$.body>")')


# ── an order that is not wrapped ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "message",
    [
        {**ORDER, "attributes": {"orderId": "B", "currency": "USD", "customerId": "C", "items": "2"}, "x": 1},
        {**ORDER, "source": "shop", "detail": {}},
        {"orderId": "A", "lines": [{"orderId": "A", "currency": "USD", "customerId": "C", "sku": "S", "qty": 1}]},
        {"orderId": "A", "note": '{"orderId": "A"}'},
        {"id": 1, "currency": "USD", "line_items": [{"id": 2, "price": "1"}], "customer": {"id": 3, "currency": "USD"}},
        {"items": [{"sku": "S", "price": "1"}], "total": {"currency": "USD", "value": 1}},
    ],
)
def test_an_order_with_mistakes_is_not_taken_for_an_envelope(message):
    assert not any("seems to be" in error.reason for error in errors_of(message))


# ── a message without an order ────────────────────────────────────────────────────────────────────

WITHOUT = {
    "a subscription confirmation": {
        **SNS,
        "Type": "SubscriptionConfirmation",
        "Token": "2336412f37fb687f5d51e6e2425a8a5969daf07",
        "Message": "You have chosen to subscribe to the topic arn:aws:sns:us-east-2:123456789012:orders.",
        "SubscribeURL": "https://sns.us-east-2.amazonaws.com/?Action=ConfirmSubscription",
    },
    "a scheduled event": {**EVENT, "detail-type": "Scheduled Event", "source": "aws.events", "detail": {}},
    "S3's test event": {"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2026", "Bucket": "b", "HostId": "h"},
    "an alarm": {"AlarmName": "a", "NewStateValue": "ALARM", "Region": "r", "Trigger": {"MetricName": "m"}},
    "a payment": {"eventCode": "AUTHORISATION", "pspReference": "7", "amount": {"currency": "USD", "value": 10}},
    "a state change": {
        **EVENT,
        "detail-type": "EC2 Instance State-change",
        "detail": {"instance-id": "i", "state": "x"},
    },
}


@pytest.mark.parametrize("message", WITHOUT.values(), ids=WITHOUT)
def test_a_message_without_an_order_has_no_remedy_that_cannot_help(message):
    first, *others = errors_of(message)
    assert str(first) == "the message is not an order, and no order was found in it"
    reasons = "".join(error.reason for error in others)
    assert not any(word in reasons for word in ("did you mean", "send", "raw", "InputPath", "attributes"))


POINTERS = {
    "the extended client": (
        ["software.amazon.payloadoffloading.PayloadS3Pointer", {"s3BucketName": "b", "s3Key": "k"}],
        "1",
    ),
    "an S3 notification": (
        {"Records": [{"eventSource": "aws:s3", "s3": {"bucket": {"name": "b"}, "object": {"key": "orders/1.json"}}}]},
        "Records.0.s3",
    ),
    "an S3 event of EventBridge": (
        {**EVENT, "source": "aws.s3", "detail": {"bucket": {"name": "b"}, "object": {"key": "orders/1.json"}}},
        "detail",
    ),
    "a pointer of their own": ({"type": "order", "location": {"bucket": "b", "key": "orders/1.json"}}, "location"),
}


@pytest.mark.parametrize(("message", "path"), POINTERS.values(), ids=POINTERS)
def test_a_pointer_to_an_object_in_s3_is_named_as_that(message, path):
    (error,) = errors_of(message)
    assert error.field == path
    assert error.reason.startswith("names an object in S3, and this pipeline reads only the message: ")


def test_an_order_is_found_by_the_likeness_of_its_lines():
    (first, *_) = errors_of({"version": 1, "data": {"line_items": [{"sku": "CD"}]}})
    assert first.field == "data"


def test_an_order_in_typed_json_in_a_text_is_found():
    (error,) = errors_of({"version": 1, "body": text(typed(ORDER))})
    assert error.field == "body"


def test_a_typed_value_that_is_not_of_its_type_is_a_mistake_of_the_order():
    errors = errors_of({**typed({"orderId": "A", "customerId": "C"}), "attributes": {"M": ["x"]}})
    assert [error.field for error in errors] == ["", "attributes"]


@given(st.binary(max_size=40), st.booleans(), st.booleans())
@example(b"\x00\x00\x17", False, True)  # ends with X
def test_base64_of_both_alphabets_with_and_without_padding_is_decoded(data, url_safe, padded):
    encoded = (base64.urlsafe_b64encode if url_safe else base64.b64encode)(data).decode()
    assert from_base64(encoded if padded else encoded.rstrip("=")) == data


# ── limits ────────────────────────────────────────────────────────────────────────────────────────


def test_a_very_deep_text_in_a_string_is_not_read():
    (error, *_) = errors_of({"body": "[" * 5_000 + "]" * 5_000})
    assert "seems" not in error.reason


def test_an_order_that_other_values_hide_is_refused_all_the_same():
    message = {f"f{n}": {"a": {"b": n}} for n in range(3_000)} | {"detail": ORDER}
    assert errors_of(message)


def test_an_order_among_seven_hundred_other_objects_is_found():
    (error,) = errors_of({f"f{n}": {"a": n} for n in range(700)} | {"detail": ORDER})
    assert error.field == "detail"


def test_an_order_behind_more_than_a_thousand_other_objects_is_not_looked_for():
    (error, *_) = errors_of({f"f{n}": {"a": n} for n in range(1_100)} | {"detail": ORDER})
    assert "seems" not in error.reason


def test_misspelled_names_of_fields_make_no_order():
    (error, *_) = errors_of({"data": {"ordreId": "A-1", "custmerId": "C-1", "curency": "USD"}})
    assert "seems" not in error.reason


def test_all_texts_of_a_message_together_may_have_so_many_values():
    full = text([0] * (MAX_VALUES * 3 // 5))
    assert errors_of({"a": full, "detail": text(ORDER)})[0].field == "detail"
    assert "seems" not in errors_of({"a": full, "b": full, "detail": text(ORDER)})[0].reason


def test_finding_an_order_changes_nothing_about_it():
    message = {**EVENT, "detail": dict(ORDER)}
    errors_of(message)
    assert order_from(message["detail"]) == order_from(ORDER)
