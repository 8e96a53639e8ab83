"""The outcomes of one message, each with its log line."""

import json

import pytest
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from botocore.exceptions import ClientError, ReadTimeoutError

from ingest.intake import Intake
from shared.aws.rejected_orders import RejectedOrders
from shared.errors import FieldError, RejectUnavailable, StartUnavailable
from shared.executions.client import ExecutionsClient
from shared.executions.names import OrderExecution
from shared.ledger.states import State
from shared.ledger.table import LedgerTable, Written
from shared.orders.order import order_from
from tests.unit.executions import ALIAS, STACK_ID, name_of, started
from tests.unit.transport import Endpoint, client, refusal, session

MARK = "zqMARKqz"
ORDER = json.dumps({"orderId": "ORDER-123", "attributes": {"note": MARK}})
STARTED = started(name_of("ORDER-123"))
CONFLICT = refusal(409, "DurableExecutionAlreadyStartedException")
THROTTLED = refusal(429, "TooManyRequestsException")


class Ingest:
    """Ingest with Lambda's responses from here, and with moto's queue for rejected orders."""

    def __init__(self, ledger, logger, log, order_id_prefix=""):
        self._log = log
        self._lambda = client("lambda")
        self.sqs = session().client("sqs")
        self.queue = self.sqs.create_queue(QueueName="rejected")["QueueUrl"]
        self._intake = Intake(
            ExecutionsClient(self._lambda, ALIAS, STACK_ID),
            RejectedOrders(self.sqs, self.queue),
            ledger,
            logger,
            order_id_prefix,
        )

    def take(self, body, *answers, **record):
        """Processes the body with these responses of Lambda. Returns the requests to Lambda; `outcome` is counted."""
        endpoint = Endpoint(self._lambda, "Invoke", *answers)
        self.outcome = self._intake.take(SQSRecord({"messageId": "message-1", "body": body, **record}))
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
def ledger(dynamodb, ledger_table):
    return LedgerTable(dynamodb, ledger_table, now=lambda: "2026-01-01T00:00:00.000Z")


@pytest.fixture
def ingest(ledger, logger, log):
    return Ingest(ledger, logger, log)


def test_an_order_is_started_and_its_message_is_done(ingest):
    (request,) = ingest.take(ORDER, STARTED)
    assert json.loads(request.body) == json.loads(ORDER)
    assert ingest.rejected() == []


def test_an_accepted_order_is_logged_with_its_execution(ingest):
    ingest.take(ORDER, STARTED)
    line = ingest.logged()
    assert (line["level"], line["message"], line["orderId"]) == ("INFO", "order accepted", "ORDER-123")
    assert f"/{name_of('ORDER-123')}/" in line["executionArn"]


def test_a_redelivered_message_is_started_again(ingest):
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
        (json.dumps({"Type": "", "MessageId": "", "TopicArn": "", "Message": MARK}), "INVALID_ORDER", None),
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
    assert attributes["reasonCode"] == ingest.outcome == code
    assert attributes["sourceMessageId"] == "message-1"
    assert MARK not in attributes["fieldErrors"]
    told = [error["field"] for error in json.loads(attributes["fieldErrors"])]
    assert told == fields or fields is None
    line = ingest.logged()
    assert (line["level"], line["message"], line["reasonCode"]) == ("WARNING", "message rejected", code)
    assert line["fields"] == [FieldError(field, "").logged_field for field in told]


def test_the_same_order_id_with_another_body_is_rejected_as_a_conflict(ingest):
    ingest.take(ORDER, CONFLICT)
    (message,) = ingest.rejected()
    assert message["Body"] == ORDER
    assert message["MessageAttributes"]["reasonCode"]["StringValue"] == ingest.outcome == "ORDER_CONFLICT"
    (error,) = json.loads(message["MessageAttributes"]["fieldErrors"]["StringValue"])
    assert error["field"] == "orderId"
    assert error["reason"].endswith("; that is not in the ledger yet, so what differs is not known")
    line = ingest.logged()
    assert (line["message"], line["reasonCode"]) == ("message rejected", "ORDER_CONFLICT")
    assert line["orderId"] == "ORDER-123"


def first_order(ledger, **fields):
    """Write the first order with this id, as its execution does."""
    order = order_from({"orderId": "ORDER-123", **fields})
    owner = OrderExecution("ORDER-123", "arn:first", 1, named=True)
    assert ledger.begin(order, owner, (State.RECEIVED,), None, fields={"enrichStarts": 1}) == Written()


def field_errors(message):
    return json.loads(message["MessageAttributes"]["fieldErrors"]["StringValue"])


def test_a_conflict_says_which_fields_differ_and_which_order_was_first(ingest, ledger):
    first_order(ledger, currency="USD", attributes={"note": "another"})
    ingest.take(ORDER, CONFLICT)
    (message,) = ingest.rejected()
    first, *others = field_errors(message)
    assert first["reason"] == (
        "order ORDER-123 is known with another body, first received at 2026-01-01T00:00:00.000Z by the execution"
        " arn:first"
    )
    assert others == [
        {"field": "currency", "reason": "only the first order has it"},
        {"field": "attributes.note", "reason": "differs from the first order"},
    ]
    # A name that the producer chose is in the reject, and not in the log.
    assert ingest.logged()["fields"] == ["orderId", "currency", "attributes.*"]


def test_an_order_id_without_the_required_prefix_is_rejected_and_names_the_prefix(ledger, logger, log):
    ingest = Ingest(ledger, logger, log, order_id_prefix="SHOP-")
    assert ingest.take(ORDER, STARTED) == []
    (message,) = ingest.rejected()
    assert message["MessageAttributes"]["reasonCode"]["StringValue"] == "INVALID_ORDER"
    assert field_errors(message) == [{"field": "orderId", "reason": "should begin with SHOP-"}]
    assert len(ingest.take(ORDER.replace("ORDER-", "SHOP-"), STARTED)) == 1


def test_a_conflict_with_an_order_that_was_corrected_to_the_same_body_says_so(ingest, ledger):
    first_order(ledger, attributes={"note": MARK})
    ingest.take(ORDER, CONFLICT)
    (error,) = field_errors(ingest.rejected()[0])
    assert error["reason"].endswith("; a retry has corrected that to this body: nothing to send")


def test_a_conflict_is_rejected_while_the_ledger_cannot_be_read(ingest, dynamodb, log):
    dynamodb.delete_table(TableName="LedgerTable")
    ingest.take(ORDER, CONFLICT)
    (error,) = field_errors(ingest.rejected()[0])
    assert error["field"] == "orderId"
    assert error["reason"].endswith("; the ledger could not be read to say what differs")
    lines = [json.loads(line)["message"] for line in log.getvalue().splitlines()]
    assert lines == ["conflict not explained", "message rejected"]


def test_a_reject_keeps_what_the_message_came_with(ingest):
    attribute = {"stringValue": "7a1f", "dataType": "String"}
    ingest.take(
        "{}", STARTED, messageAttributes={"correlationId": attribute}, attributes={"MessageGroupId": "tenant-7"}
    )
    (message,) = ingest.rejected()
    assert message["MessageAttributes"]["correlationId"]["StringValue"] == "7a1f"


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


def test_the_log_line_for_a_message_full_of_mistakes_has_a_limit(ingest):
    """CloudWatch drops events above 1 MiB, and cuts Lambda's lines at 256 KiB."""
    ingest.take('{"orderId":"ORDER-123","items":[' + ",".join(["{}"] * 20_000) + "]}", STARTED)
    assert len(json.dumps(ingest.logged())) <= 256 * 1024


def test_a_bug_in_reading_a_message_is_logged_and_raised(monkeypatch, logger, log):
    def broken(body):
        raise KeyError("a bug")

    monkeypatch.setattr("ingest.intake.parse_order", broken)
    taking = Intake(None, None, None, logger)
    with pytest.raises(KeyError):
        taking.take(SQSRecord({"messageId": "m-1", "body": "{}"}))
    assert "message given back" in log.getvalue()
    assert "m-1" in log.getvalue()
