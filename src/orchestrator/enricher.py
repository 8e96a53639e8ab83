"""Calls the enricher Lambda and validates its answer."""

import json
from typing import TYPE_CHECKING, Any, Final, NoReturn

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError

from shared.aws.clients import is_transient
from shared.errors import EnricherUnavailable, EnrichmentRejected
from shared.orders.enrichment import Enrichment, UnusableItem
from shared.orders.order import Order

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

MAX_NUMBER_DIGITS: Final = 38
"""DynamoDB's limit for a number."""

MAX_NESTING: Final = 24
"""Levels of objects and lists in an answer. DynamoDB stores at most 31 in an attribute."""

MAX_ANSWER_BYTES: Final = 16 * 1024
"""The answer is stored in the ledger, beside the order, and in the step's checkpoint, which is at most 256 KiB."""


class Enricher:
    """A client of the enricher function. It never retries a call: the policy of the step does."""

    def __init__(self, client: "LambdaClient", function_arn: str) -> None:
        self._client = client
        self._function_arn = function_arn

    def enrich(self, order: Order, calls: int) -> Enrichment:
        """Call the enricher and return its answer. `calls` is the number of calls in this attempt of the order.

        Raises `EnricherUnavailable` for a transient error (throttling, 5xx, a timeout, a function that failed) and
        `EnrichmentRejected` for an answer that a retry does not change.
        """
        try:
            response = self._client.invoke(FunctionName=self._function_arn, Payload=order.canonical_bytes())
            answer = response["Payload"].read(MAX_ANSWER_BYTES + 1)
        except ClientError as error:
            if is_transient(error):
                raise EnricherUnavailable(f"Lambda: {error.response['Error']['Code']}", calls) from error
            raise EnrichmentRejected(f"Lambda refused the call: {error}") from error
        except BotoCoreError as error:
            raise EnricherUnavailable(f"no answer from the enricher: {error}", calls) from error
        if response.get("FunctionError"):
            raise EnricherUnavailable(f"the enricher failed: {_error_type(answer)}", calls)
        return _accepted(answer, order, calls)


def _accepted(answer: bytes, order: Order, calls: int) -> Enrichment:
    if len(answer) > MAX_ANSWER_BYTES:
        raise EnrichmentRejected(f"the enricher's answer is larger than {MAX_ANSWER_BYTES} bytes")
    try:
        data = json.loads(answer, parse_float=str, parse_int=_storable, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise EnrichmentRejected("the enricher's answer is not JSON") from None
    status = data.get("statusCode") if isinstance(data, dict) else None
    if isinstance(status, int) and (status == 429 or status >= 500):
        raise EnricherUnavailable(f"the enricher answered statusCode {status}", calls)
    if isinstance(status, int) and status != 200:
        raise EnrichmentRejected(f"the enricher answered statusCode {status}{_reason(data)}")
    _refuse_unstorable(data)
    try:
        enrichment = Enrichment.model_validate(data)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, problem["loc"])) or "the whole" for problem in error.errors())
        raise EnrichmentRejected(f"the enricher's answer is not an enrichment: {fields}") from None
    if enrichment.order_id != order.order_id:
        raise EnrichmentRejected("the enricher answered for another order")
    return enrichment


def _refuse_unstorable(data: Any) -> None:
    """Raise `EnrichmentRejected` for JSON that DynamoDB refuses. Without this, each write to the ledger would fail."""
    if _is_nested(data, MAX_NESTING):
        raise EnrichmentRejected(f"the enricher's answer is nested deeper than {MAX_NESTING} levels")
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise EnrichmentRejected("the enricher's answer contains a lone surrogate") from None


def _is_nested(data: Any, levels: int) -> bool:
    """Return whether the objects and lists in `data` have more than this number of levels."""
    members = data.values() if isinstance(data, dict) else data if isinstance(data, list) else None
    if members is None:
        return False
    return levels == 0 or any(_is_nested(member, levels - 1) for member in members)


def _storable(number: str) -> int | str:
    """Return an integer, or its text if it has too many digits for DynamoDB. Fractions are always stored as text."""
    return int(number) if len(number) <= MAX_NUMBER_DIGITS else number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _reason(refusal: Any) -> str:
    """Return the item that the enricher could not use, or nothing. Other texts can contain values of the order."""
    try:
        return f": {UnusableItem.model_validate(refusal.get('unusableItem'))}"
    except ValidationError:
        return ""


def _error_type(answer: bytes) -> str:
    """Return only the type of the error: its message can contain values of the order."""
    try:
        report = json.loads(answer)
    except (ValueError, RecursionError):
        report = None
    name = report.get("errorType") if isinstance(report, dict) else None
    if not isinstance(name, str):
        return "an error without a type"
    # Neither a log nor the ledger accepts a lone surrogate.
    return name[:128].encode("utf-8", "backslashreplace").decode()
