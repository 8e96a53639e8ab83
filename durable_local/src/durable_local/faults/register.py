"""The rules, what they have done, and every request. Safe on any thread."""

import threading
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from durable_local.faults.rules import Call, Injection, Request, Rule

MAX_REQUESTS = 50_000
MAX_TEXT_CHARACTERS = 4096


@dataclass(eq=False)
class Active:
    """A rule and how many requests have matched it. `released` ends the requests that it holds."""

    number: int
    rule: Rule
    matched: int = 0
    released: Future[None] = field(default_factory=Future)

    def takes(self, request: Request) -> bool:
        """Whether the rule is due now; counts a request that matches."""
        if self.released.done() or not self.rule.matches(request):
            return False
        self.matched += 1
        done = self.matched - self.rule.skip
        return done > 0 and (self.rule.times is None or done <= self.rule.times)

    def release(self) -> None:
        """Ends the rule and releases the requests that it holds."""
        if not self.released.done():
            self.released.set_result(None)


class Register:
    """The rules of one stack."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._added = 0
        self._active: dict[int, Active] = {}
        self._injections: list[Injection] = []
        self._requests: deque[Request] = deque(maxlen=MAX_REQUESTS)
        self._calls: set[Call] = set()

    def add(self, rules: list[Rule]) -> list[int]:
        """Adds the rules; returns their numbers."""
        with self._lock:
            first = self._added + 1
            self._added += len(rules)
            for number, rule in enumerate(rules, first):
                self._active[number] = Active(number, rule)
            return list(range(first, self._added + 1))

    def release(self, number: int) -> None:
        """Ends a rule and releases the requests that it holds; raises KeyError for an unknown rule."""
        with self._lock:
            self._active[number].release()

    def clear(self) -> None:
        """Ends all rules and releases the requests that they hold. Injections and requests stay."""
        with self._lock:
            for active in self._active.values():
                active.release()
            self._active.clear()

    def due(self, request: Request) -> Active | None:
        """Stores the request; returns the rule to apply to it.

        Every matching rule counts it, so the n-th request of a rule does not depend on other rules.
        """
        with self._lock:
            self._requests.append(replace(request, text=request.text[:MAX_TEXT_CHARACTERS]))
            taking = [active for active in self._active.values() if active.takes(request)]
        return taking[0] if taking else None

    def add_calls(self, calls: Iterable[Call]) -> None:
        """Stores what a worker has called."""
        with self._lock:
            self._calls.update(calls)

    def calls(self) -> list[Call]:
        """Each kind of call that a worker has made since the start of the stack, once."""
        with self._lock:
            return list(self._calls)

    def done(self, active: Active, request: Request) -> None:
        """Records that the rule was applied."""
        shown = replace(request, text=request.text[:MAX_TEXT_CHARACTERS])
        with self._lock:
            self._injections.append(Injection(active.number, active.rule.label, shown))

    def injections(self, after: int = 0) -> list[Injection]:
        """In order, without the first `after`."""
        with self._lock:
            return self._injections[after:]

    def requests(self, text: str = "") -> list[Request]:
        """The requests whose text contains `text`, in order of arrival; only the latest `MAX_REQUESTS`."""
        with self._lock:
            return [request for request in self._requests if text in request.text]
