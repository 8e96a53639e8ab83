"""Orders of JSON, JSON Lines and CSV, each with the number of its line."""

import json
from io import StringIO

import pytest

from tools.operations.order_files import BadLine, OrderLine, format_of, guessed_format, orders_in


def read(form, text):
    return [
        (found.line, found.order.canonical() if isinstance(found, OrderLine) else found.reason)
        for found in orders_in(StringIO(text, newline=""), form)
    ]


def test_a_bad_line_is_named_with_its_number_and_field_and_the_rest_is_read():
    text = '{"orderId":"A"}\n\n{"orderId":"B","items":[{"sku":"S","quantity":0,"unitPrice":"1"}]}\nx\n{"orderId":"C"}\n'
    found = read("jsonl", text)
    assert [line for line, _ in found] == [1, 3, 4, 5]
    assert found[0][1] == {"orderId": "A"}
    assert found[1][1].startswith("INVALID_ORDER: items.0.quantity")
    assert found[2][1].startswith("NOT_JSON: ")
    assert found[3][1] == {"orderId": "C"}


def test_a_byte_that_is_not_utf_8_spoils_its_line_only():
    text = b'{"orderId":"A","attributes":{"name":"\xff"}}\n{"orderId":"B"}\n'.decode(errors="surrogateescape")
    (_, reason), (line, order) = read("jsonl", text)
    assert "attributes.name" in reason
    assert (line, order) == (2, {"orderId": "B"})


def test_a_json_list_has_an_order_on_each_line_where_it_begins():
    text = '\n[ {"orderId":"A"},\n\n  {"orderId":"B",\n "orderId":"B"}, 5,\n{"orderId":"C"} ]\n'
    found = read("json", text)
    assert [line for line, _ in found] == [2, 4, 5, 6]
    assert found[1][1].startswith("INVALID_ORDER: orderId")  # a key given twice is seen in a list too
    assert [found[0][1], found[3][1]] == [{"orderId": "A"}, {"orderId": "C"}]


def test_a_json_file_can_be_one_order_on_several_lines():
    assert read("json", '\n{\n"orderId": "A"\n}\n') == [(2, {"orderId": "A"})]


@pytest.mark.parametrize(
    "text", ['[{"orderId":"A"},\n{"orderId":', '[{"orderId":"A"}\n{"orderId":"B"}]', '[{"orderId":"A"},\n']
)
def test_a_broken_json_list_is_read_up_to_the_break(text):
    found = list(orders_in(StringIO(text), "json"))
    assert isinstance(found[0], OrderLine)
    assert [bad.reason[:8] for bad in found[1:]] == ["NOT_JSON"]


def test_numbers_of_a_json_list_stay_exact():
    price = "29.3300000000000000000000001"
    (found,) = read("json", f'[{{"orderId":"A","items":[{{"sku":"S","quantity":1,"unitPrice":{price}}}]}}]')
    assert "items.0.unitPrice" in found[1]


def test_rows_of_csv_with_one_order_id_are_the_items_of_one_order():
    text = (
        "orderId,customerId,sku,quantity,unitPrice,attributes.channel\r\n"
        'A,C-1,"S,1",2,1.50,web\r\nA,C-1,S-2,1,3,web\r\nB,,,,,\r\n'
    )
    assert read("csv", text) == [
        (
            2,
            {
                "orderId": "A",
                "customerId": "C-1",
                "items": [
                    {"sku": "S,1", "quantity": 2, "unitPrice": "1.5"},
                    {"sku": "S-2", "quantity": 1, "unitPrice": "3"},
                ],
                "attributes": {"channel": "web"},
            },
        ),
        (4, {"orderId": "B"}),
    ]


@pytest.mark.parametrize(
    ("rows", "line", "reason"),
    [
        ("A,C-1,S,many,1\n", 2, "items.0.quantity"),
        ("A,C-1,S,1,1\nA,C-2,S,1,1\n", 3, "differ in another column"),
        ("A,C-1,S,1,1,more\n", 2, "more cells than the header"),
        ('A,C-1,"S\n', 2, "not CSV"),
    ],
)
def test_a_bad_row_of_csv_is_named(rows, line, reason):
    (bad,) = orders_in(StringIO("orderId,customerId,sku,quantity,unitPrice\n" + rows, newline=""), "csv")
    assert isinstance(bad, BadLine)
    assert bad.line == line
    assert reason in bad.reason


def test_json_lines_are_read_one_at_a_time():
    taken = []

    class Lines:
        def __iter__(self):
            for number in range(10_000):
                taken.append(number)
                yield json.dumps({"orderId": f"O-{number}"}) + "\n"

    assert next(iter(orders_in(Lines(), "jsonl"))).line == 1
    assert taken == [0]


@pytest.mark.parametrize(("name", "form"), [("a.JSON", "json"), ("a.csv", "csv"), ("a.jsonl", "jsonl"), ("-", "jsonl")])
def test_the_format_is_the_end_of_the_name(name, form):
    assert format_of(name) == form


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"orderId": "A"}', "json"),
        ('{\n  "orderId": "A"\n}\n', "json"),
        (' [{"orderId": "A"}]', "json"),
        ('{"orderId": "A"}\n{"orderId": "B"}\n', "jsonl"),
        ('{"orderId": }\n{"orderId": "B"}', "jsonl"),
        ('{\n  "orderId": \n}', "json"),
        ("orderId,sku\nA,B\n", "csv"),
        ("", "csv"),
    ],
)
def test_the_format_of_a_text_without_a_name_is_guessed(text, expected):
    assert guessed_format(text) == expected
