"""The steps of the workflow, as plain functions without the durable context.

A process can die after a step's effect and before its checkpoint. Then the step runs again, so each step is idempotent:
it reads from the ledger what an earlier run has recorded.
"""

from collections.abc import Callable, Mapping
from typing import Any, NotRequired, TypedDict

from orchestrator.enricher import Enricher
from shared.aws.clock import utc_now
from shared.executions.names import OrderExecution
from shared.ledger.owner import AlreadyCompleted, Ledger
from shared.orders.order import Order


class Enriched(TypedDict):
    """The checkpointed result of enrich.

    `recorded_result` is present if another execution completed the same order before. `resumed` is present if the
    attempt began with finalize: it does not wait again.
    """

    enrichment: Mapping[str, Any]
    recorded_result: NotRequired[Mapping[str, Any]]
    resumed: NotRequired[bool]


def enrich(
    order: Order, me: OrderExecution, ledger: Ledger, enricher: Enricher, log: Callable[[str], None]
) -> Enriched:
    """Claim the order, call the enricher and record its answer: RECEIVED, ENRICHING, ENRICHED, WAITING.

    The first start in an attempt is logged, also in a retry of the order. A later start continues the attempt.
    """
    claim = ledger.claim(order, me)
    if isinstance(claim, AlreadyCompleted):
        return {"enrichment": claim.enrichment, "recorded_result": claim.result}
    if claim.enrichment is not None and claim.resumed:
        return {"enrichment": claim.enrichment, "resumed": True}
    if claim.enrichment is not None:
        return {"enrichment": claim.enrichment}
    if claim.starts == 1:
        log("order started")
    answer = enricher.enrich(order, claim.starts)
    return {"enrichment": ledger.enriched(me, answer.model_dump(mode="json", by_alias=True, exclude_none=True))}


def finalize(me: OrderExecution, ledger: Ledger) -> Mapping[str, Any]:
    """Complete the order: FINALIZING, after which it cannot be cancelled, and COMPLETED. Return the recorded times."""
    ledger.finalizing(me)
    finalized_at = utc_now()
    # Put business finalization here. It must be idempotent, because it can run again.
    return ledger.completed(me, {"finalizedAt": finalized_at, "processedAt": utc_now()})


def record_failure(me: OrderExecution, ledger: Ledger, error_type: str, message: str) -> None:
    """Record FAILED in the ledger, with the type and message of the error."""
    ledger.failed(me, error_type, message)
