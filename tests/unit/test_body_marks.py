"""Where in a body its errors are: the marks of the console's page of a rejected message."""

import pytest

from shared.errors import InvalidOrder
from shared.orders.order import parse_order
from tools.console.body_marks import marked

ITEMS = '{"orderId": "A", "items": [{"sku": "x", "quantity": 0}, {"sku": "y"}]}'


def marks(body, *fields):
    """The marked texts with the numbers of their errors. The pieces together are the body."""
    pieces = marked(body, fields)
    assert "".join(piece.text for piece in pieces) == body
    return [(piece.text, piece.errors) for piece in pieces if piece.errors]


@pytest.mark.parametrize(
    ("body", "field", "expected"),
    [
        (ITEMS, "orderId", ['"orderId": "A"']),
        (ITEMS, "items.0.quantity", ['"quantity": 0']),
        (ITEMS, "items", ['"items": [']),
        (ITEMS, "items.1", ["{"]),
        # A missing field: the object that lacks it.
        (ITEMS, "items.1.quantity", ["{"]),
        (ITEMS, "currency", ["{"]),
        (ITEMS, "", []),
        (' {"a.b": {"c": 1}, "a": {"b.c": 2}}', "a.b.c", ['"c": 1', '"b.c": 2']),
        ('{"": 1}', '""', ['"": 1']),
        ('{"a": 1, "a": 2}', "a", ['"a": 1', '"a": 2']),
        ('{"detail": "{\\"orderId\\": 5}"}', "detail.orderId", ['"detail": "{\\"orderId\\": 5}"']),
        ('{"n": ' + "9" * 5000 + "}", "n", ['"n": ' + "9" * 5000]),
        ("5", "orderId", ["5"]),
        ("[]", "0", ["["]),
    ],
)
def test_the_place_of_a_field_is_marked(body, field, expected):
    assert [text for text, _ in marks(body, field)] == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"a": }', "}"),
        ('{"a": 1} x', "x"),
        ("hello", "h"),
        ('{"a":', ":"),
        ('{"a": 1,\n', ",\n"),
        ("'", "'"),
    ],
)
def test_a_body_that_is_not_json_is_marked_where_it_stops(body, expected):
    assert marks(body, "") == [(expected, (1,))]


@pytest.mark.parametrize("body", ["", "[" * 100_000])
def test_a_body_without_a_place_is_not_marked(body):
    assert marks(body, "") == []


def test_errors_of_one_place_share_a_mark():
    assert marks(ITEMS, "items.1.quantity", "items.1.unitPrice", "orderId") == [('"orderId": "A"', (3,)), ("{", (1, 2))]


@pytest.mark.parametrize(
    "body",
    [
        ITEMS,
        '{"orderId": 5, "colour": "red", "items": {"sku": ""}, "attributes": {"": 1, "a b": null}}',
        '{"order": {"orderID": "A", "items": [{"price": 1}]}}',
    ],
)
def test_every_error_that_the_parser_names_has_a_place(body):
    with pytest.raises(InvalidOrder) as error:
        parse_order(body)
    fields = [each.field for each in error.value.errors]
    found = {number for _, numbers in marks(body, *fields) for number in numbers}
    assert found == {number for number, field in enumerate(fields, 1) if field}
