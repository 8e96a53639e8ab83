"""An order's sums, exact."""

from decimal import Context, Decimal, Inexact, localcontext

from shared.orders.enrichment import Totals
from shared.orders.fields import plain
from shared.orders.order import Order

# 18 digits a price, 7 a quantity, and room for more lines than 64 KiB hold; a sum that did not fit would raise.
_EXACT = Context(prec=40, traps=[Inexact])


def totals(order: Order) -> Totals:
    """Lines, units and amount of the order."""
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
