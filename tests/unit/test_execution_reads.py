"""Reading, listing and stopping executions: Lambda's possible responses and the result of each."""

import json
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError

from shared.errors import ExecutionUnavailable
from shared.executions.client import UNSUCCESSFUL, EndedExecution, ExecutionDetails, ExecutionsClient
from tests.unit.executions import ALIAS, EXECUTION, RUN_ID, STACK_ID, name_of
from tests.unit.transport import Endpoint, client, refusal

ARN = f"{EXECUTION}/{name_of('ORDER-123')}/{RUN_ID}"
SINCE = datetime(2026, 11, 1, 12, tzinfo=UTC)
GONE = refusal(404, "ResourceNotFoundException")
FAILURES = [
    refusal(429, "TooManyRequestsException"),
    refusal(500, "ServiceException"),
    refusal(503, "ServiceUnavailableException"),
    refusal(403, "AccessDeniedException"),
    refusal(400, "InvalidParameterValueException"),
    ReadTimeoutError(endpoint_url=ALIAS),
    ConnectTimeoutError(endpoint_url=ALIAS),
    EndpointConnectionError(endpoint_url=ALIAS),
]
CALLS = {
    "GetDurableExecution": lambda executions: executions.get(ARN),
    "StopDurableExecution": lambda executions: executions.stop(ARN, "OrderCancelled", "cancelled"),
    "ListDurableExecutionsByFunction": lambda executions: list(executions.ended(SINCE, UNSUCCESSFUL)),
}


def answered(operation, *answers):
    lambda_client = client("lambda")
    return Endpoint(lambda_client, operation, *answers), ExecutionsClient(lambda_client, ALIAS, STACK_ID)


def ok(**body):
    return 200, {}, json.dumps(body).encode()


def summary(status="FAILED", run_id=RUN_ID, **more):
    return {
        "DurableExecutionArn": f"{EXECUTION}/{name_of('ORDER-123')}/{run_id}",
        "DurableExecutionName": name_of("ORDER-123"),
        "FunctionArn": ALIAS,
        "Status": status,
        "StartTimestamp": 1_790_000_000.0,
        **more,
    }


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: getattr(failure, "fmt", str(failure))[:60])
def test_every_failure_of_lambda_is_transient(call, failure):
    _, executions = answered(call, failure)
    with pytest.raises(ExecutionUnavailable):
        CALLS[call](executions)


# ── get ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", ["RUNNING", "SUCCEEDED", "PAUSING", "PAUSED", "DELETING"])
def test_an_execution_is_read_with_its_status_and_the_text_it_was_started_with(status):
    endpoint, executions = answered("GetDurableExecution", ok(**summary(status, InputPayload='{"orderId": "A"}')))
    assert executions.get(ARN) == ExecutionDetails(ARN, status, '{"orderId": "A"}')
    assert unquote(urlsplit(endpoint.requests[0].url).path).endswith(f"/durable-executions/{ARN}")


@pytest.mark.parametrize("status", UNSUCCESSFUL)
def test_an_unsuccessful_execution_is_read_with_its_reason(status):
    reason = {"ErrorType": "Broken", "ErrorMessage": "it broke"}
    _, executions = answered("GetDurableExecution", ok(**summary(status, InputPayload="{}", Error=reason)))
    assert executions.get(ARN) == ExecutionDetails(ARN, status, "{}", "Broken", "it broke")


def test_an_error_that_the_sdk_names_with_its_module_is_read_by_its_class_name():
    reason = {"ErrorType": "shared.errors.OrderConflict", "ErrorMessage": "another body"}
    _, executions = answered("GetDurableExecution", ok(**summary("FAILED", Error=reason)))
    assert executions.get(ARN).error_type == "OrderConflict"


def test_an_execution_with_only_a_status_is_read():
    _, executions = answered("GetDurableExecution", ok(**summary("TIMED_OUT")))
    assert executions.get(ARN) == ExecutionDetails(ARN, "TIMED_OUT", "")


def test_a_deleted_or_expired_execution_is_none():
    _, executions = answered("GetDurableExecution", GONE)
    assert executions.get(ARN) is None


# ── stop ──────────────────────────────────────────────────────────────────────────────────────────


def test_an_execution_is_stopped_with_the_reason_it_ends_with():
    endpoint, executions = answered("StopDurableExecution", ok(StopTimestamp=1_790_000_000.0))
    executions.stop(ARN, "OrderCancelled", "order A was cancelled")
    (request,) = endpoint.requests
    assert unquote(urlsplit(request.url).path).endswith(f"/durable-executions/{ARN}/stop")
    assert json.loads(request.body) == {"ErrorType": "OrderCancelled", "ErrorMessage": "order A was cancelled"}


def test_stopping_a_deleted_execution_is_no_error():
    endpoint, executions = answered("StopDurableExecution", GONE)
    executions.stop(ARN, "OrderCancelled", "order A was cancelled")
    assert len(endpoint.requests) == 1


# ── ended badly ───────────────────────────────────────────────────────────────────────────────────


def test_a_list_requests_unsuccessful_ends_of_all_versions_since_a_time():
    endpoint, executions = answered("ListDurableExecutionsByFunction", ok(DurableExecutions=[]))
    elsewhere = SINCE.astimezone(timezone(timedelta(hours=5)))
    assert list(executions.ended(elsewhere, UNSUCCESSFUL)) == [[]]
    url = urlsplit(endpoint.requests[0].url)
    # Unqualified: with a qualifier it would list one version only.
    assert unquote(url.path).endswith(f"/functions/{ALIAS.removesuffix(':prod')}/durable-executions")
    query = parse_qs(url.query)
    assert sorted(query["Statuses"]) == ["FAILED", "STOPPED", "TIMED_OUT"]
    assert datetime.fromisoformat(query["StartedAfter"][0]) == SINCE
    assert query["MaxItems"] == ["1000"]
    assert "Qualifier" not in query


def test_a_list_is_followed_page_by_page_to_its_end():
    endpoint, executions = answered(
        "ListDurableExecutionsByFunction",
        ok(DurableExecutions=[summary("FAILED", "one"), summary("STOPPED", "two")], NextMarker="more"),
        ok(DurableExecutions=[], NextMarker="and more"),
        ok(DurableExecutions=[summary("TIMED_OUT", "three", EndTimestamp=1_790_000_060.0)]),
    )
    pages = list(executions.ended(SINCE, UNSUCCESSFUL))
    told = [[(found.arn.rpartition("/")[2], found.status) for found in page] for page in pages]
    assert told == [[("one", "FAILED"), ("two", "STOPPED")], [], [("three", "TIMED_OUT")]]
    assert [parse_qs(urlsplit(request.url).query).get("Marker") for request in endpoint.requests] == [
        None,
        ["more"],
        ["and more"],
    ]
    ended = pages[2][0].ended_at
    assert ended == datetime.fromtimestamp(1_790_000_060, UTC)


def test_a_page_is_requested_only_when_it_is_needed():
    endpoint, executions = answered(
        "ListDurableExecutionsByFunction", ok(DurableExecutions=[summary()], NextMarker="more")
    )
    pages = executions.ended(SINCE, UNSUCCESSFUL)
    assert endpoint.requests == []
    assert next(pages) == [EndedExecution(ARN, "FAILED")]
    assert len(endpoint.requests) == 1


def test_a_list_that_fails_has_returned_its_first_pages():
    _, executions = answered(
        "ListDurableExecutionsByFunction",
        ok(DurableExecutions=[summary()], NextMarker="more"),
        refusal(429, "TooManyRequestsException"),
    )
    pages = executions.ended(SINCE, UNSUCCESSFUL)
    assert next(pages) == [EndedExecution(ARN, "FAILED")]
    with pytest.raises(ExecutionUnavailable):
        next(pages)
