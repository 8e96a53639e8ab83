"""Any answer of the enricher is an enrichment of this order that can be stored, or one of two errors."""

import json

import pytest
from aws_durable_execution_sdk_python.serdes import DEFAULT_JSON_SERDES, deserialize, serialize
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.enricher import MAX_ANSWER_BYTES, MAX_NESTING, Enricher
from shared.errors import EnricherUnavailable, EnrichmentRejected
from shared.ledger.entry import marshalled, unmarshalled
from shared.orders.enrichment import Enrichment
from tests.unit.enricher_answers import ANSWER, ARN, ORDER, said
from tests.unit.hostile import broken, changed, json_texts, nested
from tests.unit.transport import Endpoint, client

LARGEST_STEP_RESULT = 262_144
"""Lambda's size limit for the result of a step, in bytes."""

DEEPEST_ATTRIBUTE = 31
"""DynamoDB's limit for levels of maps and lists in an attribute."""


@pytest.fixture(scope="module")
def asked():
    """Makes the enricher answer with a text, bytes or data. Returns the step's result or its error."""
    lambda_client = client("lambda")
    endpoint = Endpoint(lambda_client, "Invoke", None)
    enricher = Enricher(lambda_client, ARN)

    def ask(body, **headers):
        # A text may contain lone surrogates, and then the bytes contain them too.
        body = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
        endpoint._answers = [said(body, **headers)]
        try:
            enrichment = enricher.enrich(ORDER, calls=1)
        except (EnricherUnavailable, EnrichmentRejected) as error:
            return error
        assert isinstance(enrichment, Enrichment)
        return enrichment.model_dump(mode="json", by_alias=True, exclude_none=True)

    return ask


def kept_or_refused(outcome):
    if isinstance(outcome, Exception):
        assert str(outcome).encode()
        return
    assert (outcome["statusCode"], outcome["orderId"]) == (200, ORDER.order_id)
    kept_in_the_ledger(outcome)
    kept_in_the_checkpoint(outcome)


def kept_in_the_ledger(enrichment):
    item = marshalled({"enrichment": enrichment})
    assert unmarshalled(item) == {"enrichment": enrichment}
    assert levels(enrichment) <= DEEPEST_ATTRIBUTE
    # The request encodes the item as UTF-8.
    assert json.dumps(item, ensure_ascii=False).encode()


def kept_in_the_checkpoint(enrichment):
    enriched = {"enrichment": enrichment}
    text = serialize(DEFAULT_JSON_SERDES, enriched, "operation", "arn")
    assert len(text.encode()) <= LARGEST_STEP_RESULT
    assert deserialize(DEFAULT_JSON_SERDES, text, "operation", "arn") == enriched


def levels(value):
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if members is None else 1 + max(map(levels, members), default=0)


answers = st.just(ANSWER)


@given(st.binary())
def test_any_bytes_are_accepted_or_refused(asked, body):
    kept_or_refused(asked(body))


@given(json_texts | nested)
def test_any_json_is_accepted_or_refused(asked, text):
    kept_or_refused(asked(text))


@given(changed(answers) | changed(changed(answers)))
def test_an_answer_with_any_value_is_accepted_or_refused(asked, answer):
    kept_or_refused(asked(answer))


@given(broken(answers.map(json.dumps)))
def test_a_damaged_answer_is_accepted_or_refused(asked, text):
    kept_or_refused(asked(text))


@given(st.binary() | broken(st.just('{"errorType": "Boom", "errorMessage": "no", "stackTrace": []}')))
@example(b'{"errorType": "\\ud800"}')
@example(b'{"errorType": ' + b"9" * 5_000 + b"}")
def test_a_failed_function_is_a_transient_error_whatever_it_returns(asked, body):
    error = asked(body, X_Amz_Function_Error="Unhandled")
    assert isinstance(error, EnricherUnavailable)
    assert str(error).encode()
    assert len(str(error)) < 1_000


FILLINGS = ["1", "0.1", "null", "true", '""', "[]", "{}", '"\\u0001"', '"é"', '"\U0001f600"', '[["a"]]', '{"":1}']


@pytest.mark.parametrize("filling", FILLINGS)
def test_the_largest_answer_is_stored_whatever_its_content(asked, filling):
    """The SDK adds a few bytes to each value, so many small values grow most."""
    room = MAX_ANSWER_BYTES - len(json.dumps({**ANSWER, "more": []}, separators=(",", ":")).encode())
    number = (room + 1) // (len(filling.encode()) + 1)
    text = json.dumps({**ANSWER, "more": "@"}, separators=(",", ":")).replace(
        '"@"', f"[{','.join([filling] * number)}]"
    )
    assert MAX_ANSWER_BYTES - 40 < len(text.encode()) <= MAX_ANSWER_BYTES
    outcome = asked(text)
    assert not isinstance(outcome, Exception)
    kept_or_refused(outcome)


@pytest.mark.parametrize(("opening", "closing"), ["[]", ('{"a":', "}")])
def test_an_answer_may_have_24_levels_and_no_more(asked, opening, closing):
    def nested_to(depth):
        # The answer itself is one level.
        more = opening * (depth - 1) + ("" if closing == "]" else "1") + closing * (depth - 1)
        return json.dumps({**ANSWER, "more": "@"}).replace('"@"', more).encode()

    outcome = asked(nested_to(MAX_NESTING))
    assert levels(outcome) == MAX_NESTING
    kept_or_refused(outcome)
    for depth in (MAX_NESTING + 1, DEEPEST_ATTRIBUTE + 1, 300):
        refused = asked(nested_to(depth))
        assert isinstance(refused, EnrichmentRejected)
        assert str(refused) == "the enricher's answer is nested deeper than 24 levels"


@pytest.mark.parametrize("half", ["\\ud800", "\\udfff", "\ud800", "a\\udc00b"])
@pytest.mark.parametrize("place", ['{{"more": "{}"', '{{"more": {{"{}": 1}}', '{{"{}": 1', '{{"more": [["{}"]]'])
def test_an_answer_with_a_lone_surrogate_is_refused(asked, half, place):
    text = place.format(half) + "," + json.dumps(ANSWER)[1:]
    refused = asked(text)
    assert isinstance(refused, EnrichmentRejected)
    assert str(refused) == "the enricher's answer contains a lone surrogate"


def test_a_surrogate_pair_is_one_character(asked):
    assert asked({**ANSWER, "more": "\U0001f600"})["more"] == "\U0001f600"
