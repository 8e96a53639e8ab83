"""Event source mappings of DynamoDB streams: what is delivered again, what is given up, and in which order.

https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-params.html
"""

import json
import uuid

import pytest

from durable_local.ministack.patches.stream_sources import first_failure

ALWAYS = 1000
PARTIAL = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}
BATCH = [{"dynamodb": {"SequenceNumber": number}} for number in ("10", "11", "12")]


class Watched:
    """The fixture's table with a stream, and the batches that its function was given by this test."""

    def __init__(self, stack, aws_lambda, eventually):
        self._outputs, self._dynamodb, self._sqs = stack.outputs, stack.client("dynamodb"), stack.client("sqs")
        self._lambda, self._eventually, self._test = aws_lambda, eventually, uuid.uuid4().hex
        [mapping] = aws_lambda.list_event_source_mappings(FunctionName=self._outputs["ChangesName"])[
            "EventSourceMappings"
        ]
        self._mapping = mapping["UUID"]

    def put(self, label, failures=0, raises=False, hold="", item=None):
        """One record of the stream. Its first deliveries fail, by an error or by the response."""
        self._dynamodb.put_item(
            TableName=self._outputs["WatchedName"],
            Item={
                "id": {"S": f"{self._test}-{item or label}"},
                "test": {"S": self._test},
                "label": {"S": label},
                "failures": {"N": str(failures)},
                "raises": {"BOOL": raises},
                "hold": {"S": hold},
            },
        )

    def put_batch(self, *records):
        """Records that are read together, because the mapping is off until all are there."""
        self._lambda.update_event_source_mapping(UUID=self._mapping, Enabled=False)
        for record in records:
            self.put(**record)
        self._lambda.update_event_source_mapping(UUID=self._mapping, Enabled=True)

    def delivered(self, number):
        """The labels of each batch, when there are so many batches."""

        def look():
            noted = self._dynamodb.get_item(TableName=self._outputs["TableName"], Key={"id": {"S": self._test}})
            deliveries = noted.get("Item", {}).get("deliveries", {"L": []})["L"]
            batches = [" ".join(label["S"] for label in delivery["L"]) for delivery in deliveries]
            return batches if len(batches) >= number else None

        return self._eventually(look)

    def given_up(self):
        """What Lambda sent to the destination of failures, the next message."""

        def look():
            return self._sqs.receive_message(QueueUrl=self._outputs["LostChangesUrl"]).get("Messages")

        [message] = self._eventually(look)
        self._sqs.delete_message(QueueUrl=self._outputs["LostChangesUrl"], ReceiptHandle=message["ReceiptHandle"])
        return json.loads(message["Body"])


@pytest.fixture
def watched(stack, aws_lambda, eventually):
    return Watched(stack, aws_lambda, eventually)


def test_a_partial_response_delivers_again_from_the_first_failed_record(watched):
    watched.put_batch({"label": "a"}, {"label": "b", "failures": 1}, {"label": "c", "failures": 1})
    assert watched.delivered(2) == ["a b c", "b c"]
    watched.put("end")
    assert watched.delivered(3) == ["a b c", "b c", "end"]


def test_after_an_error_the_batch_is_split_until_the_bad_record_is_alone(watched):
    watched.put_batch(*[{"label": label} for label in "abc"], {"label": "bad", "failures": 2, "raises": True})
    assert watched.delivered(5) == ["a b c bad", "a b", "c bad", "c", "bad"]
    watched.put("end")
    assert watched.delivered(6)[5:] == ["end"]


def test_a_split_is_no_retry_and_a_record_without_retries_is_given_up(watched):
    """Splitting does not count towards MaximumRetryAttempts, which is 1: the bad record alone is delivered twice."""
    watched.put_batch({"label": "bad", "failures": ALWAYS, "raises": True}, {"label": "b"}, {"label": "c"})
    assert watched.delivered(5) == ["bad b c", "bad b", "bad", "bad", "b c"]
    told = watched.given_up()
    assert told["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert told["DDBStreamBatchInfo"]["batchSize"] == 1


def test_a_record_that_the_response_names_again_and_again_is_given_up(watched):
    watched.put_batch({"label": "a"}, {"label": "bad", "failures": ALWAYS})
    assert watched.given_up()["DDBStreamBatchInfo"]["batchSize"] == 1
    watched.put("end")
    assert watched.delivered(3) == ["a bad", "bad", "end"]


def test_changes_of_an_item_stay_in_order_behind_a_slow_batch_that_delays_no_queue(
    watched, stack, tmp_path, eventually
):
    gate = tmp_path / "gate"
    watched.put("x1", hold=str(gate), item="x")
    eventually((tmp_path / "gate.reached").exists)
    watched.put("x2", item="x")
    watched.put("y1", item="y")
    watched.put("x3", item="x")
    # Whoever polls the queue for the second message has looked at the stream since the first.
    for _ in range(2):
        message = stack.client("sqs").send_message(QueueUrl=stack.outputs["QueueUrl"], MessageBody="meanwhile")
        key = {"id": {"S": message["MessageId"]}}
        named = {"TableName": stack.outputs["TableName"], "Key": key}
        eventually(lambda named=named: stack.client("dynamodb").get_item(**named).get("Item"))
    gate.touch()
    assert watched.delivered(2) == ["x1", "x2 y1 x3"]


# ── which record failed first ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("body", "index"),
    [
        ({"batchItemFailures": []}, None),
        ({}, None),
        (None, None),
        ({"batchItemFailures": [{"itemIdentifier": "12"}, {"itemIdentifier": "11"}]}, 1),
        ({"batchItemFailures": [{"itemIdentifier": "unknown"}]}, 0),
        ({"batchItemFailures": [{}]}, 0),
        (json.dumps({"batchItemFailures": [{"itemIdentifier": "12"}]}), 2),
    ],
)
def test_a_batch_is_read_again_from_its_first_failure(body, index):
    assert first_failure({"body": body}, BATCH, PARTIAL) == index


def test_without_partial_batch_responses_an_answer_is_a_success():
    assert first_failure({"body": {"batchItemFailures": [{"itemIdentifier": "11"}]}}, BATCH, {}) is None


def test_after_an_error_the_whole_batch_is_read_again():
    assert first_failure({"error": True, "body": {}}, BATCH, PARTIAL) == 0
