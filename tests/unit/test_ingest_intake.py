"""The outcomes of one message, each with its log line."""

import json
from io import StringIO

import pytest
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from botocore.exceptions import ClientError, ReadTimeoutError

from ingest.intake import Intake
from shared.aws.rejected_orders import RejectedOrders
from shared.errors import RejectUnavailable, StartUnavailable
from shared.executions.client import ExecutionsClient
from tests.unit.test_executions import ALIAS, STACK_ID, name_of, started
from tests.unit.transport import Endpoint, client, refusal, session

MARK = "zqMARKqz"
ORDER = json.dumps({"orderId": "ORDER-123", "attributes": {"note": MARK}})
STARTED = started(name_of("ORDER-123"))
CONFLICT = refusal(409, "DurableExecutionAlreadyStartedException")
THROTTLED = refusal(429, "TooManyRequestsException")


class Ingest:
    """Ingest's own parts; requests to Lambda are answered here, and the rejected-orders queue is moto's."""

    def __init__(self, logger, log):
        self._log = log
        self._lambda = client("lambda")
        self.sqs = session().client("sqs")
        self.queue = self.sqs.create_queue(QueueName="rejected")["QueueUrl"]
        self._intake = Intake(
            ExecutionsClient(self._lambda, ALIAS, STACK_ID), RejectedOrders(self.sqs, self.queue), logger
        )

    def take(self, body, *answers):
        """Take the body in, with Lambda answering so; answers what Lambda was asked."""
        endpoint = Endpoint(self._lambda, "Invoke", *answers)
        self._intake.take(SQSRecord({"messageId": "message-1", "body": body}))
        return endpoint.requests

    def rejected(self):
        messages = self.sqs.receive_message(QueueUrl=self.queue, MessageAttributeNames=["All"], MaxNumberOfMessages=10)
        return messages.get("Messages", [])

    def logged(self):
        """The one line that the message left in the log."""
        assert MARK not in self._log.getvalue()
        (line,) = map(json.loads, self._log.getvalue().splitlines())
        assert line["messageId"] == "message-1"
        return line


@pytest.fixture
def ingest(aws, logger, log):
    return Ingest(logger, log)


def test_an_order_is_started_and_its_message_done(ingest):
    (request,) = ingest.take(ORDER, STARTED)
    assert json.loads(request.body) == json.loads(ORDER)
    assert ingest.rejected() == []


def test_a_started_order_is_logged_with_its_execution(ingest):
    ingest.take(ORDER, STARTED)
    line = ingest.logged()
    assert (line["level"], line["message"], line["orderId"]) == ("INFO", "order started", "ORDER-123")
    assert f"/{name_of('ORDER-123')}/" in line["executionArn"]


def test_a_message_delivered_again_is_done_again(ingest):
    """Lambda's response is the same for a new name and for a name that was started with the same payload."""
    first = ingest.take(ORDER, STARTED)[0]
    again = ingest.take(f" {ORDER} ", STARTED)[-1]
    assert (first.url, first.body) == (again.url, again.body)
    assert ingest.rejected() == []


@pytest.mark.parametrize(
    ("body", "code", "fields"),
    [
        (MARK, "NOT_JSON", [""]),
        (f'{{"orderId":"{MARK}"', "NOT_JSON", [""]),
        (json.dumps({"orderId": f"{MARK} {MARK}", "items": [{}]}), "INVALID_ORDER", None),
        ('{"orderId":"ORDER-123","orderId":"ORDER-124"}', "INVALID_ORDER", ["orderId"]),
        (json.dumps({"orderId": "ORDER-123", "total": MARK}), "INVALID_ORDER", ["total"]),
        (json.dumps({"Type": "", "MessageId": "", "TopicArn": "", "Message": MARK}), "INVALID_ORDER", [""]),
        (
            json.dumps({"orderId": "ORDER-123", "attributes": {f"{n:02}": "\x01" * 256 for n in range(50)}}),
            "TOO_LARGE",
            [""],
        ),
    ],
)
def test_a_message_that_is_no_order_is_rejected_unchanged_with_its_reason(ingest, body, code, fields):
    assert ingest.take(body, STARTED) == []
    (message,) = ingest.rejected()
    assert message["Body"] == body
    attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert attributes["reasonCode"] == code
    assert attributes["sourceMessageId"] == "message-1"
    assert MARK not in attributes["fieldErrors"]
    told = [error["field"] for error in json.loads(attributes["fieldErrors"])]
    assert told == fields or fields is None
    line = ingest.logged()
    assert (line["level"], line["message"], line["reasonCode"]) == ("WARNING", "message rejected", code)
    assert line["fields"] == told


def test_the_same_order_id_with_another_body_is_rejected_as_a_conflict(ingest):
    ingest.take(ORDER, CONFLICT)
    (message,) = ingest.rejected()
    assert message["Body"] == ORDER
    assert message["MessageAttributes"]["reasonCode"]["StringValue"] == "ORDER_CONFLICT"
    (error,) = json.loads(message["MessageAttributes"]["fieldErrors"]["StringValue"])
    assert error["field"] == "orderId"
    line = ingest.logged()
    assert (line["message"], line["reasonCode"]) == ("message rejected", "ORDER_CONFLICT")
    assert line["orderId"] == "ORDER-123"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (THROTTLED, StartUnavailable),
        (refusal(500, "ServiceException"), StartUnavailable),
        (ReadTimeoutError(endpoint_url=ALIAS), StartUnavailable),
        (refusal(403, "AccessDeniedException"), ClientError),
        (refusal(404, "ResourceNotFoundException"), ClientError),
        (refusal(409, "ResourceConflictException"), StartUnavailable),
    ],
)
def test_an_order_that_could_not_be_started_is_given_back_not_rejected(ingest, answer, error):
    with pytest.raises(error) as failed:
        ingest.take(ORDER, answer)
    assert ingest.rejected() == []
    line = ingest.logged()
    assert (line["level"], line["message"], line["orderId"]) == ("WARNING", "message given back", "ORDER-123")
    assert line["error"] == f"{type(failed.value).__name__}: {failed.value}"


def test_a_response_without_an_arn_gives_the_message_back(ingest):
    """The execution may have been started. Because of its name, a second start does no harm."""
    with pytest.raises(KeyError):
        ingest.take(ORDER, (202, {}, b""))
    assert ingest.logged()["message"] == "message given back"


@pytest.mark.parametrize(("body", "order_id"), [(ORDER, "ORDER-123"), ("[]", None)])
def test_a_message_that_could_not_be_rejected_is_given_back(ingest, body, order_id):
    ingest.sqs.delete_queue(QueueUrl=ingest.queue)
    with pytest.raises(RejectUnavailable):
        ingest.take(body, CONFLICT)
    line = ingest.logged()
    assert (line["level"], line["message"]) == ("WARNING", "message given back")
    assert line.get("orderId") == order_id
    assert line["error"].startswith("RejectUnavailable: ")


def test_a_message_full_of_mistakes_leaves_a_line_that_fits_into_the_log(ingest):
    """CloudWatch drops events above 1 MiB, and cuts Lambda's lines at 256 KiB."""
    ingest.take('{"orderId":"ORDER-123","items":[' + ",".join(["{}"] * 20_000) + "]}", STARTED)
    assert len(json.dumps(ingest.logged())) <= 256 * 1024


def test_a_bug_in_reading_a_message_is_logged_and_raised(monkeypatch):
    def broken(body):
        raise KeyError("a bug")

    monkeypatch.setattr("ingest.intake.order_in", broken)
    stream = StringIO()
    taking = Intake(None, None, Logger(service="ingest-with-a-bug", stream=stream))
    with pytest.raises(KeyError):
        taking.take(SQSRecord({"messageId": "m-1", "body": "{}"}))
    assert "message given back" in stream.getvalue()
    assert "m-1" in stream.getvalue()
