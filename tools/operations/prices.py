"""What AWS charges, as data: list prices of one Region, in the first tier of volume, without free tiers.

`docs/costs.md` is generated from this and says how far each price could be verified.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

REGION: Final = "us-east-1"

MILLION: Final = 1_000_000
GB: Final = 2**30
"""Bytes."""

_LAMBDA: Final = "https://aws.amazon.com/lambda/pricing/"
_DYNAMODB: Final = "https://aws.amazon.com/dynamodb/pricing/on-demand/"
_PRICE_LIST: Final = "AWS's price list of 2026-08-31, as others copied it"
_ARTICLES: Final = "not on AWS's page, but in articles"


class Meter(StrEnum):
    """What AWS meters."""

    SQS_REQUEST = "SQS request, standard queue"
    LAMBDA_REQUEST = "Lambda request"
    GB_SECOND_ARM = "Lambda compute, arm64"
    GB_SECOND_X86 = "Lambda compute, x86_64"
    OPERATION = "durable operation"
    DURABLE_BYTES = "durable data written"
    DURABLE_BYTE_MONTHS = "durable data retained"
    WRITE_UNIT = "DynamoDB write unit, on demand"
    READ_UNIT = "DynamoDB read unit, on demand"
    STREAM_RECORD = "DynamoDB stream, read by Lambda"
    EVENT = "EventBridge custom event"
    LOG_BYTES = "CloudWatch log data"


@dataclass(frozen=True)
class Price:
    """`usd` for `per` units. `verified`: where the price was seen, if it was; `date`: of that, or of this entry."""

    usd: float
    per: float
    unit: str
    date: str
    page: str
    verified: str


PRICES: Final[Mapping[Meter, Price]] = {
    Meter.SQS_REQUEST: Price(
        0.40, MILLION, "million requests", "2026-06-13", "https://aws.amazon.com/sqs/pricing/", _ARTICLES
    ),
    Meter.LAMBDA_REQUEST: Price(0.20, MILLION, "million requests", "2026-08-31", _LAMBDA, _PRICE_LIST),
    Meter.GB_SECOND_ARM: Price(0.0000133334, 1, "GB-second", "2026-08-31", _LAMBDA, _PRICE_LIST),
    Meter.GB_SECOND_X86: Price(0.0000166667, 1, "GB-second", "2026-08-31", _LAMBDA, _PRICE_LIST),
    Meter.OPERATION: Price(
        8.00, MILLION, "million operations", "2026-09-20", _LAMBDA, "an example on AWS's page, as others copied it"
    ),
    Meter.DURABLE_BYTES: Price(0.25, GB, "GB", "2026-11-26", _LAMBDA, "not verified"),
    Meter.DURABLE_BYTE_MONTHS: Price(0.15, GB, "GB-month", "2026-11-26", _LAMBDA, "not verified"),
    Meter.WRITE_UNIT: Price(0.625, MILLION, "million units", "2026-08-31", _DYNAMODB, _PRICE_LIST),
    Meter.READ_UNIT: Price(0.125, MILLION, "million units", "2026-08-31", _DYNAMODB, _PRICE_LIST),
    Meter.STREAM_RECORD: Price(0.0, MILLION, "million records", "2026-11-26", _DYNAMODB, "not verified"),
    Meter.EVENT: Price(
        1.00, MILLION, "million events", "2026-03-13", "https://aws.amazon.com/eventbridge/pricing/", _ARTICLES
    ),
    Meter.LOG_BYTES: Price(0.50, GB, "GB", "2026-11-26", "https://aws.amazon.com/cloudwatch/pricing/", _ARTICLES),
}


def usd(meter: Meter, quantity: float) -> float:
    """The list price of a quantity, in US dollars. Data is in bytes, or bytes times months."""
    price = PRICES[meter]
    return quantity * price.usd / price.per
