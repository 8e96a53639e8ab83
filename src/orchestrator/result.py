"""The response schema of a completed order, built from the values in the ledger.

`shared.ledger.settlement.completion_of` reads these values back from the response, so it must have all of them.
"""

from collections.abc import Mapping
from typing import Any

FINALIZED = "Order finalized successfully"
PROCESSED = "Order processed successfully with durable execution"


def order_result(order_id: str, enrichment: Mapping[str, Any], finalization: Mapping[str, Any]) -> dict[str, Any]:
    """Return the response. `enrichment` is the enricher's answer; `finalization` has its two times."""
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
