"""An order, the enricher's answer to it, and how Lambda returns one."""

import json

from shared.orders.order import parse_order

ARN = "arn:aws:lambda:us-east-1:123456789012:function:orders-OrderEnricher"
ORDER = parse_order('{ "orderId": "ORDER-123", "attributes": {"note": "zqMARKqz"} }')
ANSWER = {
    "statusCode": 200,
    "orderId": "ORDER-123",
    "enrichedData": {
        "customerId": "CUST-00004",
        "timestamp": "2026-02-08T20:58:24.548Z",
        "profile": {"kind": "CUSTOMER", "tier": "GOLD"},
        "totals": {"lines": 0, "units": 0, "amount": "0"},
    },
}


def said(answer, **headers):
    """Lambda's response with an answer: bytes as they are, anything else as JSON."""
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return 200, {name.replace("_", "-"): value for name, value in headers.items()}, body
