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
from shared.errors import InvalidOrder
from shared.orders.order import parse_order
from tests.unit.events import sqs_event
from tests.unit.executions import ALIAS, STACK_ID, name_of, started
from tests.unit.hostile import any_text, broken, changed, json_texts, nested
from tests.unit.orders import order_data, spellings
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
class Responses:
    """The responses of Lambda and SQS. A repeated request gets the same response."""

    starts: tuple[str, ...] = ("started",)
    rejects: tuple[bool, ...] = (True,)

    def of_start(self, payload):
        """`started`, or a word of `STARTS`."""
        return self.starts[crc32(payload) % len(self.starts)]

    def takes(self, message_id, body):
        """Whether SQS accepts a reject: a body is not empty and has only characters of XML."""
        return self.rejects[crc32(message_id.encode()) % len(self.rejects)] and is_body(body)

    def outcome(self, message_id, body):
        """The expected outcome of a message."""
        try:
            start = self.of_start(parse_order(body).canonical_bytes())
        except InvalidOrder:
            start = "conflict"
        if start == "conflict":
            return "rejected" if self.takes(message_id, body) else "given back"
        return "started" if start == "started" else "given back"


def is_body(text):
    return bool(text) and not NOT_ALLOWED.search(text)


class Ingest:
    """The function as Lambda runs it. Its requests to Lambda and SQS get responses from here."""

    def __init__(self, monkeypatch, context):
        self._context = context
        clients = {service: client(service) for service in ("lambda", "sqs", "dynamodb")}
        self.starts = Endpoint(clients["lambda"], "Invoke", self._start)
        self.rejects = Endpoint(clients["sqs"], "SendMessage", self._reject)
        Endpoint(clients["dynamodb"], "GetItem", (200, {}, b"{}"))
        monkeypatch.setattr(boto3, "client", lambda service, **_: clients[service])
        monkeypatch.setenv("ORCHESTRATOR_ARN", ALIAS)
        monkeypatch.setenv("REJECTED_ORDERS_QUEUE_URL", "https://sqs.invalid/1/rejected")
        monkeypatch.setenv("STACK_ID", STACK_ID)
        monkeypatch.setenv("ORDER_ID_PREFIX", "")
        monkeypatch.setenv("LEDGER_TABLE", "ledger")
        monkeypatch.delitem(sys.modules, "ingest.handler", raising=False)
        self._handler = importlib.import_module("ingest.handler").handler

    def take(self, messages, responses):
        """Invokes it with bodies by message id. Returns started payloads, accepted rejects, and the ids given back."""
        self._responses = responses
        self.starts.requests, self.rejects.requests = [], []
        batch = sqs_event(*messages)
        for record in batch["Records"]:
            record["body"] = messages[record["messageId"]]
        answer = self._handler(batch, self._context)
        assert answer.keys() == {"batchItemFailures"}
        given_back = [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]
        payloads = [request.body for request in self.starts.requests]
        rejects = [json.loads(request.body) for request in self.rejects.requests]
        return (
            sorted(payload for payload in payloads if responses.of_start(payload) == "started"),
            sorted(filter(self._takes, rejects), key=id_of),
            given_back,
        )

    def sent(self):
        """Every request, without the parts that differ between repetitions."""
        return sorted(
            (request.url, request.headers.get("X-Amz-Durable-Execution-Name"), request.body)
            for endpoint in (self.starts, self.rejects)
            for request in endpoint.requests
        )

    def _start(self, request):
        says = self._responses.of_start(request.body)
        return STARTS[says] if says != "started" else started(name_of(json.loads(request.body)["orderId"]))

    def _reject(self, request):
        return SENT if self._takes(json.loads(request.body)) else refusal(400, "InvalidMessageContents")

    def _takes(self, reject):
        return self._responses.takes(id_of(reject), reject["MessageBody"])


def id_of(reject):
    return reject["MessageAttributes"]["sourceMessageId"]["StringValue"]


@pytest.fixture
def ingest(monkeypatch, lambda_context):
    return Ingest(monkeypatch, lambda_context)


def canonical(data):
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def assert_outcomes(ingest, bodies, responses):
    messages = {f"message-{number}": body for number, body in enumerate(bodies)}
    outcomes = {name: responses.outcome(name, body) for name, body in messages.items()}
    payloads, rejects, given_back = ingest.take(messages, responses)

    orders = [parse_order(body) for name, body in messages.items() if outcomes[name] == "started"]
    assert payloads == sorted(order.canonical_bytes() for order in orders)
    assert payloads == [canonical(json.loads(payload)) for payload in payloads]
    assert [id_of(reject) for reject in rejects] == sorted(name for name in messages if outcomes[name] == "rejected")
    for reject in rejects:
        assert reject["MessageBody"] == messages[id_of(reject)]
        check_message(reject, SQS_LIMIT)
        assert size_of({**reject, "MessageBody": ""}) <= SQS_LIMIT - LARGEST_BODY
    assert given_back == [name for name, outcome in outcomes.items() if outcome == "given back"]

    first = ingest.sent()
    ingest.take(messages, responses)
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
all_responses = st.builds(
    Responses,
    st.lists(st.sampled_from(["started", *STARTS]), min_size=1, max_size=3).map(tuple),
    st.lists(st.booleans(), min_size=1, max_size=3).map(tuple),
)


@settings(max_examples=settings.default.max_examples // 2)
@given(st.lists(bodies, min_size=1, max_size=4))
@example(['{"orderId":"A"}', '{"orderId":"A"}', '{"orderId":"A","currency":"USD"}'])
@example(['{"orderId":"A","attributes":{"a":"\\u0000"}}', "\x00", "\ud800", '"\\ud800"', ""])
@example(['{"orderId":"A","\\ufffe":1}', '{"orderId":"A","\\ud800":1}', '{"\\u0000":1,"\\u0000":2}'])
def test_each_message_of_any_batch_has_the_right_outcome(ingest, bodies):
    assert_outcomes(ingest, bodies, Responses())


@settings(max_examples=settings.default.max_examples // 2)
@given(st.lists(bodies, min_size=1, max_size=4), all_responses)
def test_each_message_has_the_right_outcome_for_any_response_of_aws(ingest, bodies, responses):
    assert_outcomes(ingest, bodies, responses)


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


def test_an_order_in_a_batch_of_the_largest_and_worst_bodies_is_started(ingest):
    bodies = [*LARGEST.values(), '{"orderId":"GOOD"}']
    assert all(len(body.encode()) <= LARGEST_BODY for body in bodies)
    assert_outcomes(ingest, bodies, Responses())
    payloads, rejects, given_back = ingest.take({str(number): body for number, body in enumerate(bodies)}, Responses())
    assert payloads == [b'{"orderId":"GOOD"}']
    # SQS never delivers the last one: it does not accept an empty body.
    assert given_back == [str(len(LARGEST) - 1)]
    assert len(rejects) == len(LARGEST) - 1
