"""Near misses of field names: other spellings, and the words that shops, ERPs and payment providers use."""

from difflib import get_close_matches
from functools import lru_cache
from typing import Final

_MAX_LENGTH: Final = 40
"""A longer name is no near miss. In characters."""

_ALIASES: Final = {
    field: words.split()
    for field, words in {
        "orderId": """
            id order_number order_no order_nr order_ref order_reference order_code order_key order_uuid reference number
            increment_id merchant_reference transaction_id document_number sales_order
        """,
        "customerId": """
            customer customer_number customer_no customer_nr customer_ref client client_id buyer buyer_id user user_id
            account account_id shopper shopper_id sold_to sold_to_party partner partner_id kunnr
        """,
        "items": """
            lines line_items order_items order_lines positions products entries rows basket cart cart_items
            purchase_units
        """,
        "currency": "currency_code currency_iso order_currency ccy curr waers",
        "placedAt": """
            placed_on date time timestamp created created_at created_on create_time date_created ordered_at order_date
            order_time purchase_date purchased_at
        """,
        "attributes": "metadata meta properties custom custom_fields custom_attributes extra extras tags",
        "sku": """
            product product_id product_code item item_id item_code item_number article article_id article_number
            variant_id material material_number matnr code id
        """,
        "quantity": "qty count units number_of_units qty_ordered order_qty ordered_quantity pieces",
        "unitPrice": "price unit_amount unit_cost price_per_unit item_price net_price gross_price cost amount",
    }.items()
}


def simplified(name: str) -> str:
    """A name without capitals and separators: `order_id`, `Order-ID` and `orderId` are one."""
    return "".join(filter(str.isalnum, name)).casefold() if len(name) <= _MAX_LENGTH else ""


def meant(name: str, fields: frozenset[str], *, guess: bool = True) -> str | None:
    """The field that a name is a near miss of, or None. Without `guess`, misspelled names are not near misses."""
    key = simplified(name)
    field = _spellings(fields).get(key)
    if field is None and guess and key:
        own = {simplified(own): own for own in fields}
        close = get_close_matches(key, own, n=1, cutoff=0.82)
        field = own[close[0]] if close else None
    return field


@lru_cache(maxsize=64)
def _spellings(fields: frozenset[str]) -> dict[str, str]:
    """The simplified names that mean one of the fields. A field's own name comes before another word for it."""
    words = {simplified(word): field for field in reversed(_ALIASES) if field in fields for word in _ALIASES[field]}
    return words | {simplified(field): field for field in fields}
