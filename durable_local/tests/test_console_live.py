"""The poller: one for all tabs, and none while nobody looks."""

import asyncio
import contextlib
import threading

import pytest
import urllib3
from console_server import served
from starlette.routing import Route

from durable_local.console import NotShown, Section, live_page, pages
from durable_local.console.live import Poller, message


@contextlib.asynccontextmanager
async def polling(seconds=0.01):
    poller = Poller(seconds)
    task = asyncio.create_task(poller.run())
    try:
        yield poller
    finally:
        task.cancel()


class Counted:
    """A text that is another one at each look, and how often somebody looked."""

    def __init__(self):
        self.looks = 0

    def __call__(self):
        self.looks += 1
        return f"look {self.looks}"


def run(test):
    asyncio.run(asyncio.wait_for(test(), 20))


def test_two_tabs_share_one_look():
    async def test():
        make = Counted()
        async with polling(seconds=60) as poller:
            first, second = poller.stream("page", make), poller.stream("page", make)
            await anext(first), await anext(second)  # the greetings
            assert poller.watched == {"page": 2}
            assert await anext(first) == await anext(second) == message("look 1")
            poller.soon()
            assert await anext(first) == await anext(second) == message("look 2")
            assert make.looks == 2
            await first.aclose()
            await second.aclose()

    run(test)


def test_the_poller_rests_when_nobody_watches():
    async def test():
        make = Counted()
        async with polling() as poller:
            stream = poller.stream("page", make)
            await anext(stream), await anext(stream), await anext(stream)
            await stream.aclose()
            assert not poller.watched
            await asyncio.sleep(0.05)  # a look that was under way
            looks = make.looks
            await asyncio.sleep(0.2)
            assert make.looks == looks

    run(test)


def test_what_has_not_changed_is_not_sent_again():
    async def test():
        looks = iter(["a", "a", "a", "b", *["b"] * 1000])
        async with polling() as poller:
            stream = poller.stream("page", lambda: next(looks))
            assert [await anext(stream) for _ in range(3)] == ["", message("a"), message("b")]

    run(test)


def test_a_page_that_others_watch_is_not_read_again():
    async def test():
        make = Counted()
        async with polling(seconds=60) as poller:
            assert await poller.latest("page", make) == "look 1"
            stream = poller.stream("page", make)
            await anext(stream), await anext(stream)
            assert await poller.latest("page", make) == "look 2"

    run(test)


def test_close_ends_an_open_stream_at_once():
    async def test():
        async with polling(seconds=60) as poller:
            stream = poller.stream("page", lambda: "text")
            await anext(stream), await anext(stream)
            waiting = asyncio.create_task(anext(stream))
            await asyncio.sleep(0)
            poller.close()
            with pytest.raises(StopAsyncIteration):
                await asyncio.wait_for(waiting, 1)

    run(test)


def test_a_message_of_many_lines_stays_one_message():
    assert message("a\n\nb", "name") == "event: name\ndata: a\ndata: \ndata: b\n\n"


@pytest.fixture
def templates(tmp_path):
    """A folder with a page of another program."""
    (tmp_path / "orders.html").write_text(
        '{% extends "base.html" %}{% block title %}Orders{% endblock %}'
        "{% block live %}<h1>{{ count }}</h1>{% endblock %}"
    )
    return tmp_path


def test_another_program_adds_a_section_with_its_own_templates(templates):
    reads = iter([lambda: {"count": "three"}, lambda: {}["no"], fails])

    async def orders(request):
        return await live_page(request, "orders.html", next(reads))

    with served([Section("Orders", "/", [Route("/", orders)], [templates])], notices=["The clock is fast."]) as console:
        shown = [fetch(console) for _ in range(3)]
    assert "<h1>three</h1>" in shown[0]
    assert '<a href="/" aria-current="page">Orders</a>' in shown[0]
    assert "The clock is fast." in shown[0]
    assert "The console has an error" in shown[1]
    assert "<h1>The ledger is away</h1>" in shown[2]
    assert "Wait &lt;a moment&gt;." in shown[2]


def test_a_page_that_takes_long_is_shown_before_its_content(templates, monkeypatch):
    monkeypatch.setattr(pages, "LOADING_SECONDS", 0.05)
    answer = threading.Event()

    async def slow(request):
        return await live_page(request, "orders.html", lambda: {"count": answer.wait(20)})

    with served([Section("Slow", "/", [Route("/", slow)], [templates])]) as console:
        shown = fetch(console)
        answer.set()
    assert "Loading" in shown


def fails():
    raise NotShown("The ledger is away", "Wait <a moment>.")


def fetch(console):
    answer = urllib3.request("GET", console.base, headers={"Cookie": f"{console.guard.cookie}={console.guard.token}"})
    return answer.data.decode()
