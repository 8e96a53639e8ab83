"""The console in a real browser, on a real stack: what a person sees and does."""

import json
import re
import uuid
from types import SimpleNamespace
from urllib.parse import quote, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsers import ONLY_COLORS, button, is_same_page, tab_to
from console_server import served
from playwright.sync_api import expect

from durable_local.console import AwsAccount, StackOnThisMachine, executions_section

HOSTILE = "<img id=injected src=x onerror=alert(1)><script id=injected></script>\"'"
POLL_SECONDS = 0.2


@pytest.fixture(scope="module")
def recorded():
    """The actions that the console recorded."""
    return []


@pytest.fixture(scope="module")
def source(stack):
    return StackOnThisMachine(stack.settings)


@pytest.fixture(scope="module")
def console(source, recorded):
    section = executions_section(source, record=lambda *what: recorded.append(what))
    with served([section], poll_seconds=POLL_SECONDS) as running:
        yield running


@pytest.fixture
def open_tab(browser, console):
    """Opens tabs of a browser profile that has opened the printed address; they use nothing but 127.0.0.1."""
    hosts, errors, contexts = set(), [], []

    def opened(path="/executions", at=console, **options):
        if not contexts or options:
            contexts.append(browser.new_context(**options))
            contexts[-1].on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
            contexts[-1].on("weberror", lambda error: errors.append(str(error.error)))
            contexts[-1].on(
                "console", lambda said: errors.append(said.text) if "Security Policy" in said.text else None
            )
        page = contexts[-1].new_page()
        page.goto(at.guard.address)
        page.goto(at.base + path)
        page.evaluate("window.loadedOnce = true")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert {host.partition(":")[0] for host in hosts} == {"127.0.0.1"}
    assert errors == []


@pytest.fixture
def start(aws_lambda, stack):
    """Starts an execution; its name, ARN and the address of its page."""

    def started(function="Durable", name=None, **payload):
        name = name or f"n-{uuid.uuid4().hex[:12]}"
        arn = aws_lambda.invoke(
            FunctionName=stack.outputs[function],
            InvocationType="Event",
            Payload=json.dumps(payload).encode(),
            DurableExecutionName=name,
        )["DurableExecutionArn"]
        return SimpleNamespace(name=name, arn=arn, path=f"/executions/one?arn={quote(arn, safe='')}")

    return started


@pytest.fixture
def get(aws_lambda):
    return lambda execution: aws_lambda.get_durable_execution(DurableExecutionArn=execution.arn)


def test_a_new_execution_appears_in_the_list_without_a_reload(open_tab, start):
    prefix = f"live-{uuid.uuid4().hex[:8]}"
    page = open_tab(f"/executions?prefix={prefix}")
    expect(page.get_by_text("No executions")).to_be_visible()
    page.get_by_label("Name begins with").fill("typed meanwhile")
    execution = start(name=f"{prefix}-1")
    row = page.get_by_role("row").filter(has_text=execution.name)
    expect(row).to_contain_text("succeeded")
    assert is_same_page(page)
    expect(page.get_by_label("Name begins with")).to_have_value("typed meanwhile")
    expect(page.get_by_label("Name begins with")).to_be_focused()


def test_the_filter_is_in_the_address(open_tab, start, end, stack):
    prefix = f"filter-{uuid.uuid4().hex[:8]}"
    good, bad = start(name=f"{prefix}-good"), start(name=f"{prefix}-bad", fail=True)
    end(good.arn), end(bad.arn)
    page = open_tab()
    page.get_by_label("Function").select_option(stack.outputs["DurableName"])
    page.get_by_label("Status").select_option("FAILED")
    page.get_by_label("Name begins with").fill(prefix)
    page.get_by_label("Started after").fill("2020-01-01T00:00")
    button(page, "Show").click()
    expect(page.get_by_role("row")).to_have_count(2)
    expect(page.get_by_role("link", name=bad.name)).to_be_visible()
    address = page.url
    assert "status=FAILED" in address
    assert re.search(r"after=2020-01-01T00%3A00%3A00\.000Z|after=20(19|20)-", address)
    page.goto(address)  # as another person who got the link
    expect(page.get_by_label("Status")).to_have_value("FAILED")
    expect(page.get_by_role("row")).to_have_count(2)
    page.get_by_label("Started after").fill("2999-01-01T00:00")
    button(page, "Show").click()
    expect(page.get_by_text("No executions")).to_be_visible()


def test_the_list_has_as_many_pages_as_it_needs(open_tab, start, stack, monkeypatch):
    from durable_local.console.sections import executions

    monkeypatch.setattr(executions, "PAGE_SIZE", 3)
    names = [start("Trouble").name for _ in range(7)]
    page = open_tab(f"/executions?function={stack.physical_name('Trouble')}")
    seen = []
    while True:
        seen += page.get_by_role("rowheader").all_inner_texts()
        if not page.get_by_role("link", name="Older").count():
            break
        page.get_by_role("link", name="Older").click()
        page.wait_for_load_state()
    assert len(seen) == len(set(seen))
    assert set(names) <= set(seen)


def test_one_execution_shows_its_operations_with_input_and_output(open_tab, start, end, stack):
    execution = start(invoke=stack.outputs["Plain"], **{"with": {"question": 42}})
    end(execution.arn)
    page = open_tab(execution.path)
    expect(page.get_by_role("heading", name=execution.name)).to_be_visible()
    page.locator("summary.row", has_text="invoke").last.click()
    expect(page.get_by_role("region", name="input of invoke")).to_contain_text('"question": 42')
    expect(page.get_by_role("region", name="output of invoke")).to_contain_text("echo")
    expect(page.get_by_role("region", name="result")).to_contain_text("answer")
    page.get_by_text("As a table").click()
    table = page.get_by_role("region", name="Timeline as a table")
    assert table.get_by_role("rowheader").all_inner_texts() == ["execution", "invocations", "first", "invoke"]
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy command").last.click()
    assert page.evaluate("navigator.clipboard.readText()") == f"durable-local executions '{execution.arn}'".replace(
        "'", "" if "$" not in execution.arn else "'"
    )


def test_a_failure_comes_first_with_its_reason(open_tab, start, end):
    execution = start(fail=True)
    end(execution.arn)
    page = open_tab(execution.path)
    expect(page.get_by_role("region", name="Why it ended")).to_contain_text("as it was told")


def test_a_wait_says_when_it_resumes(open_tab, start, aws_lambda):
    execution = start("Long", wait=100_860)
    page = open_tab(execution.path)
    expect(page.locator(".row", has_text="wait")).to_contain_text("resumes in 1 d 4 h")
    aws_lambda.stop_durable_execution(DurableExecutionArn=execution.arn)


def test_a_callback_is_answered_and_the_page_shows_the_end(open_tab, start, end, recorded):
    execution = start(callback=100)
    page = open_tab(execution.path)
    button(page, "Send success…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("This cannot be undone.")
    dialog.get_by_label("Result").fill('{"approved": true}')
    button(dialog, "Send success").click()
    expect(dialog).to_contain_text("The result was sent.")
    button(dialog, "Close").click()
    expect(page.get_by_role("region", name="result")).to_contain_text("approved")
    assert is_same_page(page)
    assert json.loads(json.loads(end(execution.arn)["Result"])["answer"]) == {"approved": True}
    assert ("Send success", execution.arn) in {what[:2] for what in recorded}


def test_a_callback_gets_a_heartbeat_and_then_a_failure(open_tab, start, end):
    execution = start(callback=100, heartbeat=60)
    page = open_tab(execution.path)
    dialog = page.get_by_role("dialog")
    button(page, "Send heartbeat…").click()
    button(dialog, "Send heartbeat").click()
    expect(dialog).to_contain_text("The heartbeat was sent. The execution is now RUNNING.")
    button(dialog, "Close").click()
    button(page, "Send failure…").click()
    dialog.get_by_label("Error message").fill("said the approver")
    button(dialog, "Send failure").click()
    expect(dialog).to_contain_text("The failure was sent.")
    assert end(execution.arn)["Error"]["ErrorMessage"] == "said the approver"


def test_an_action_that_lambda_refuses_says_why(open_tab, start, aws_lambda, recorded):
    execution = start(callback=100)
    page = open_tab(execution.path)
    button(page, "Send success…").click()
    aws_lambda.stop_durable_execution(DurableExecutionArn=execution.arn)
    dialog = page.get_by_role("dialog")
    button(dialog, "Send success").click()
    expect(dialog.get_by_role("alert")).to_contain_text("expired or has already been completed")
    assert "expired" in recorded[-1][2]


CLOSE_AT_ONCE = """
    button => new Promise(swapped => {
        const question = document.getElementById("question");
        new MutationObserver(() => question.close()).observe(question, {childList: true, subtree: true});
        document.addEventListener("htmx:finally:swap", ({detail}) => {
            if (question.contains(detail.ctx.target)) swapped(question.open);
        });
        button.click();
    })
"""
"""Closes a question when its text is in the page, before htmx says so. Returns whether it is open at the end."""


def test_a_question_that_is_closed_as_soon_as_it_shows_stays_closed(open_tab, start):
    page = open_tab(start(callback=100).path)
    assert button(page, "Send success…").evaluate(CLOSE_AT_ONCE) is False


def test_pause_resume_and_stop_by_keyboard_alone(open_tab, start, get, eventually):
    execution = start(wait=100)
    page = open_tab(f"/executions?prefix={execution.name}")
    expect(page.get_by_role("link", name=execution.name)).to_be_visible()
    tab_to(page, execution.name, presses=80)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=execution.name)).to_be_visible()
    page.evaluate("window.loadedOnce = true")
    dialog = page.get_by_role("dialog")

    def act(name, status, *, reason=None):
        expect(button(page, f"{name}…")).to_be_visible()
        tab_to(page, f"{name}…", presses=80)
        page.keyboard.press("Enter")
        expect(dialog).to_be_visible()
        expect(button(dialog, "Back")).to_be_focused()
        if reason:
            tab_to(page, "reason", presses=80)
            page.keyboard.type(reason)
        tab_to(page, name, presses=80)
        page.keyboard.press("Enter")
        expect(button(dialog, "Close")).to_be_focused()
        eventually(lambda: get(execution)["Status"] == status)
        page.keyboard.press("Enter")
        expect(dialog).to_be_hidden()

    act("Pause", "PAUSED", reason="to look")
    expect(page.get_by_text(": to look")).to_be_visible()
    act("Resume", "RUNNING")
    tab_to(page, "Stop…", presses=80)
    page.keyboard.press("Enter")
    expect(button(dialog, "Stop")).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert get(execution)["Status"] == "RUNNING"  # asked, and not done
    act("Stop", "STOPPED")
    expect(page.locator(".heading .status")).to_have_text(re.compile("stopped"))
    assert is_same_page(page)


def test_an_open_row_and_the_focus_stay_through_an_update(open_tab, start, aws_lambda):
    execution = start(callback=100)
    page = open_tab(execution.path)
    button(page, "Send success…").wait_for()
    row = page.locator("summary.row", has_text="first")
    row.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="output of first")).to_be_visible()
    aws_lambda.stop_durable_execution(DurableExecutionArn=execution.arn)
    expect(page.locator(".heading .status")).to_have_text(re.compile("stopped"))
    expect(page.get_by_role("region", name="output of first")).to_be_visible()
    expect(row).to_be_focused()


def test_two_tabs_are_one_watch_and_hidden_tabs_rest(open_tab, console, eventually):
    path = f"/executions?prefix=nothing-{uuid.uuid4().hex[:8]}"
    tabs = [open_tab(path), open_tab(path)]
    eventually(lambda: console.poller.watched == {path: 2})
    for hidden, watchers in ((tabs[0], {path: 1}), (tabs[1], {})):
        # A headless browser hides no tab.
        hidden.evaluate("""Object.defineProperty(document, "hidden", {configurable: true, value: true});
            document.dispatchEvent(new Event("visibilitychange"))""")
        eventually(lambda watchers=watchers: console.poller.watched == watchers)
    tabs[0].evaluate("""delete document.hidden; document.dispatchEvent(new Event("visibilitychange"))""")
    eventually(lambda: console.poller.watched == {path: 1})


def test_hostile_text_is_shown_and_never_run(open_tab, start, eventually, get):
    execution = start(wait=100, text=HOSTILE)
    page = open_tab(execution.path)
    button(page, "Stop…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Error type").fill(HOSTILE)
    dialog.get_by_label("Reason").fill(HOSTILE)
    button(dialog, "Stop").click()
    expect(dialog).to_contain_text("was stopped")
    button(dialog, "Close").click()
    expect(page.get_by_role("region", name="Why it ended")).to_contain_text(f"{HOSTILE}: {HOSTILE}")
    expect(page.get_by_role("region", name="input", exact=True)).to_contain_text("<img id=injected")
    assert page.locator("#injected").count() == 0
    for field in ("prefix", "function", "status", "marker", "after"):
        page.goto(f"{page.url.split('/executions')[0]}/executions?{field}={quote(HOSTILE)}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert page.locator("#injected").count() == 0


def test_an_execution_that_does_not_exist_is_said_so(open_tab, start):
    page = open_tab(f"{start().path}x")
    expect(page.get_by_role("heading", name="Not found")).to_be_visible()


def test_without_credentials_the_page_says_what_to_do(open_tab, monkeypatch, tmp_path):
    for variable in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(variable, str(tmp_path / "none"))
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(variable, raising=False)
    with served([executions_section(AwsAccount())]) as console:
        page = open_tab(at=console)
        expect(page.get_by_role("heading", name="No credentials or no region")).to_be_visible()
        expect(page.get_by_text("Start the console with --profile")).to_be_visible()
        page.close()


def test_the_stacks_api_is_read_as_an_account_too(open_tab, stack, start, end, monkeypatch):
    """With the credentials and the endpoint that a person gives; a stack is the account that tests have."""
    for name, value in stack.credentials.environment.items():
        monkeypatch.setenv(name, value)
    execution = start(name=f"account-{uuid.uuid4().hex[:8]}")
    end(execution.arn)
    account = AwsAccount(region="eu-central-2", endpoint_url=stack.endpoint, poll_seconds=POLL_SECONDS)
    with served([executions_section(account, stack="fixture")]) as console:
        page = open_tab(execution.path, at=console)
        expect(page.locator(".heading .status")).to_have_text(re.compile("succeeded"))
        expect(page.locator("code", has_text="aws --region eu-central-2 --endpoint-url")).to_be_visible()
        page.goto(f"{console.base}/executions?prefix={execution.name}")
        expect(page.get_by_role("link", name=execution.name)).to_be_visible()
        page.close()


def test_a_read_only_console_shows_all_and_offers_no_action(open_tab, source, start):
    execution = start(callback=100)
    with served([executions_section(source)], read_only=True, poll_seconds=POLL_SECONDS) as console:
        page = open_tab(execution.path, at=console)
        expect(page.get_by_text("Waits for a callback")).to_be_visible()
        expect(page.get_by_text("Read-only")).to_be_visible()
        assert page.get_by_role("button", name="…").count() == 0
        page.close()


def test_a_console_that_was_started_again_says_so_in_an_old_tab(open_tab, source):
    with served([executions_section(source)], token="first") as console:
        page = open_tab(at=console)
        port = int(console.guard.host.rpartition(":")[2])
        expect(page.get_by_role("heading", name="Executions")).to_be_visible()
    expect(page.get_by_text("The console does not answer")).to_be_visible()
    with served([executions_section(source)], token="second", port=port) as console:
        expect(page.get_by_text("The console was started again")).to_be_visible()
        page.close()


@pytest.mark.parametrize(("theme", "options"), [("light", {}), ("dark", ONLY_COLORS)])
def test_axe_finds_no_violation(open_tab, start, aws_lambda, theme, options):
    calls_back, failed, waits = start(callback=100), start(fail=True), start(wait=100)
    axe = Axe()

    def check(page):
        found = axe.run(page, options={"resultTypes": ["violations"], **options})
        assert found.violations_count == 0, found.generate_report()

    page = open_tab(color_scheme=theme, viewport={"width": 375, "height": 800}, reduced_motion="reduce")
    expect(page.get_by_role("link", name=failed.name)).to_be_visible()
    check(page)
    for execution, text in ((failed, "as it was told"), (waits, "resumes in"), (calls_back, "Waits for a callback")):
        page.goto(f"{page.url.split('/executions')[0]}{execution.path}")
        expect(page.get_by_text(text).first).to_be_visible()
        page.evaluate("document.querySelectorAll('main details').forEach((each) => { each.open = true; })")
        check(page)
        page.set_viewport_size({"width": 1280, "height": 800})
    button(page, "Send success…").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    check(page)
    page.goto(f"{page.url}x")
    expect(page.get_by_role("heading", name="Not found")).to_be_visible()
    check(page)
    for execution in (calls_back, waits):
        aws_lambda.stop_durable_execution(DurableExecutionArn=execution.arn)


@pytest.mark.parametrize("width", [375, 1280])
def test_no_page_is_wider_than_the_window(open_tab, start, end, width):
    execution = start(text="x" * 500, fail=True)
    end(execution.arn)
    page = open_tab(viewport={"width": width, "height": 800})
    for path in ("/executions", execution.path):
        page.goto(f"{page.url.split('/executions')[0]}{path}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_times_are_in_the_viewers_zone_with_utc_on_hover(open_tab, start, end):
    execution = start()
    started = end(execution.arn)["StartTimestamp"]
    page = open_tab(execution.path, timezone_id="Asia/Kolkata")
    shown = page.locator(".facts time").first
    expect(shown).to_have_attribute("title", f"{started:%Y-%m-%d %H:%M:%S} UTC")
    local = page.evaluate("(t) => new Date(t).toLocaleString('sv-SE', {timeZone: 'Asia/Kolkata'})", started.isoformat())
    expect(shown).to_have_text(local)
