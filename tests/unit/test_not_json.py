"""A text that is not JSON is named by what it looks like."""

import base64
import csv
import gzip
import io
import json
import pprint
import zlib
from urllib.parse import urlencode
from xml.etree.ElementTree import Element, SubElement, tostring

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import NotJson
from shared.orders.exact_json import decode
from shared.orders.order import parse_order
from tests.unit.hostile import any_text, broken
from tests.unit.orders import order_data

FEWER = settings(max_examples=settings.default.max_examples // 4)
ORDER = {
    "orderId": "A-1",
    "currency": "USD",
    "items": [{"sku": "CD", "quantity": 2, "unitPrice": "13.24"}],
}
TEXT = json.dumps(ORDER)


def errors_of(text):
    with pytest.raises(NotJson) as refused:
        parse_order(text)
    assert refused.value.code == "NOT_JSON"
    assert refused.value.errors[0].field == ""
    return [str(error) for error in refused.value.errors]


def table(delimiter):
    rows = io.StringIO()
    csv.writer(rows, delimiter=delimiter).writerows([["orderId", "sku", "qty"], ["A-1", "CD", 2], ["A-2", "LP", 1]])
    return rows.getvalue()


def xml():
    order = Element("Order")
    SubElement(order, "OrderId").text = "A-1"
    return tostring(order, encoding="unicode", xml_declaration=True)


def b64(data):
    return base64.b64encode(data).decode()


LOOKS = {
    "empty": (" \r\n", "it is empty"),
    "byte order mark": ("\ufeff" + TEXT, "it begins with a byte order mark"),
    "XML": (xml(), "it looks like XML"),
    "XML after a line end": ("\n " + xml(), "it looks like XML"),
    "SOAP": ('<soap:Envelope xmlns:soap="x"><soap:Body/></soap:Envelope>', "it looks like XML"),
    "HTML": ("<!DOCTYPE html><html><body>502 Bad Gateway</body></html>", "it looks like HTML"),
    "CSV": (table(","), "it looks like CSV"),
    "CSV with semicolons": (table(";"), "it looks like CSV"),
    "CSV with tabs": (table("\t"), "it looks like CSV"),
    "one row of CSV": ("A-1,CD,2,13.24", "it looks like CSV"),
    "CSV of two columns": ("orderId,sku\nA-1,CD\nA-2,MUG\n", "it looks like CSV"),
    "base64": (b64(b"an order is not in here, only text"), "it looks like base64"),
    "base64 without padding": (b64(b"an order is not in here"[:21]), "it looks like base64"),
    "base64 of JSON": (b64(TEXT.encode()), "it looks like base64 of a JSON text: send that text itself"),
    "base64 of JSON in lines": (
        base64.encodebytes(TEXT.encode()).decode(),
        "it looks like base64 of a JSON text: send that text itself",
    ),
    "URL-safe base64": (
        base64.urlsafe_b64encode(json.dumps({**ORDER, "customerId": "a"}).encode()).decode(),
        "it looks like base64 of a JSON text: send that text itself",
    ),
    "hex of JSON": (TEXT.encode().hex(), "it looks like hex of a JSON text: send that text itself"),
    "gzip": (b64(gzip.compress(TEXT.encode())), "it looks like base64 of gzip data: send the text that was compressed"),
    "zlib": (b64(zlib.compress(TEXT.encode())), "it looks like base64 of zlib data: send the text that was compressed"),
    "gzip as text": (gzip.compress(TEXT.encode()).decode("latin-1"), "it looks like binary text of gzip data"),
    "binary": ("\x08\x96\x01\x12\x07testing", "it looks like binary data"),
    "Python literal": (repr({**ORDER, "customerId": None}), "it looks like a Python literal"),
    "Python literal, pretty": (pprint.pformat({**ORDER, "gift": True}), "it looks like a Python literal"),
    "Python constant": ('{"orderId": "A-1", "customerId": None}', "it looks like a Python literal"),
    "Python Decimal": ("{'orderId': 'A', 'total': Decimal('1.5')}", "it looks like a Python literal"),
    "single quotes": ("{'orderId': 'A-1'}", "it looks like a Python or JavaScript literal"),
    "JavaScript literal": ("{orderId: 'A-1', items: []}", "it looks like a JavaScript literal"),
    "JavaScript undefined": ('{"orderId": "A-1", "customerId": undefined}', "it looks like a JavaScript literal"),
    "JavaScript object as text": ("[object Object]", "it looks like a JavaScript object that was turned into text"),
    "JSON with comments": ('{\n  // the order\n  "orderId": "A-1"\n}', "it looks like JSON with a comment"),
    "comma at the end": ('{"orderId": "A-1",}', "a comma is followed by nothing (line 1, column 19)"),
    "comma at the end of a list": ('{"items": [1,]}', "a comma is followed by nothing (line 1, column 14)"),
    "Ruby hash": ('{"orderId"=>"A-1"}', "it looks like a Ruby or PHP literal"),
    "Java map": ("{orderId=A-1, items=[]}", "it looks like the text of a Java map"),
    "typographic quotes": ("{\u201corderId\u201d: \u201cA-1\u201d}", "it looks like JSON with typographic quotes"),
    "JSON Lines": (f"{TEXT}\n{TEXT}\n", "it is several JSON texts in one"),
    "JSON texts together": (TEXT + TEXT, "it is several JSON texts in one"),
    "JSON texts with commas": (f"{TEXT},\n{TEXT}", "it is several JSON texts in one"),
    "form": (urlencode({"orderId": "A-1", "payload": TEXT}), "it looks like a form"),
    "YAML": ("orderId: A-1\nitems:\n  - sku: CD\n    quantity: 2\n", "it looks like YAML"),
    "EDIFACT": ("UNB+UNOC:3+SENDER+RECEIVER+260101:1200+1'", "it looks like an EDI document"),
    "X12": ("ISA*00*          *00*          *ZZ*SENDER", "it looks like an EDI document"),
    "PHP": ('a:1:{s:7:"orderId";s:3:"A-1";}', "it looks like PHP's serialize format"),
    "token": ("eyJhbGciOiJIUzI1NiJ9.eyJvcmRlcklkIjoiQS0xIn0.c2lnbmF0dXJl", "it looks like a signed token"),
    "HTTP": (f"POST /orders HTTP/1.1\r\nHost: x\r\n\r\n{TEXT}", "it looks like a whole HTTP message"),
    "multipart": ('--abc\r\nContent-Disposition: form-data; name="order"\r\n\r\n{}', "it looks like a multipart form"),
    "cut": (TEXT[:40], "it ends before the JSON text is complete, as if it was cut"),
    "cut in a string": (TEXT[:15], "it ends before the JSON text is complete, as if it was cut"),
    "plain text with an X": ("X", "it does not begin with {, as an order does"),
    "plain text": ("order 7, two CDs please", "it does not begin with {, as an order does"),
    "line end in a string": ('{"note": "a\nb"}', "a string has a line end, a tab or another control character"),
    "leading zero": ('{"orderId": "A", "n": 01}', "a number is not written as JSON does (line 1, column 24)"),
    "number with a plus": ('{"n": +1}', "a number is not written as JSON does (line 1, column 7)"),
    "a letter for a key": ("{X}", "a key in double quotes is missing (line 1, column 2)"),
    "missing comma": ('{"orderId": "A-1"\n "x": 1}', "a comma is missing (line 2, column 2)"),
    "missing colon": ('{"orderId" "A-1"}', "a colon is missing (line 1, column 12)"),
    "escape": ('{"orderId": "\\x41"}', "a backslash begins no escape of JSON (line 1, column 14)"),
}


@pytest.mark.parametrize(("text", "looks"), LOOKS.values(), ids=LOOKS)
def test_a_text_that_is_not_json_is_named_by_what_it_looks_like(text, looks):
    assert errors_of(text)[0].startswith(f"not JSON: {looks}")


def test_the_mistakes_of_an_order_in_base64_are_named_too():
    first, *others = errors_of(b64(json.dumps({**ORDER, "coupon": 1}).encode()))
    assert first.endswith("send that text itself")
    assert others == ["coupon: unknown field, leave it out or put it into attributes as a string"]


@FEWER
@given(order_data())
def test_the_repr_of_any_order_is_a_literal(data):
    assert " literal: " in errors_of(repr(data))[0]


@FEWER
@given(order_data(), st.data())
def test_any_order_that_was_cut_is_named_as_cut(data, drawn):
    text = json.dumps(data)
    (error,) = errors_of(text[: drawn.draw(st.integers(2, len(text) - 1))].rstrip())
    # Between two tokens nothing says whether the rest is missing or wrong.
    assert "as if it was cut" in error or "is missing" in error


@given(any_text | broken(order_data().map(json.dumps)))
def test_any_text_that_is_not_json_has_one_reason_or_more(text):
    try:
        decode(text)
    except NotJson as refused:
        reasons = [error.reason for error in refused.errors]
    else:
        return
    assert reasons[0].startswith("not JSON")
    assert not any("Expecting" in reason or "utf-8-sig" in reason for reason in reasons)
    assert all(len(reason) < 250 for reason in reasons)
