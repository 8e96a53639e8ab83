"""What each step of the workflow does, as plain functions: they know nothing of the durable context.

A step may run again after its effect and before its checkpoint, so each is safe to repeat: what the ledger already
says is taken from it.
"""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

from orchestrator.enricher import Enricher
from shared.aws.clock import utc_now
from shared.executions.names import OrderExecution
from shared.ledger.owner import AlreadyCompleted, Ledger
from shared.orders.order import Order


class Enriched(TypedDict):
    """The outcome of enrich, as the checkpoint keeps it.

    `recorded_result` is there when another execution had completed the same order before.
    """

    enrichment: Mapping[str, Any]
    recorded_result: NotRequired[Mapping[str, Any]]


def enrich(order: Order, me: OrderExecution, ledger: Ledger, enricher: Enricher) -> Enriched:
    """Claim the order, ask the enricher, and record its answer: RECEIVED, ENRICHING, ENRICHED, WAITING."""
    claim = ledger.claim(order, me)
    if isinstance(claim, AlreadyCompleted):
        return {"enrichment": claim.enrichment, "recorded_result": claim.result}
    if claim.enrichment is not None:
        return {"enrichment": claim.enrichment}
    answer = enricher.enrich(order, claim.starts)
    return {"enrichment": ledger.enriched(me, answer.model_dump(mode="json", by_alias=True, exclude_none=True))}


def finalize(me: OrderExecution, ledger: Ledger) -> Mapping[str, Any]:
    """Pass the point of no return and complete the order: FINALIZING, COMPLETED. Answers the times on record."""
    ledger.finalizing(me)
    finalized_at = utc_now()
    # What finalizing means to a business stands here. It may run again, so it must bear that.
    return ledger.completed(me, {"finalizedAt": finalized_at, "processedAt": utc_now()})


def record_failure(me: OrderExecution, ledger: Ledger, error_type: str, message: str) -> None:
    """FAILED in the ledger, with what went wrong."""
    ledger.failed(me, error_type, message)
