"""What a text that is not JSON looks like: the advice to its producer.

A text is judged by its beginning and by the character at which it stops being JSON, so no text costs much.
"""

import json
import re
from typing import Any, Final

from shared.errors import FieldError, InvalidOrder, NotJson
from shared.orders.envelopes import from_base64
from shared.orders.exact_json import WHITE_SPACE, decode
from shared.orders.order import order_from

_HEAD: Final = 2_000

# What json.JSONDecodeError says, in JSON's words.
_POSITIONS: Final = {
    "Expecting value": "a value is missing, or is not a value of JSON",
    "Expecting property name enclosed in double quotes": "a key in double quotes is missing",
    "Expecting ':' delimiter": "a colon is missing",
    "Expecting ',' delimiter": "a comma is missing",
    "Extra data": "the JSON text ends here, and more text follows",
    "Invalid control character at": "a string has a line end, a tab or another control character that is not escaped",
    "Invalid \\escape": "a backslash begins no escape of JSON",
    "Invalid \\escape: ": "a backslash begins no escape of JSON",
    "Invalid \\uXXXX escape": "\\u is not followed by four hex digits",
}
_COMPRESSED: Final = {b"\x1f\x8b": "gzip data", b"\x78\x9c": "zlib data", b"\x28\xb5\x2f\xfd": "zstd data"}
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}", re.ASCII)
_HEX: Final = re.compile(r"[0-9A-Fa-f]{16,}", re.ASCII)
_BINARY: Final = re.compile(r"[\x00-\x08\x0e-\x1f\ufffd]")
_WORD: Final = re.compile(r"[A-Za-z_$][\w$.]*", re.ASCII)
_PYTHON: Final = frozenset({"None", "True", "False", "Decimal", "datetime", "datetime.datetime", "UUID", "nan", "inf"})

# By the beginning of the text, the first that matches.
_LOOKS: Final = tuple(
    (re.compile(pattern, re.ASCII | re.IGNORECASE | re.MULTILINE), looks)
    for pattern, looks in (
        (r"<(!doctype html|html)", "HTML"),
        (r"<", "XML"),
        (r"\[object \w+\]", "a JavaScript object that was turned into text without JSON.stringify"),
        (r"ey[\w-]+\.[\w-]+\.[\w-]*\s*\Z", "a signed token (JWS or JWT), whose payload is base64"),
        (r"UN[AB][+:]|ISA[*|~^]", "an EDI document (EDIFACT or X12)"),
        (r"[aO]:[0-9]+:[{\"]", "PHP's serialize format"),
        (r"--\S+\s+Content-", "a multipart form"),
        (r"(GET|POST|PUT|PATCH|DELETE) \S+ HTTP/|HTTP/[0-9.]+ [0-9]{3}", "a whole HTTP message, not only its body"),
        (r"[\w.\[\]%+-]+=[^&\s]*(&[\w.\[\]%+-]+=[^&\s]*)*\s*\Z", "a form (application/x-www-form-urlencoded)"),
        (r"(---\s+)?[\w-]+:([ \t].*)?$\s(\s*(- )?[\w-]+:|\s*- )", "YAML, or lines of names and values"),
    )
)


def reasons(error: json.JSONDecodeError) -> list[FieldError]:
    """Why the text is not JSON. If it is an encoded JSON text, also what is wrong with the order in that."""
    text = error.doc.strip(WHITE_SPACE)
    for kind, content in _contents(text):
        for magic, compressed in _COMPRESSED.items():
            if content.startswith(magic):
                return _looks_like(f"{kind} of {compressed}: send the text that was compressed")
        try:
            decoded = decode(content.decode())
        except (UnicodeDecodeError, NotJson):
            continue
        except InvalidOrder as too_large:
            return [*_looks_like(f"{kind} of a JSON text"), *too_large.errors]
        return [*_looks_like(f"{kind} of a JSON text: send that text itself"), *_mistakes_in(decoded.data)]
    if _BASE64.fullmatch(text) and (len(text) % 4 == 0 or text.endswith("=")):
        return _looks_like("base64")
    return [FieldError("", f"not JSON: {_description(text, error)}")]


def _looks_like(what: str) -> list[FieldError]:
    return [FieldError("", f"not JSON: it looks like {what}")]


def _mistakes_in(data: Any) -> tuple[FieldError, ...]:
    try:
        order_from(data)
    except InvalidOrder as error:
        return error.errors
    return ()


def _contents(text: str) -> list[tuple[str, bytes]]:
    """What the text may be an encoding of."""
    contents = []
    try:
        if _HEX.fullmatch(text):
            contents.append(("hex", bytes.fromhex(text)))
        letters = "".join(text.split())  # MIME breaks base64 into lines
        if _BASE64.fullmatch(letters):
            contents.append(("base64", from_base64(letters)))
    except ValueError:
        pass
    if text.startswith("\x1f"):
        contents.append(("binary text", b"\x1f\x8b"))
    return contents


def _description(text: str, error: json.JSONDecodeError) -> str:
    head = text[:_HEAD]
    if not text:
        return "it is empty"
    if text.startswith("\ufeff"):
        return "it begins with a byte order mark: send UTF-8 without one"
    if head[0] not in "{[" or head.startswith("[object "):
        looks = next((looks for pattern, looks in _LOOKS if pattern.match(head)), None)
        if looks is None and _is_table(head):
            looks = "CSV"
        if looks is None and _BINARY.search(head):
            looks = "binary data"
        if looks:
            return f"it looks like {looks}: send one JSON object for each order"
    if error.pos == len(error.doc) - len(error.doc.lstrip(WHITE_SPACE)) and head[0] not in "{[":
        return _where_it_stops(error) or "it does not begin with {, as an order does"
    return _where_it_stops(error) or f"{_POSITIONS.get(error.msg, error.msg)} {_position(error)}"


def _where_it_stops(error: json.JSONDecodeError) -> str | None:
    """By the character at which the text stops being JSON."""
    text, end = error.doc, error.pos
    rest = text[end : end + _HEAD]
    is_in_escape = error.msg.startswith("Invalid \\uXXXX") and len(rest) < len("\\u0041")
    if error.msg.startswith("Unterminated string") or not rest.strip(WHITE_SPACE) or is_in_escape:
        return "it ends before the JSON text is complete, as if it was cut"
    if error.msg == "Extra data" and rest.lstrip(" \t\r\n,;\x1e")[:1] in {"{", "["}:
        return "it is several JSON texts in one, as JSON Lines are: send a message for each order"
    before = text[max(0, end - _HEAD) : end].rstrip()
    if (rest[0] in "}]" and before.endswith(",")) or error.msg.startswith("Illegal trailing comma"):
        return f"a comma is followed by nothing {_position(error)}"
    if rest[0] in "+." or (rest[0].isdigit() and before[-1:].isdigit()):
        return f"a number is not written as JSON does {_position(error)}"
    literal = _literal(text, rest)
    return f"it looks like {literal} {_position(error)}" if literal else None


def _literal(text: str, rest: str) -> str | None:
    """The language whose literal a text may be. `rest` begins with what is not JSON."""
    word = _WORD.match(rest)
    after = rest[word.end() :].lstrip() if word else ""
    is_python = rest[0] == "(" or re.search(r"\b(None|True|False|Decimal)\b", text[:_HEAD]) is not None
    looks = (
        (rest.startswith("=>"), "a Ruby or PHP literal: JSON has : between a key and its value"),
        (rest[0] in "/#", "JSON with a comment: JSON has none"),
        (rest[0] in "\u201c\u201d\u2018\u2019", "JSON with typographic quotes: strings of JSON are in double quotes"),
        (rest[0] in "'(" and is_python, "a Python literal: write it with json.dumps"),
        (rest[0] == "'", "a Python or JavaScript literal: strings of JSON are in double quotes"),
        (bool(word and word[0] in _PYTHON), "a Python literal: write it with json.dumps"),
        (after.startswith("="), "the text of a Java map: keys and strings of JSON are in double quotes"),
        (
            after.startswith(":") or bool(word and word[0] in {"undefined", "new"}),
            "a JavaScript literal: write it with JSON.stringify",
        ),
    )
    return next((language for is_so, language in looks if is_so), None)


def _is_table(head: str) -> bool:
    """Whether the first lines are rows of values with the same separator."""
    rows = [row for row in head.splitlines() if row.strip()][:3]
    if len(rows) == 1:
        return ", " not in rows[0] and any(rows[0].count(separator) >= 2 for separator in ",;\t|")
    complete = rows[:2] if len(head) < _HEAD or len(rows) > 2 else rows[:1]
    return any(min(row.count(separator) for row in complete) >= 1 for separator in ",;\t|") if rows else False


def _position(error: json.JSONDecodeError) -> str:
    return f"(line {error.lineno}, column {error.colno})"
