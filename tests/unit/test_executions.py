"""The name of an order's execution, by which it starts once, and Lambda's possible responses to a start."""

import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
)
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import OrderConflict, StartUnavailable, TooManyAttempts
from shared.executions.client import ExecutionsClient
from shared.executions.names import MAX_ATTEMPT, ExecutionName, refuse_attempt_after_last, stack_hash
from shared.orders.order import parse_order
from tests.unit.executions import ALIAS, EXECUTION, OTHER_STACK_ID, RUN_ID, STACK_ID, name_of, started
from tests.unit.orders import order_ids
from tests.unit.transport import Endpoint, client, refusal

ORDER = parse_order('{ "orderId": "ORDER-123", "items": [], "attributes": {"b": "2", "a": "1"} }')

attempts = st.integers(1, MAX_ATTEMPT)


# ── names ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_name_keeps_its_form():
    """Existing names must stay readable, so this name is fixed."""
    assert name_of("ORDER-123", 2) == "9ff35c65-ORDER-123-2"


@given(order_ids, attempts)
def test_a_name_reads_back_as_its_parts(order_id, attempt):
    name = ExecutionName.of(STACK_ID, order_id, attempt)
    assert ExecutionName.parse(str(name)) == name
    assert (name.stack, name.order_id, name.attempt) == (stack_hash(STACK_ID), order_id, attempt)


@given(order_ids, attempts)
def test_a_name_matches_lambdas_pattern(order_id, attempt):
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name_of(order_id, attempt))


def test_the_longest_name_has_exactly_lambdas_64_characters():
    assert len(str(ExecutionName("9ff35c65", "A" * 48, 999_999))) == 64


@pytest.mark.parametrize("attempt", [0, -1, MAX_ATTEMPT + 1])
def test_an_attempt_outside_the_range_has_no_name(attempt):
    with pytest.raises(ValueError, match="attempt"):
        ExecutionName.of(STACK_ID, "A", attempt)


@given(*[st.tuples(st.sampled_from([STACK_ID, OTHER_STACK_ID]), order_ids, attempts)] * 2)
def test_two_names_are_the_same_only_for_the_same_stack_order_and_attempt(one, other):
    assert (str(ExecutionName.of(*one)) == str(ExecutionName.of(*other))) == (one == other)


@pytest.mark.parametrize("attempt", [MAX_ATTEMPT + 1, 999_999])
def test_a_name_for_an_attempt_after_the_last_is_read_so_that_it_can_be_refused(attempt):
    assert ExecutionName.parse(f"9ff35c65-A-{attempt}").attempt == attempt


def test_the_last_attempt_is_accepted_and_the_next_refused():
    refuse_attempt_after_last("A", MAX_ATTEMPT)
    with pytest.raises(TooManyAttempts):
        refuse_attempt_after_last("A", MAX_ATTEMPT + 1)


@given(order_ids, st.integers(1, MAX_ATTEMPT))
def test_a_number_at_the_end_of_an_order_id_is_not_an_attempt(prefix, number):
    order_id = f"{prefix[:40]}-{number}"
    assert name_of(order_id) != name_of(prefix[:40], number)
    assert ExecutionName.parse(name_of(order_id, 2)).order_id == order_id
    assert ExecutionName.parse(name_of(order_id, 2)).attempt == 2


def test_a_stack_created_again_under_its_old_name_has_other_names():
    assert name_of("A", stack_id=STACK_ID) != name_of("A", stack_id=OTHER_STACK_ID)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nightly-run",
        "0123abcd",
        "0123abcd-A",
        "0123abcd--1",
        "0123abcd-A-0",
        "0123abcd-A-01",
        "0123abcd-A-1000000",
        "0123abcd-A-x",
        "0123ABCD-A-1",
        "0123abc-A-1",
        "0123abcde-A-1",
        "0123abcd--A-1",
        "0123abcd-_A-1",
        "0123abcd-A.B-1",
        "0123abcd-A-1\n",
        " 0123abcd-A-1",
        "0123abcd-A-\u0661",
        "0123abcd-" + "A" * 49 + "-1",
    ],
)
def test_a_name_in_another_format_is_not_parsed(text):
    assert ExecutionName.parse(text) is None


@given(order_ids, attempts, st.sampled_from(["7", "prod", "$LATEST", "1024"]), st.sampled_from(["aws", "aws-cn"]))
def test_the_name_is_found_in_its_executions_arn(order_id, attempt, version, partition):
    name = ExecutionName.of(STACK_ID, order_id, attempt)
    arn = f"arn:{partition}:lambda:eu-west-1:123456789012:function:f:{version}/durable-execution/{name}/{RUN_ID}"
    assert ExecutionName.in_arn(arn) == name


@pytest.mark.parametrize(
    "arn",
    [
        "",
        ALIAS,
        "arn:aws:sqs:us-east-1:123456789012:orders",
        f"{EXECUTION}/{RUN_ID}/{RUN_ID}",
        f"{EXECUTION}/nightly-run/{RUN_ID}",
        f"{EXECUTION}/0123abcd-A-1",
        f"{EXECUTION}/0123abcd-A-1/",
        f"{EXECUTION}/0123abcd-A-1/{RUN_ID}/more",
        f"{EXECUTION}/0123abcd-A-1/{RUN_ID}\n",
        f"{ALIAS}/other/0123abcd-A-1/{RUN_ID}",
        "/durable-execution/0123abcd-A-1/id",
    ],
)
def test_an_arn_without_a_name_of_the_pipelines_has_none(arn):
    assert ExecutionName.in_arn(arn) is None


# ── starts ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def lambda_client():
    return client("lambda")


def start(lambda_client, *answers, attempt=1):
    endpoint = Endpoint(lambda_client, "Invoke", *answers)
    return endpoint, lambda: ExecutionsClient(lambda_client, ALIAS, STACK_ID).start(ORDER, attempt)


def test_a_start_sends_the_canonical_bytes_and_nothing_else_under_the_orders_name(lambda_client):
    endpoint, start_it = start(lambda_client, started(name_of("ORDER-123")))
    start_it()
    (request,) = endpoint.requests
    assert request.body == ORDER.canonical_bytes() == b'{"attributes":{"a":"1","b":"2"},"orderId":"ORDER-123"}'
    assert request.headers["X-Amz-Invocation-Type"] == b"Event"
    assert request.headers["X-Amz-Durable-Execution-Name"].decode() == name_of("ORDER-123")
    assert unquote(request.url).endswith(f"/functions/{ALIAS}/invocations")


def test_a_start_returns_the_executions_arn(lambda_client):
    _, start_it = start(lambda_client, started(name_of("ORDER-123")))
    assert start_it() == f"{EXECUTION}/{name_of('ORDER-123')}/{RUN_ID}"


def test_a_repeated_start_sends_the_same_request(lambda_client):
    """Lambda joins the two by name and payload."""
    endpoint, start_it = start(lambda_client, started(name_of("ORDER-123")))
    assert start_it() == start_it()
    once, again = (
        (request.url, request.body, request.headers["X-Amz-Durable-Execution-Name"]) for request in endpoint.requests
    )
    assert once == again


class LambdaOverTcp(ThreadingHTTPServer):
    """Answers every start; `connections` is how many clients connected."""

    connections = 0

    class RequestHandlerClass(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self):
            super().setup()
            self.server.connections += 1

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(202)
            self.send_header("X-Amz-Durable-Execution-Arn", f"{EXECUTION}/{name_of('ORDER-123')}/{RUN_ID}")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_args):
            pass

    def __init__(self):
        super().__init__(("127.0.0.1", 0), self.RequestHandlerClass)


def test_starts_reuse_a_connection():
    with LambdaOverTcp() as server:
        Thread(target=server.serve_forever, args=(0.01,)).start()
        lambda_client = client("lambda", f"http://127.0.0.1:{server.server_port}")
        try:
            for _ in range(3):
                ExecutionsClient(lambda_client, ALIAS, STACK_ID).start(ORDER)
        finally:
            lambda_client.close()
            server.shutdown()
    assert server.connections == 1


def test_a_retry_starts_with_a_name_of_its_own(lambda_client):
    endpoint, start_it = start(lambda_client, started(name_of("ORDER-123", 2)), attempt=2)
    start_it()
    assert endpoint.requests[0].headers["X-Amz-Durable-Execution-Name"].decode() == name_of("ORDER-123", 2)


def test_a_name_taken_by_another_body_is_a_conflict(lambda_client):
    _, start_it = start(lambda_client, refusal(409, "DurableExecutionAlreadyStartedException"))
    with pytest.raises(OrderConflict, match=r"^order ORDER-123 was already started with another body$"):
        start_it()


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (408, "SnapStartTimeoutException"),
        (409, "ResourceConflictException"),
        (429, "TooManyRequestsException"),
        (429, "SomethingNewException"),
        (500, "ServiceException"),
        (502, "ResourceNotReadyException"),
        (503, "ServiceUnavailableException"),
        (504, "GatewayTimeout"),
    ],
)
def test_a_start_that_lambda_throttles_or_fails_is_transient(lambda_client, status, code):
    _, start_it = start(lambda_client, refusal(status, code))
    with pytest.raises(StartUnavailable, match=code):
        start_it()


@pytest.mark.parametrize(
    "silence",
    [
        ReadTimeoutError(endpoint_url=ALIAS),
        ConnectTimeoutError(endpoint_url=ALIAS),
        EndpointConnectionError(endpoint_url=ALIAS),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_start_without_a_response_is_transient(lambda_client, silence):
    _, start_it = start(lambda_client, silence)
    with pytest.raises(StartUnavailable):
        start_it()


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "AccessDeniedException"),
        (404, "ResourceNotFoundException"),
        (400, "InvalidParameterValueException"),
        (413, "RequestTooLargeException"),
    ],
)
def test_any_other_error_of_a_start_is_raised_unchanged(lambda_client, status, code):
    _, start_it = start(lambda_client, refusal(status, code))
    with pytest.raises(ClientError) as refused:
        start_it()
    assert refused.value.response["Error"]["Code"] == code


def test_no_failed_start_repeats_the_order(lambda_client):
    order = parse_order(json.dumps({"orderId": "A", "attributes": {"secret": "zqMARKqz"}}))
    for answer in (refusal(429, "TooManyRequestsException"), refusal(409, "DurableExecutionAlreadyStartedException")):
        fresh = client("lambda")
        Endpoint(fresh, "Invoke", answer)
        with pytest.raises((StartUnavailable, OrderConflict)) as failed:
            ExecutionsClient(fresh, ALIAS, STACK_ID).start(order)
        assert "zqMARKqz" not in str(failed.value)
