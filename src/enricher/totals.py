"""The exact totals of an order."""

from decimal import Context, Decimal, Inexact, localcontext

from shared.orders.enrichment import Totals
from shared.orders.fields import plain
from shared.orders.order import Order

# A price has 18 digits, a quantity 7, and an order at most 2,000 lines. An inexact sum would raise.
_EXACT = Context(prec=40, traps=[Inexact])


def totals(order: Order) -> Totals:
    """Return the number of lines and units, and the amount."""
    with localcontext(_EXACT):
        amount = sum((item.quantity * item.unit_price for item in order.items), Decimal(0))
    return Totals.model_validate(
        {
            "lines": len(order.items),
            "units": sum(item.quantity for item in order.items),
            "amount": plain(amount.normalize(_EXACT)),
            "currency": order.currency,
        }
    )
