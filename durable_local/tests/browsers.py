"""The browser of the tests of consoles: fixtures for every folder of tests."""

import contextlib
import os
import shutil
import tempfile

import pytest
from playwright.sync_api import expect, sync_playwright

# Milliseconds in which a page shows what a busy machine has done.
expect.set_options(timeout=30_000)

# The first needs half of the CPU of a whole browser. The last is on some systems a script that only says how to install
# the browser.
BROWSERS = ("chromium-headless-shell", "chromium", "google-chrome", "chromium-browser")
BROWSER_ARGUMENTS = (
    "--disable-gpu",
    "--disable-quic",
    # Names under .example are this machine, and no other name exists: no test reaches the internet.
    "--host-resolver-rules=MAP *.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    # Chromium keeps some pages from sending requests to this machine. Other browsers do not, so no test may rely on it.
    "--disable-features=LocalNetworkAccessChecks",
    # A proxy of the developer's shell would get the requests for *.example.
    "--no-proxy-server",
)

# Of axe: the only rule whose answer depends on the theme.
ONLY_COLORS = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}


def browser_program():
    """The path of the browser: CHROMIUM, else the first of BROWSERS on PATH.

    Without one, the test that asks fails in CI and is skipped elsewhere.
    """
    names = (os.environ["CHROMIUM"],) if os.environ.get("CHROMIUM") else BROWSERS
    if path := next(filter(None, map(shutil.which, names)), None):
        return path
    missing = pytest.fail if "CI" in os.environ else pytest.skip
    raise missing.Exception(f"no browser: {', '.join(names)} not found; CHROMIUM=path names a Chromium or Chrome")


@pytest.fixture
def find_browser():
    return browser_program


@contextlib.contextmanager
def started_browser():
    """A Chromium with an empty profile, driven by Playwright, for the length of a `with` block."""
    executable = browser_program()
    # Chromium writes crash reports and caches under HOME, beside its profile.
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=executable, args=BROWSER_ARGUMENTS, env={**os.environ, "HOME": home}
        )
        yield running
        running.close()


@pytest.fixture(scope="module")
def browser():
    """`started_browser`. Not for the whole session: until it ends, `asyncio.run` fails in this thread."""
    with started_browser() as running:
        yield running


def button(page, name):
    """The button with exactly this name."""
    return page.get_by_role("button", name=name, exact=True)


def is_same_page(page):
    """Whether nothing has loaded the page again since a test set `loadedOnce`."""
    return page.evaluate("window.loadedOnce === true")


def tab_to(page, text, presses=120):
    """Presses Tab, at most so many times, until the focus is on the element with this text or label."""
    focused = "document.activeElement.ariaLabel || document.activeElement.innerText || document.activeElement.name"
    passed = []
    for _ in range(presses):
        page.keyboard.press("Tab")
        passed.append(page.evaluate(focused).strip())
        if passed[-1] == text:
            return
    pytest.fail(f"Tab does not reach {text!r}, only {passed}")
