"""No text of a producer reaches the terminal with a character that the terminal acts on."""

import unicodedata
from io import StringIO

import pytest
from hypothesis import given

from tests.unit.hostile import any_text
from tools import demo
from tools.demo import Reject, rejects_table
from tools.printable import printable

HOSTILE = "\x9b31m\u202eGNIRPS\n│ NOT_JSON │ [red]forged[/red] :warning: \x1b]0;title\x07\t\ud800\u2028\u2066"


def shows_nothing_hostile(printed):
    assert not [c for c in printed if c != "\n" and unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}]


@given(any_text)
def test_only_printable_characters_are_left(text):
    assert printable(text).isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, ünïcode 注文 😀", "plain text, ünïcode 注文 😀"),
        ("a\tb\nc\r", "a\\tb\\nc\\r"),
        ("\x1b[31m\x9b\x07\x7f", "\\x1b[31m\\x9b\\x07\\x7f"),
        ("\u202e\u2066\u200f\u061c\u2028\ufeff", "\\u202e\\u2066\\u200f\\u061c\\u2028\\ufeff"),
        ("\ud800", "\\ud800"),
    ],
    ids=["printable", "white space", "control", "bidirectional", "lone surrogate"],
)
def test_a_character_that_a_terminal_acts_on_is_shown_as_its_escape(text, shown):
    assert printable(text) == shown


@pytest.fixture
def printed(monkeypatch):
    """A function that returns what the demo's console has printed."""
    output = StringIO()
    monkeypatch.setattr(demo.console, "file", output)
    monkeypatch.setattr(demo.console, "width", 300)
    return output.getvalue


def test_the_demo_shows_a_rejected_body_and_its_field_names_escaped(printed):
    reject = Reject(HOSTILE, "INVALID_ORDER", [{"field": HOSTILE, "reason": "Extra inputs are not permitted"}])
    demo.console.print(rejects_table([reject]))
    shows_nothing_hostile(printed())
    assert "│ NOT_JSON │ [red]forged[/red] :warning:" in printed()
    rows = [line for line in printed().splitlines() if line.startswith("│")]
    assert len(rows) == 1


def test_the_demo_shows_a_problem_escaped_and_on_one_line(printed):
    demo.report([f"rejected as NOT_JSON: {HOSTILE}"])
    shows_nothing_hostile(printed())
    assert "[red]forged[/red] :warning:" in printed()
    assert len(printed().splitlines()) == 1
