"""What an execution answers for a completed order: the seed's shape, built from what the ledger keeps."""

from collections.abc import Mapping
from typing import Any

FINALIZED = "Order finalized successfully"
PROCESSED = "Order processed successfully with durable execution"


def order_result(order_id: str, enrichment: Mapping[str, Any], finalization: Mapping[str, Any]) -> dict[str, Any]:
    """The answer for `order_id`: `enrichment` in the enricher's shape, `finalization` with its two times."""
    return {
        "success": True,
        "orderId": order_id,
        "enrichmentResult": dict(enrichment),
        "finalResult": {
            "orderId": order_id,
            "status": "COMPLETED",
            "enrichedData": enrichment["enrichedData"],
            "finalizedAt": finalization["finalizedAt"],
            "message": FINALIZED,
        },
        "message": PROCESSED,
        "processedAt": finalization["processedAt"],
    }
