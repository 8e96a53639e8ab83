"""The orchestrator accepts the enricher's answer, or raises a transient or a permanent error."""

import json

import pytest
from botocore.exceptions import (
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from orchestrator.enricher import MAX_ANSWER_BYTES, Enricher
from shared.errors import EnricherUnavailable, EnrichmentRejected
from shared.ledger.entry import marshalled, unmarshalled
from tests.unit.enricher_answers import ANSWER, ARN, ORDER, said
from tests.unit.transport import Endpoint, client, refusal


def without(*path):
    """Return the answer without one of its fields."""
    answer = json.loads(json.dumps(ANSWER))
    *parents, last = path
    parent = answer
    for name in parents:
        parent = parent[name]
    del parent[last]
    return answer


def enrich(answer, calls=1):
    lambda_client = client("lambda")
    endpoint = Endpoint(lambda_client, "Invoke", answer)
    enrichment = Enricher(lambda_client, ARN).enrich(ORDER, calls)
    return enrichment, endpoint


def kept(answer):
    """Return the part of an answer that the checkpoint and the ledger store, as the enrich step does."""
    return enrich(said(answer))[0].model_dump(mode="json", by_alias=True, exclude_none=True)


def test_the_enricher_is_called_once_with_the_canonical_bytes():
    _, endpoint = enrich(said(ANSWER))
    (request,) = endpoint.requests
    assert request.body == ORDER.canonical_bytes()
    assert "X-Amz-Invocation-Type" not in request.headers


def test_a_valid_answer_is_stored_unchanged():
    assert kept(ANSWER) == ANSWER


@pytest.mark.parametrize("more", ["text", 7, True, None, ["a", 1], {"deep": {"down": "x"}}])
def test_unknown_fields_of_a_later_enricher_are_kept(more):
    answer = json.loads(json.dumps(ANSWER))
    for part in (answer, answer["enrichedData"], answer["enrichedData"]["profile"], answer["enrichedData"]["totals"]):
        part["more"] = more
    stored = unmarshalled(marshalled({"enrichment": kept(answer)}))["enrichment"]
    expected = answer if more is not None else ANSWER
    assert stored == expected


@pytest.mark.parametrize("number", [0.5, 29.33, 1e-7, 1e300, -0.1, 2**200])
def test_any_number_of_a_later_enricher_can_be_stored_in_the_ledger(number):
    """DynamoDB's serializer accepts no float and at most 38 digits, so an unused field could fail the order."""
    answer = json.loads(json.dumps(ANSWER))
    answer["enrichedData"]["score"] = number
    stored = unmarshalled(marshalled({"enrichment": kept(answer)}))["enrichment"]
    assert float(stored["enrichedData"]["score"]) == number


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (429, "TooManyRequestsException"),
        (500, "ServiceException"),
        (502, "EC2ThrottledException"),
        (503, "ServiceUnavailableException"),
    ],
)
def test_a_call_that_lambda_throttles_or_fails_is_a_transient_error(status, code):
    with pytest.raises(EnricherUnavailable, match=code) as failed:
        enrich(refusal(status, code), calls=3)
    assert failed.value.calls == 3


@pytest.mark.parametrize(
    "silence",
    [
        ReadTimeoutError(endpoint_url=ARN),
        ConnectTimeoutError(endpoint_url=ARN),
        EndpointConnectionError(endpoint_url=ARN),
        ResponseStreamingError(error="reset"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_call_without_a_response_is_a_transient_error(silence):
    with pytest.raises(EnricherUnavailable) as failed:
        enrich(silence, calls=2)
    assert failed.value.calls == 2


@pytest.mark.parametrize(
    ("body", "error_type"),
    [
        (
            {"errorMessage": "An error occurred (Throttling)", "errorType": "ClientError", "stackTrace": []},
            "ClientError",
        ),
        ({"errorMessage": "2026-02-08 Task timed out after 8.00 seconds"}, "an error without a type"),
        (
            {"errorType": "Runtime.ExitError", "errorMessage": "exited with error: signal: killed"},
            "Runtime.ExitError",
        ),
        (b"", "an error without a type"),
        (b"not json", "an error without a type"),
        ([], "an error without a type"),
        ("zqMARKqz", "an error without a type"),
        ({"errorType": {"message": "zqMARKqz"}}, "an error without a type"),
        ({"errorType": "Half\ud83d"}, "Half\\ud83d"),
    ],
)
def test_a_failed_enricher_is_a_transient_error(body, error_type):
    with pytest.raises(EnricherUnavailable) as failed:
        enrich(said(body, X_Amz_Function_Error="Unhandled"), calls=2)
    assert str(failed.value) == f"the enricher failed: {error_type}"
    assert failed.value.calls == 2


@pytest.mark.parametrize("status", [429, 500, 503, 599])
def test_a_status_of_429_or_5xx_is_a_transient_error(status):
    with pytest.raises(EnricherUnavailable, match=str(status)) as failed:
        enrich(said({"statusCode": status}), calls=2)
    assert failed.value.calls == 2


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "AccessDeniedException"),
        (404, "ResourceNotFoundException"),
        (400, "InvalidRequestContentException"),
        (413, "RequestTooLargeException"),
    ],
)
def test_a_call_that_lambda_rejects_is_a_permanent_error(status, code):
    with pytest.raises(EnrichmentRejected, match=code):
        enrich(refusal(status, code))


@pytest.mark.parametrize("status", [201, 204, 301, 400, 404, 0, -1])
def test_any_other_status_is_a_permanent_error(status):
    with pytest.raises(EnrichmentRejected, match=f"statusCode {status}$"):
        enrich(said({**ANSWER, "statusCode": status}))


UNUSABLE = {
    "table": "orders-Customers",
    "key": "customerId",
    "attribute": "tier",
    "type": "N",
    "expected": "S",
}


def test_an_item_that_the_enricher_cannot_use_is_a_permanent_error_that_names_it():
    with pytest.raises(EnrichmentRejected) as refused:
        enrich(said({"statusCode": 422, "orderId": "ORDER-123", "error": "no", "unusableItem": UNUSABLE}))
    assert str(refused.value) == (
        "the enricher answered statusCode 422: the item of table orders-Customers with the order's customerId:"
        " attribute tier has type N, not S"
    )


@pytest.mark.parametrize("body", [b"", b"{", b"null and void", b"\xff\xfe", b"[" * 10_000])
def test_an_answer_that_is_not_json_is_a_permanent_error(body):
    with pytest.raises(EnrichmentRejected, match=r"^the enricher's answer is not JSON$"):
        enrich(said(body))


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_nan_and_infinity_in_an_answer_are_a_permanent_error(constant):
    """Neither the ledger nor the checkpoint of a durable step can store them."""
    with pytest.raises(EnrichmentRejected):
        enrich(said(json.dumps({**ANSWER, "more": "@"}).replace('"@"', constant).encode()))


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (None, "the whole"),
        ([], "the whole"),
        ("ok", "the whole"),
        ({}, "statusCode, orderId, enrichedData"),
        (without("statusCode"), "statusCode"),
        ({**ANSWER, "statusCode": "200"}, "statusCode"),
        ({**ANSWER, "statusCode": None}, "statusCode"),
        (without("orderId"), "orderId"),
        (without("enrichedData"), "enrichedData"),
        (without("enrichedData", "customerId"), "enrichedData.customerId"),
        (without("enrichedData", "timestamp"), "enrichedData.timestamp"),
        (without("enrichedData", "profile"), "enrichedData.profile"),
        (without("enrichedData", "profile", "kind"), "enrichedData.profile.kind"),
        (without("enrichedData", "totals"), "enrichedData.totals"),
        (without("enrichedData", "totals", "amount"), "enrichedData.totals.amount"),
    ],
)
def test_an_answer_without_a_required_field_names_the_field(answer, named):
    with pytest.raises(EnrichmentRejected) as refused:
        enrich(said(answer))
    assert str(refused.value) == f"the enricher's answer is not an enrichment: {named}"


@pytest.mark.parametrize("order_id", ["ORDER-124", "order-123", ""])
def test_an_answer_for_another_order_is_a_permanent_error(order_id):
    with pytest.raises(EnrichmentRejected, match=r"^the enricher answered for another order$"):
        enrich(said({**ANSWER, "orderId": order_id}))


@pytest.mark.parametrize("digits", ["9" * 38, "-" + "9" * 37])
def test_an_integer_that_dynamodb_can_store_is_kept_and_one_digit_more_becomes_text(digits):
    answer = b'%s, "more": %s}' % (json.dumps(ANSWER).encode()[:-1], b"%s")
    assert kept(answer % digits.encode())["more"] == int(digits)
    assert kept(answer % (digits + "9").encode())["more"] == digits + "9"


def test_an_answer_of_16_kib_is_accepted_and_a_larger_one_refused():
    assert MAX_ANSWER_BYTES == 16 * 1024
    body = json.dumps(ANSWER).encode()
    largest = body + b" " * (MAX_ANSWER_BYTES - len(body))
    assert enrich(said(largest))[0].order_id == "ORDER-123"
    with pytest.raises(EnrichmentRejected, match="larger than 16384 bytes"):
        enrich(said(largest + b" "))


@pytest.mark.parametrize(
    "answer",
    [
        said({"statusCode": 400, "error": "zqMARKqz"}),
        said({"statusCode": 422, "unusableItem": "zqMARKqz"}),
        said({"statusCode": 422, "unusableItem": {**UNUSABLE, "attribute": "tier: zqMARKqz"}}),
        said({"statusCode": 422, "unusableItem": {**UNUSABLE, "value": "zqMARKqz"}}),
        said({**ANSWER, "orderId": "zqMARKqz"}),
        said({**ANSWER, "enrichedData": "zqMARKqz"}),
        said({**ANSWER, "enrichedData": {"customerId": ["zqMARKqz"]}}),
        said(b"zqMARKqz"),
        said({"errorMessage": "zqMARKqz", "errorType": "ValueError"}, X_Amz_Function_Error="Unhandled"),
    ],
)
def test_no_error_repeats_a_value_of_the_answer(answer):
    with pytest.raises((EnricherUnavailable, EnrichmentRejected)) as failed:
        enrich(answer)
    assert "zqMARKqz" not in str(failed.value)
