"""One poller for all open pages: it makes each page's content again while somebody looks, and streams the changes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Hashable
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool

# A comment at least this often, so that a connection that has gone is noticed.
PING_SECONDS = 15
PING = ": ping\n\n"

Make = Callable[[], str]


@dataclass
class _Topic:
    """What pages with the same address show. `made` counts how often `text` changed."""

    make: Make
    text: str | None = None
    made: int = 0
    watchers: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def set(self, text: str) -> None:
        """Wakes all watchers if the text is another one."""
        if text != self.text:
            self.text = text
            self.made += 1
            self.changed.set()
            self.changed = asyncio.Event()


class Poller:
    """Makes the text of each watched topic every `seconds`, one after the other, however many watch it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._topics: dict[Hashable, _Topic] = {}
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()

    @property
    def watched(self) -> dict[Hashable, int]:
        """How many pages watch each topic."""
        return {key: topic.watchers for key, topic in self._topics.items()}

    async def run(self) -> None:
        """Polls until it is cancelled; rests while nobody watches."""
        while True:
            if not self._topics:
                await self._wake.wait()
            self._wake.clear()
            for topic in list(self._topics.values()):
                topic.set(await run_in_threadpool(topic.make))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self.seconds)

    def soon(self) -> None:
        """Polls now: something was changed, or a new page looks."""
        self._wake.set()

    def close(self) -> None:
        """Ends all streams."""
        self._closing.set()
        for topic in self._topics.values():
            topic.changed.set()

    async def latest(self, key: Hashable, make: Make) -> str:
        """The text that watchers of `key` have now; made anew if there are none."""
        topic = self._topics.get(key)
        return topic.text if topic and topic.text is not None else await run_in_threadpool(make)

    async def stream(self, key: Hashable, make: Make, greeting: str = "") -> AsyncIterator[str]:
        """Server-sent events: `greeting`, then the text now and after each change."""
        topic = self._topics.setdefault(key, _Topic(make))
        topic.watchers += 1
        self.soon()
        seen = 0
        try:
            yield greeting
            while not self._closing.is_set():
                changed = topic.changed
                if topic.made != seen and topic.text is not None:
                    seen = topic.made
                    yield message(topic.text)
                    continue
                try:
                    await asyncio.wait_for(changed.wait(), PING_SECONDS)
                except TimeoutError:
                    yield PING
        finally:
            topic.watchers -= 1
            if not topic.watchers:
                del self._topics[key]


def message(text: str, event: str = "") -> str:
    """One server-sent event; without a name, the page swaps its text in."""
    lines = [f"event: {event}"] if event else []
    return "\n".join([*lines, *(f"data: {line}" for line in text.splitlines())]) + "\n\n"
