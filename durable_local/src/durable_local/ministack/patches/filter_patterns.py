"""Filters log events by CloudWatch Logs' filter patterns.

MiniStack takes every JSON pattern as one that matches all, ignores the case of terms, has no `?term` and splits a
phrase at its spaces. https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
"""

from __future__ import annotations

import functools
import json
import operator
import re
from typing import TYPE_CHECKING, Any

from .patching import Original, Patch

if TYPE_CHECKING:
    from collections.abc import Callable

    Matches = Callable[[Any], bool]

LOGS = "ministack.services.cloudwatch_logs"
TERM = re.compile(r'([-?+]?)("(?:[^"\\]|\\.)*"|\S+)')
TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|%(?:[^%\\]|\\.)+%|&&|\|\||!=|<=|>=|[=<>()]|[^\s()=<>!&|"]+)')
SELECTOR = re.compile(r"\$(?:\.[\w@-]+|\.?\['[^']+'\]|\[\d+\])+")
SELECTOR_PART = re.compile(r"\.([\w@-]+)|\['([^']+)'\]|\[(\d+)\]")
ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
MISSING = object()

patch = Patch(__name__)
error_response = patch.uses(LOGS, "error_response_json")


class PatternError(ValueError):
    """The pattern is not valid, or not supported here."""


@patch.replaces(LOGS, "_compile_filter_pattern")
def compile_pattern(_original: Original, pattern: str) -> Callable[[str], bool]:
    """For FilterLogEvents."""
    return matcher(pattern)


@patch.replaces(LOGS, "_filter_log_events")
def filter_log_events(original: Original, data: dict[str, Any]) -> Any:
    """Refuses a pattern that it cannot carry out."""
    try:
        return original(data)
    except PatternError as error:
        return error_response.call("InvalidParameterException", f"Invalid filter pattern: {error}", 400)


@patch.replaces(LOGS, "_subscription_pattern_matches")
def subscription_matches(_original: Original, pattern: str, message: str) -> bool:
    """For subscription filters and Live Tail; a pattern that it cannot carry out matches nothing."""
    try:
        return matcher(pattern)(message)
    except PatternError:
        return False


@functools.lru_cache
def matcher(pattern: str) -> Callable[[str], bool]:
    """Tells whether a message matches; raises PatternError."""
    text = (pattern or "").strip()
    if text.startswith("{"):
        if not text.endswith("}"):
            raise PatternError("it has no }")
        condition = _Parser(text[1:-1]).condition()

        def matches(message: str) -> bool:
            try:
                event = json.loads(message)
            except ValueError:
                return False
            return condition(event)

        return matches
    if text.startswith(("[", "%")):
        raise PatternError("the local stack supports terms and JSON patterns, not space-delimited ones and %regex%")
    terms = [(sign, _unquoted(term)) for sign, term in TERM.findall(text)]
    optional = [term for sign, term in terms if sign == "?"]
    return lambda message: (
        all((term in message) is (sign != "-") for sign, term in terms if sign != "?")
        and (not optional or any(term in message for term in optional))
    )


class _Parser:
    """Reads `$.a = "x" && ($.b > 1 || $.c NOT EXISTS)`."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = []
        at, end = 0, len(text.rstrip())
        while at < end:
            if not (token := TOKEN.match(text, at)):
                raise PatternError(f"at {text[at:].strip()!r}")
            self._tokens.append(token[1])
            at = token.end()

    def condition(self) -> Matches:
        """The whole condition."""
        condition = self._either()
        if self._tokens:
            raise PatternError(f"at {self._tokens[0]!r}")
        return condition

    def _next(self, *expected: str) -> str:
        token = self._tokens.pop(0) if self._tokens else "its end"
        if expected and token.upper() not in expected:
            raise PatternError(f"{' or '.join(expected)} expected at {token!r}")
        return token.upper() if expected else token

    def _is(self, token: str) -> bool:
        if self._tokens[:1] == [token]:
            self._tokens.pop(0)
            return True
        return False

    def _either(self) -> Matches:
        parts = [self._both()]
        while self._is("||"):
            parts.append(self._both())
        return lambda event: any(part(event) for part in parts)

    def _both(self) -> Matches:
        parts = [self._comparison()]
        while self._is("&&"):
            parts.append(self._comparison())
        return lambda event: all(part(event) for part in parts)

    def _comparison(self) -> Matches:
        if self._is("("):
            inner = self._either()
            self._next(")")
            return inner
        selector = self._next()
        if not SELECTOR.fullmatch(selector):
            raise PatternError(f"a selector such as $.name expected at {selector!r}")
        path = [name or quoted or int(index) for name, quoted, index in SELECTOR_PART.findall(selector)]
        sign = self._next("=", "!=", "<", ">", "<=", ">=", "IS", "NOT", "EXISTS")
        test = self._test(sign)
        return lambda event: test(_find(event, path))

    def _test(self, sign: str) -> Matches:
        if sign == "IS":
            constant = {"NULL": None, "TRUE": True, "FALSE": False}[self._next("NULL", "TRUE", "FALSE")]
            return lambda value: value is constant
        if sign in {"NOT", "EXISTS"}:
            if sign == "NOT":
                self._next("EXISTS")
            return lambda value: (value is MISSING) is (sign == "NOT")
        literal = self._next()
        if sign in ORDERS:
            number, order = _number(literal), ORDERS[sign]
            if number is None:
                raise PatternError(f"a number expected at {literal!r}")
            return lambda value: _is_number(value) and order(value, number)
        equals = _equals(literal)
        return equals if sign == "=" else lambda value: value is not MISSING and not equals(value)


def _equals(literal: str) -> Matches:
    if literal.startswith("%"):
        try:
            pattern = re.compile(literal[1:-1])
        except re.error as error:
            raise PatternError(f"{literal}: {error}") from None
        return lambda value: isinstance(value, str) and bool(pattern.search(value))
    wanted = re.compile(".*".join(map(re.escape, _unquoted(literal).split("*"))), re.DOTALL)
    number = _number(literal)
    return lambda value: (
        value == number if _is_number(value) else isinstance(value, str) and bool(wanted.fullmatch(value))
    )


def _find(event: Any, path: list[str | int]) -> Any:
    for part in path:
        try:
            event = event[part]
        except (KeyError, IndexError, TypeError):
            return MISSING
    return event


def _number(literal: str) -> float | None:
    try:
        return float(literal)
    except ValueError:
        return None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text
