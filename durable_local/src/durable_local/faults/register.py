"""What is to be done, what has been done, and every request seen. Safe on any thread."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from durable_local.faults.rules import Injection, Request, Rule

MOST_REQUESTS = 50_000
LONGEST_TEXT = 4096


@dataclass(eq=False)
class Active:
    """A rule, with how many requests it was about so far. `released` ends what it holds."""

    number: int
    rule: Rule
    matched: int = 0
    released: Future[None] = field(default_factory=Future)

    def takes(self, request: Request) -> bool:
        """Whether the rule is due now; counts the request if the rule is about it."""
        if self.released.done() or not self.rule.matches(request):
            return False
        self.matched += 1
        done = self.matched - self.rule.skip
        return done > 0 and (self.rule.times is None or done <= self.rule.times)

    def release(self) -> None:
        """Ends the rule, and what it holds."""
        if not self.released.done():
            self.released.set_result(None)


class Register:
    """The rules of one stack."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._added = 0
        self._active: dict[int, Active] = {}
        self._injections: list[Injection] = []
        self._requests: deque[Request] = deque(maxlen=MOST_REQUESTS)

    def add(self, rules: list[Rule]) -> list[int]:
        """The numbers under which they are known, from now on."""
        with self._lock:
            first = self._added + 1
            self._added += len(rules)
            for number, rule in enumerate(rules, first):
                self._active[number] = Active(number, rule)
            return list(range(first, self._added + 1))

    def release(self, number: int) -> None:
        """Ends a rule, and lets go what it holds; KeyError when there is no such rule."""
        with self._lock:
            self._active[number].release()

    def clear(self) -> None:
        """Ends all rules, and what they hold. What was done and seen is remembered."""
        with self._lock:
            for active in self._active.values():
                active.release()
            self._active.clear()

    def due(self, request: Request) -> Active | None:
        """Notes the request; the rule that is to be carried out on it.

        Every rule counts it, so that the n-th request is the same one whatever other rules there are.
        """
        with self._lock:
            self._requests.append(replace(request, text=request.text[:LONGEST_TEXT]))
            taking = [active for active in self._active.values() if active.takes(request)]
        return taking[0] if taking else None

    def done(self, active: Active, request: Request) -> None:
        """Notes that the rule was carried out."""
        shown = replace(request, text=request.text[:LONGEST_TEXT])
        with self._lock:
            self._injections.append(Injection(active.number, active.rule.label, shown))

    def injections(self, after: int = 0) -> list[Injection]:
        """In order, without the first `after`."""
        with self._lock:
            return self._injections[after:]

    def requests(self, text: str = "") -> list[Request]:
        """Those whose text holds `text`, in the order in which they came; of very many only the latest."""
        with self._lock:
            return [request for request in self._requests if text in request.text]
