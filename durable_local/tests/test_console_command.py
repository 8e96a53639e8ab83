"""`durable-local console` as a person runs it, on a stack that ends and starts again."""

import re
import signal
import time

import pytest
from playwright.sync_api import expect


@pytest.fixture
def address(start):
    """Starts the console; its process, and the address that it printed."""

    def started(*arguments):
        process = start("console", *arguments)
        found = re.fullmatch(r"The console is at (http://127\.0\.0\.1:\d+/\?token=\S+)\n", process.stdout.readline())
        assert found
        return process, found[1]

    return started


def test_a_page_says_that_the_stack_has_gone_and_continues_when_it_is_back(run, address, browser):
    assert run("up").returncode == 0
    process, printed = address()
    page = browser.new_page()
    page.goto(printed)
    assert "token" not in page.url
    expect(page.get_by_text("No durable functions")).to_be_visible()
    run("down")
    expect(page.get_by_role("alert")).to_contain_text("No local stack runs")
    expect(page.get_by_role("heading", name="Executions")).to_be_visible()  # what was last read
    assert run("up").returncode == 0  # with other keys
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.get_by_text("No durable functions")).to_be_visible()

    interrupted = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 0
    assert time.monotonic() - interrupted < 3  # with the stream of the page open
    assert "Traceback" not in process.stdout.read()
    expect(page.get_by_text("The console does not answer")).to_be_visible()
    page.close()
