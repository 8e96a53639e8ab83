"""Any message: it is started, rejected or given back, and the others in its batch are not affected."""

import importlib
import json
import sys
from dataclasses import dataclass
from zlib import crc32

import boto3
import pytest
from botocore.exceptions import ReadTimeoutError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from durable_local.ministack.patches.sqs_rules import NOT_ALLOWED, check_message, size_of
from ingest.messages import order_in
from shared.errors import InvalidOrder
from tests.unit.hostile import any_text, broken, changed, json_texts, nested
from tests.unit.orders import order_data, spellings
from tests.unit.test_executions import ALIAS, STACK_ID, name_of, started
from tests.unit.test_ingest_batch import event
from tests.unit.transport import Endpoint, client, refusal

LARGEST_BODY = 1_032_192
SQS_LIMIT = 1024 * 1024

STARTS = {
    "conflict": refusal(409, "DurableExecutionAlreadyStartedException"),
    "throttled": refusal(429, "TooManyRequestsException"),
    "denied": refusal(403, "AccessDeniedException"),
    "silent": ReadTimeoutError(endpoint_url=ALIAS),
}
SENT = 200, {}, json.dumps({"MessageId": "reject-1", "MD5OfMessageBody": ""}).encode()


@dataclass(frozen=True)
class Weather:
    """The responses of Lambda and SQS: always the same for the same request."""

    starts: tuple[str, ...] = ("started",)
    rejects: tuple[bool, ...] = (True,)

    def of_start(self, payload):
        """`started`, or a word of `STARTS`."""
        return self.starts[crc32(payload) % len(self.starts)]

    def takes(self, message_id, body):
        """Whether SQS takes a reject. A body is not empty, and of XML's characters."""
        return self.rejects[crc32(message_id.encode()) % len(self.rejects)] and is_body(body)

    def outcome(self, message_id, body):
        """What a message must come to."""
        try:
            start = self.of_start(order_in(body).canonical_bytes())
        except InvalidOrder:
            start = "conflict"
        if start == "conflict":
            return "rejected" if self.takes(message_id, body) else "given back"
        return "started" if start == "started" else "given back"


def is_body(text):
    return bool(text) and not NOT_ALLOWED.search(text)


class Ingest:
    """The function as Lambda runs it; requests to Lambda and SQS are answered here."""

    def __init__(self, monkeypatch, context):
        self._context = context
        clients = {service: client(service) for service in ("lambda", "sqs")}
        self.starts = Endpoint(clients["lambda"], "Invoke", self._start)
        self.rejects = Endpoint(clients["sqs"], "SendMessage", self._reject)
        monkeypatch.setattr(boto3, "client", lambda service, **_: clients[service])
        monkeypatch.setenv("ORCHESTRATOR_ARN", ALIAS)
        monkeypatch.setenv("REJECTED_ORDERS_QUEUE_URL", "https://sqs.invalid/1/rejected")
        monkeypatch.setenv("STACK_ID", STACK_ID)
        monkeypatch.delitem(sys.modules, "ingest.handler", raising=False)
        self._handler = importlib.import_module("ingest.handler").handler

    def take(self, messages, weather):
        """Hand it messages, bodies by id: the payloads it started, the rejects that SQS took, the ids it gave back."""
        self._weather = weather
        self.starts.requests, self.rejects.requests = [], []
        batch = event(*messages)
        for record in batch["Records"]:
            record["body"] = messages[record["messageId"]]
        answer = self._handler(batch, self._context)
        assert answer.keys() == {"batchItemFailures"}
        given_back = [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]
        payloads = [request.body for request in self.starts.requests]
        rejects = [json.loads(request.body) for request in self.rejects.requests]
        return (
            sorted(payload for payload in payloads if weather.of_start(payload) == "started"),
            sorted(filter(self._takes, rejects), key=id_of),
            given_back,
        )

    def sent(self):
        """Every request, without what is another each time."""
        return sorted(
            (request.url, request.headers.get("X-Amz-Durable-Execution-Name"), request.body)
            for endpoint in (self.starts, self.rejects)
            for request in endpoint.requests
        )

    def _start(self, request):
        says = self._weather.of_start(request.body)
        return STARTS[says] if says != "started" else started(name_of(json.loads(request.body)["orderId"]))

    def _reject(self, request):
        return SENT if self._takes(json.loads(request.body)) else refusal(400, "InvalidMessageContents")

    def _takes(self, reject):
        return self._weather.takes(id_of(reject), reject["MessageBody"])


def id_of(reject):
    return reject["MessageAttributes"]["sourceMessageId"]["StringValue"]


@pytest.fixture
def ingest(monkeypatch, lambda_context):
    return Ingest(monkeypatch, lambda_context)


def canonical(data):
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def comes_to_what_it_must(ingest, bodies, weather):
    messages = {f"message-{number}": body for number, body in enumerate(bodies)}
    outcomes = {name: weather.outcome(name, body) for name, body in messages.items()}
    payloads, rejects, given_back = ingest.take(messages, weather)

    orders = [order_in(body) for name, body in messages.items() if outcomes[name] == "started"]
    assert payloads == sorted(order.canonical_bytes() for order in orders)
    assert payloads == [canonical(json.loads(payload)) for payload in payloads]
    assert [id_of(reject) for reject in rejects] == sorted(name for name in messages if outcomes[name] == "rejected")
    for reject in rejects:
        assert reject["MessageBody"] == messages[id_of(reject)]
        check_message(reject, SQS_LIMIT)
        assert size_of({**reject, "MessageBody": ""}) <= SQS_LIMIT - LARGEST_BODY
    assert given_back == [name for name, outcome in outcomes.items() if outcome == "given back"]

    first = ingest.sent()
    ingest.take(messages, weather)
    assert ingest.sent() == first


orders = order_data()
order_texts = orders.flatmap(spellings)
bodies = st.one_of(
    order_texts,
    broken(order_texts),
    changed(orders).map(json.dumps),
    json_texts,
    nested,
    any_text,
)
weathers = st.builds(
    Weather,
    st.lists(st.sampled_from(["started", *STARTS]), min_size=1, max_size=3).map(tuple),
    st.lists(st.booleans(), min_size=1, max_size=3).map(tuple),
)


@settings(max_examples=settings.default.max_examples // 2)
@given(st.lists(bodies, min_size=1, max_size=4))
@example(['{"orderId":"A"}', '{"orderId":"A"}', '{"orderId":"A","currency":"USD"}'])
@example(['{"orderId":"A","attributes":{"a":"\\u0000"}}', "\x00", "\ud800", '"\\ud800"', ""])
@example(['{"orderId":"A","\\ufffe":1}', '{"orderId":"A","\\ud800":1}', '{"\\u0000":1,"\\u0000":2}'])
def test_each_message_of_any_batch_has_the_right_outcome(ingest, bodies):
    comes_to_what_it_must(ingest, bodies, Weather())


@settings(max_examples=settings.default.max_examples // 2)
@given(st.lists(bodies, min_size=1, max_size=4), weathers)
def test_each_message_has_the_right_outcome_whatever_aws_answers(ingest, bodies, weather):
    comes_to_what_it_must(ingest, bodies, weather)


def full_of(beginning, piece, end):
    """A body of the largest size, filled with the pieces."""
    number = (LARGEST_BODY - len(beginning) - len(end)) // (len(piece) + 1)
    return beginning + ",".join([piece] * number) + end


WIDE = "\U0001f600" * 200
LINE = '{"sku":"S","quantity":1,"unitPrice":@}'
LARGEST = {
    "lists in lists": "[" * LARGEST_BODY,
    "objects in objects": '{"a":' * (LARGEST_BODY // 5),
    "one number": '{"orderId":' + "9" * (LARGEST_BODY - 20) + "}",
    "one fraction": '{"orderId":0.' + "9" * (LARGEST_BODY - 20) + "}",
    "exponents that are no end of digits": full_of('{"orderId":"A","items":[', LINE.replace("@", "1E+999999999"), "]}"),
    "exponents that are nearly nothing": full_of('{"orderId":"A","items":[', LINE.replace("@", "1E-999999999"), "]}"),
    "one key": '{"' + "k" * (LARGEST_BODY - 10) + '":1}',
    "the same key": full_of("{", '"orderId":"A"', "}"),
    "keys of half characters": "{" + ",".join(f'"\\ud800{number:05}":1' for number in range(60_000)) + "}",
    "half characters": '{"orderId":"' + "\\ud800" * (LARGEST_BODY // 6 - 5) + '"}',
    "characters of four bytes": '"' + "\U0001f600" * (LARGEST_BODY // 4 - 2) + '"',
    "items that are none": full_of('{"orderId":"A","items":[', "{}", "]}"),
    "fields that are none": "{" + ",".join(f'"{number:x}":0' for number in range(80_000)) + "}",
    "a price": '{"orderId":"A","items":[' + LINE.replace("@", '"' + "1" * (LARGEST_BODY - 90) + '"') + "]}",
    "keys that take long to tell": "{" + ",".join(f'"{WIDE}{number}":1' for number in range(1_000)) + "}",
    "nothing": " " * LARGEST_BODY,
    "noughts": "\x00" * LARGEST_BODY,
}


def test_a_batch_of_the_largest_and_worst_bodies_leaves_an_order_among_them_unharmed(ingest):
    bodies = [*LARGEST.values(), '{"orderId":"GOOD"}']
    assert all(len(body.encode()) <= LARGEST_BODY for body in bodies)
    comes_to_what_it_must(ingest, bodies, Weather())
    payloads, rejects, given_back = ingest.take({str(number): body for number, body in enumerate(bodies)}, Weather())
    assert payloads == [b'{"orderId":"GOOD"}']
    # SQS would not have carried the last: it is no body.
    assert given_back == [str(len(LARGEST) - 1)]
    assert len(rejects) == len(LARGEST) - 1
