"""How a test sets the faults of a running stack."""

import http.client
import json
import time
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from urllib.parse import quote, urlsplit

from durable_local.errors import LocalStackError
from durable_local.faults.rules import (
    CALLS,
    CONTROL_PREFIX,
    INJECTIONS,
    REQUESTS,
    RULES,
    Call,
    Injection,
    Request,
    Rule,
)
from durable_local.keys import Keys

TIMEOUT_SECONDS = 60
POLL_SECONDS = 0.1


class Faults:
    """Safe on any thread. Raises LocalStackError if the stack was not started with faults."""

    def __init__(self, endpoint: str, keys: Keys, physical_name: Callable[[str], str]) -> None:
        """`physical_name`: a function's name by its logical id, so that a rule may use either."""
        self._address = urlsplit(endpoint).netloc
        self._keys = keys
        self._physical_name = physical_name

    def add(self, rule: Rule) -> int:
        """Adds a rule, which is in force at the return; returns its id."""
        return self.add_all([rule])[0]

    def add_all(self, rules: list[Rule]) -> list[int]:
        """Adds all rules at once, in order; returns their ids."""
        named = [replace(rule, function=rule.function and self._physical_name(rule.function)) for rule in rules]
        ids: list[int] = json.loads(self._ask("POST", "rules", RULES.dump_json(named)))
        return ids

    def release(self, rule: int) -> None:
        """Ends the rule and releases the requests that it holds."""
        self._ask("POST", f"rules/{rule}/release")

    def clear(self) -> None:
        """Ends all rules and releases the requests that they hold. Injections and requests stay."""
        self._ask("DELETE", "rules")

    def injected(self, rule: int | None = None, after: int = 0) -> list[Injection]:
        """What one rule or all rules have done, in order, without the first `after` of all."""
        injections = INJECTIONS.validate_json(self._ask("GET", f"injections?after={after}"))
        return [injection for injection in injections if rule in (None, injection.rule)]

    def requests(self, text: str = "") -> list[Request]:
        """The requests whose text contains `text`, in order of arrival; only the latest 50,000."""
        return REQUESTS.validate_json(self._ask("GET", f"requests?text={quote(text, safe='')}"))

    def calls(self) -> list[Call]:
        """Each kind of call that the functions' workers have made since the start of the stack, once."""
        return CALLS.validate_json(self._ask("GET", "calls"))

    def wait(self, rule: int, times: int = 1, timeout_seconds: float = 60) -> list[Injection]:
        """Waits until the rule was applied (a Hold: holds a request) `times` times; raises TimeoutError."""
        deadline = time.monotonic() + timeout_seconds
        while len(injected := self.injected(rule)) < times:
            if time.monotonic() > deadline:
                raise TimeoutError(f"rule {rule} was applied {len(injected)} times, not {times}")
            time.sleep(POLL_SECONDS)
        return injected

    def _ask(self, method: str, what: str, body: bytes | None = None) -> bytes:
        connection = http.client.HTTPConnection(self._address, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(method, CONTROL_PREFIX + what, body, self._keys.headers)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if response.status != HTTPStatus.OK:
            raise LocalStackError(
                f"{method} {what}: {response.status}; are there faults in this stack (local_stack(faults=True))?"
            )
        return content
