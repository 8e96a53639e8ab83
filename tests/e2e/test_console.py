"""`orders console` in a real browser and over plain HTTP, on the deployed pipeline: what a person sees and does."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections import defaultdict
from types import SimpleNamespace
from unittest.mock import Mock
from urllib.parse import quote, urlencode, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from botocore.exceptions import ClientError
from browsers import ONLY_COLORS, button, is_same_page, tab_to
from console_server import serving
from playwright.sync_api import expect

from durable_local import processes
from durable_local.faults import Fail, Rule
from shared.ledger.entry import marshalled, unmarshalled
from shared.ledger.states import State
from tests.e2e.deployed_pipeline import new_id, states
from tools.console import background
from tools.console.app import app
from tools.console.desk import Desk
from tools.operations.queues import Queue
from tools.orders_cli.connection import Connection
from tools.pipeline import ROOT

HOSTILE = "<img id=injected src=x onerror=alert(1)><script id=injected></script>\"'"
ITEM = {"sku": "CD-7", "quantity": 2, "unitPrice": "13.99"}
WITH_A_WIDE_TABLE = """
    const card = document.querySelector(".columns > *") ?? document.querySelector("main");
    const cell = `<td>${"x".repeat(200)}</td>`;
    card.insertAdjacentHTML("beforeend", `<div class="scrolls"><table><tbody><tr>${cell}</tr></tbody></table></div>`);
    document.documentElement.scrollWidth
"""
"""The page's width with a table as of stuck orders, of which there are none in most runs."""


@pytest.fixture(scope="module")
def desk(stack):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stack.environment.items():
            patch.setenv(name, value)
        yield Desk(Connection())


@pytest.fixture(scope="module")
def console(desk):
    with serving(lambda guard: app(desk, guard)) as running:
        yield running


@pytest.fixture(scope="module")
def tab(browser, console):
    """Opens pages in a profile that has opened the printed address. They use only 127.0.0.1 and run no foreign code."""
    hosts, errors = set(), []
    context = browser.new_context(timezone_id="Europe/Zurich")
    context.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
    context.on("weberror", lambda error: errors.append(str(error.error)))
    context.on("console", lambda said: errors.append(said.text) if "Security Policy" in said.text else None)
    page = context.new_page()
    page.goto(console.guard.address)

    def opened(path):
        page.goto(console.base + path)
        page.evaluate("window.loadedOnce = true")
        return page

    yield opened
    context.close()
    assert hosts == {"127.0.0.1"}
    assert errors == []


@pytest.fixture(scope="module")
def http_of(console, pipeline):
    """Requests as the console's own pages make them. A page that still reads is asked for again."""

    def request(method, path, at=console, **form):
        def look():
            found = once(method, path, at, form)
            return None if "The answer takes a moment." in found.text else found

        return pipeline.until(look, path)

    def once(method, path, at, form):
        connection = http.client.HTTPConnection(at.guard.host, timeout=60)
        headers = {"Cookie": f"{at.guard.cookie}={at.guard.token}", "Sec-Fetch-Site": "same-origin"}
        connection.request(method, path, urlencode(form, doseq=True) if form else None, headers)
        answer = connection.getresponse()
        found = SimpleNamespace(status=answer.status, headers=answer.headers, text=answer.read().decode())
        connection.close()
        return found

    return request


@pytest.fixture(scope="module")
def waiting(pipeline):
    """Sends an order and pauses it in its wait, so that it stays there. Returns its id."""

    def sent(**fields):
        order_id = new_id("WEB")
        pipeline.send([json.dumps({"orderId": order_id, "items": [ITEM], "currency": "USD", **fields})])
        entry = pipeline.entry_when(order_id, lambda entry: entry.state is State.WAITING, "to wait")
        pipeline.functions.pause_durable_execution(DurableExecutionArn=entry.execution_arn, Reason="orders:test")
        return order_id

    return sent


@pytest.fixture(scope="module")
def stopped(pipeline, waiting):
    """An order that was stopped in its wait. Returns its id."""

    def sent(error="Recall", message="the product was recalled", **fields):
        order_id = waiting(**fields)
        pipeline.functions.stop_durable_execution(
            DurableExecutionArn=pipeline.ledger.get(order_id).execution_arn,
            Error={"ErrorType": error, "ErrorMessage": message},
        )
        assert pipeline.ended(order_id).state is State.STOPPED
        return order_id

    return sent


@pytest.fixture(scope="module")
def log(pipeline):
    """What the operations log says about an order or a job: actions and results, oldest first."""

    def read(what):
        found = pipeline.dynamodb.query(
            TableName=pipeline.outputs["OperationsTableName"],
            KeyConditionExpression="pk = :log",
            ExpressionAttributeValues=marshalled({":log": "LOG"}),
            ConsistentRead=True,
        )["Items"]
        lines = map(unmarshalled, found)
        return [(line["action"], line["result"]) for line in lines if line["what"].startswith(what)]

    return read


def order_page(order_id):
    return f"/orders/one?id={order_id}"


def dialog(page):
    return page.get_by_role("dialog")


# ── overview ──


def test_the_overview_counts_what_waits_and_what_has_ended(tab, pipeline, waiting):
    waiting()
    done = new_id("WEB")
    pipeline.send([json.dumps({"orderId": done})])
    assert pipeline.ended(done).state is State.COMPLETED
    page = tab("/")
    station = page.locator(".station").filter(has_text="Waiting")
    expect(station.locator(".station-number")).not_to_have_text("0")
    completed = page.locator(".station").filter(has_text="Completed").locator(".station-number")
    expect(completed).to_have_text(re.compile(r"[1-9]"))
    expect(page.get_by_text("Start to end, p50")).to_be_visible()
    expect(page.locator("dd.big").nth(3)).to_have_text(re.compile(r"\d s$"))
    expect(page.get_by_text("None. Every order moves or waits as it should.")).to_be_visible()
    assert is_same_page(page)


def test_intake_is_paused_and_resumed_by_keyboard_and_the_log_says_so(tab, pipeline, log):
    page = tab("/")
    expect(page.get_by_text("intake runs")).to_be_visible()
    try:
        tab_to(page, "Pause intake…")
        page.keyboard.press("Enter")
        expect(dialog(page)).to_contain_text("No message leaves the orders queue")
        tab_to(page, "Pause intake")
        page.keyboard.press("Enter")
        expect(dialog(page)).to_contain_text("Intake is being paused")
        page.keyboard.press("Escape")
        expect(page.get_by_text("intake disabled")).to_be_visible()
        tab_to(page, "Resume intake…")
        page.keyboard.press("Enter")
        tab_to(page, "Resume intake")
        page.keyboard.press("Enter")
        expect(dialog(page)).to_contain_text("Intake is resumed")
        page.keyboard.press("Escape")
        expect(page.get_by_text("intake runs")).to_be_visible()
    finally:
        Connection(endpoint_url=pipeline.stack.endpoint).intake.resume()
    pipeline.until(lambda: {("pause", "is paused"), ("resume", "is resumed")} <= set(log("intake")), "the log")


# ── orders ──


def test_a_new_order_appears_in_the_list_and_the_filter_stays_typed(tab, pipeline):
    prefix = new_id("LIVE")
    page = tab(f"/orders?id={prefix}")
    expect(page.get_by_text("No order matches")).to_be_visible()
    page.get_by_label("Customer").fill("typed meanwhile")
    pipeline.send([json.dumps({"orderId": f"{prefix}-1"})])
    expect(page.get_by_role("row").filter(has_text=f"{prefix}-1")).to_contain_text("completed")
    assert is_same_page(page)
    expect(page.get_by_label("Customer")).to_have_value("typed meanwhile")
    expect(page.get_by_label("Customer")).to_be_focused()


def test_the_filter_is_in_the_address_and_a_view_is_a_link(tab, stopped):
    customer = new_id("CUST")
    order_id = stopped(customerId=customer)
    page = tab("/orders")
    page.get_by_label("stopped", exact=True).check()
    page.get_by_label("Customer").fill(customer)
    page.get_by_label("Error type").fill("Recall")
    page.get_by_label("Changed in the last").fill("2h")
    button(page, "Show").click()
    expect(page.get_by_role("row")).to_have_count(2)
    expect(page.get_by_role("link", name=order_id)).to_be_visible()
    assert urlsplit(page.url).query == f"state=STOPPED&customer={customer}&error=Recall&since=2h"
    page.get_by_label("Name of this view").fill("My <b>recalls</b>")
    button(page, "Save view").click()
    page = tab("/orders")
    page.get_by_role("link", name="My <b>recalls</b>").click()
    expect(page.get_by_role("heading", name="My <b>recalls</b>")).to_be_visible()
    expect(page.get_by_role("row")).to_have_count(2)
    expect(page.get_by_label("stopped", exact=True)).to_be_checked()
    button(page, "Remove the view My <b>recalls</b>").click()
    expect(page.get_by_role("link", name="My <b>recalls</b>")).to_have_count(0)


def test_a_list_that_comes_late_has_its_views_and_its_choice(tab, stopped, monkeypatch):
    stopped()
    monkeypatch.setattr("durable_local.console.pages.LOADING_SECONDS", 0)
    page = tab("/orders")
    expect(button(page, "Save view")).to_be_visible()
    page.get_by_label("choose this page").check()
    expect(page.locator("#chosen-count")).to_have_text(re.compile(r"^[1-9]\d* chosen"))


def test_a_wrong_age_is_named_at_its_field(http_of):
    shown = http_of("GET", "/orders?since=yesterday").text
    assert 'aria-invalid="true" aria-describedby="since-mistake"' in shown
    assert "An age is a number and s, m, h or d, such as 2h." in shown


def test_chosen_orders_are_retried_as_a_job_by_keyboard_alone(tab, pipeline, stopped, log):
    customer = new_id("CUST")
    first, second = stopped(customerId=customer), stopped(customerId=customer)
    page = tab(f"/orders?customer={customer}")
    for order_id in (first, second):
        tab_to(page, f"Choose {order_id}") if order_id == first else page.get_by_label(f"Choose {order_id}").focus()
        page.keyboard.press("Space")
    expect(page.locator("#chosen-count")).to_have_text("2 chosen")
    button(page, "Retry…").focus()
    page.keyboard.press("Enter")
    expect(dialog(page)).to_contain_text("Retry 2 orders")
    expect(dialog(page)).to_contain_text("stopped 2")
    assert [pipeline.ledger.get(order_id).attempt for order_id in (first, second)] == [1, 1]  # a dry run
    tab_to(page, "Retry 2 orders")
    page.keyboard.press("Enter")
    expect(page.locator(".heading")).to_contain_text("ended")
    expect(page.locator("#job-done")).to_have_text("2")
    handle = urlsplit(page.url).query.removeprefix("handle=")
    assert [pipeline.ended(order_id, 2).attempt for order_id in (first, second)] == [2, 2]
    assert log(f"job {handle}") == [("retry", "2 orders selected"), ("retry", "ENDED: 2 done, 0 refused, 0 left")]


def test_a_choice_stays_while_the_list_changes(tab, pipeline, stopped):
    customer = new_id("CUST")
    order_id = stopped(customerId=customer)
    page = tab(f"/orders?customer={customer}")
    page.get_by_label(f"Choose {order_id}").check()
    pipeline.send([json.dumps({"orderId": (other := new_id("WEB")), "customerId": customer})])
    expect(page.get_by_role("link", name=other)).to_be_visible()
    expect(page.get_by_label(f"Choose {order_id}")).to_be_checked()
    expect(page.locator("#chosen-count")).to_have_text("1 chosen")


def as_job(http_of, pipeline, action, expected, **chosen):
    """Ask for a job, start it, and wait for its end. Returns the question's text and the page of the job."""
    question = http_of("GET", f"/orders/bulk?{urlencode({'action': action, **chosen}, doseq=True)}").text
    answer = http_of("POST", "/orders/bulk", action=action, expected=expected, **chosen)
    address = answer.headers["HX-Redirect"]

    def ended():
        shown = http_of("GET", address).text
        return shown if "status-ended" in shown else None

    return question, pipeline.until(ended, "the job to end")


def test_orders_are_paused_and_resumed_as_jobs(http_of, pipeline):
    order_id = new_id("WEB")
    with pipeline.without_finalize():
        pipeline.send([json.dumps({"orderId": order_id})])
        arn = pipeline.entry_when(order_id, lambda entry: entry.state is State.WAITING, "to wait").execution_arn
        _, shown = as_job(http_of, pipeline, "pause", 1, scope="chosen", order=[order_id])
        assert "is paused" in shown
        paused = pipeline.functions.get_durable_execution(DurableExecutionArn=arn)
        assert paused["Status"] in {"PAUSING", "PAUSED"}
        assert re.fullmatch(r"orders:\d+T\d+Z-[0-9a-f]{6}", paused["PauseDetails"]["Reason"])
        _, shown = as_job(http_of, pipeline, "resume", 1, scope="chosen", order=[order_id])
        assert "is resumed" in shown
    assert pipeline.ended(order_id).state is State.COMPLETED


def test_chosen_orders_are_retried_from_finalize_as_a_job(http_of, pipeline, stopped):
    order_id = stopped()
    assert "Retry from finalize…" in http_of("GET", f"/orders?id={order_id}").text
    chosen = {"scope": "chosen", "order": [order_id]}
    question, shown = as_job(http_of, pipeline, "retry --from finalize", 1, **chosen)
    assert "Retry 1 order from finalize" in question
    assert f"orders retry --from finalize {order_id}" in question
    assert "<h1>Retry 1 order from finalize</h1>" in shown
    entry = pipeline.ended(order_id, 2)
    assert (entry.state, entry.was_resumed) == (State.COMPLETED, True)


def test_all_that_match_are_cancelled_with_a_reason_and_others_are_left_out(http_of, pipeline, waiting, stopped):
    customer = new_id("CUST")
    order_ids = [waiting(customerId=customer) for _ in range(2)]
    stopped(customerId=customer)
    question, shown = as_job(
        http_of, pipeline, "cancel", 2, scope="all", customer=customer, reason="<i>customer called</i>"
    )
    assert "Cancel 2 orders?" in question
    assert "This cannot be undone." in question
    assert f"orders cancel --customer {customer}" in question
    assert "&lt;i&gt;customer called&lt;/i&gt;" in shown
    for order_id in order_ids:
        entry = pipeline.ledger.get(order_id)
        assert (entry.state, entry.history[-1].detail) == (State.CANCELLED, "<i>customer called</i>")


def test_a_dry_run_names_the_chosen_orders_that_are_left_out_and_why(http_of, stopped):
    order_id = stopped()
    shown = http_of("GET", f"/orders/bulk?action=cancel&order={order_id}&order=NO-SUCH-ORDER").text
    assert "Nothing would be done" in shown
    assert f"{order_id}: stopped" in shown
    assert "NO-SUCH-ORDER: not in the ledger" in shown
    assert 'type="submit"' not in shown


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("action=retry", "No order is chosen"),
        ("action=retry&scope=all", "A job cannot select these"),
        ("action=retry&scope=all&state=FAILED&unmoved=2h", "A job cannot select these"),
        ("action=forget&order=A", "There is no action forget."),
    ],
)
def test_a_dry_run_says_what_a_job_cannot_do(http_of, query, said):
    assert said in http_of("GET", f"/orders/bulk?{query}").text


def test_a_job_is_aborted_and_resumed_from_its_page(tab, desk, pipeline, stopped, log):
    """The job is written and nobody works on it, as after the console was ended."""
    order_id = stopped()
    connection = desk.connection
    job = connection.jobs.create("retry", connection.caller, "chosen one by one", {order_id: 1})
    page = tab(f"/orders/job?handle={job.handle}")
    expect(page.get_by_text("This console does not work on it.")).to_be_visible()
    button(page, "Abort…").click()
    expect(dialog(page)).to_contain_text("What was done stays done")
    button(page, "Abort the job").click()
    expect(dialog(page)).to_contain_text("No further action begins")
    button(page, "Close").click()
    expect(page.locator(".heading")).to_contain_text("aborted")
    assert pipeline.ledger.get(order_id).attempt == 1
    button(page, "Resume…").click()
    button(page, "Resume the job").click()
    button(page, "Close").click()
    expect(page.locator(".heading")).to_contain_text("ended")
    assert pipeline.ended(order_id, 2).attempt == 2
    assert [action for action, _ in log(f"job {job.handle}")] == ["abort", "resume", "retry"]


def test_a_job_is_refused_when_more_orders_match_than_were_shown(http_of, stopped):
    customer = new_id("CUST")
    stopped(customerId=customer)
    answer = http_of("POST", "/orders/bulk", action="retry", expected=0, scope="all", customer=customer)
    assert "Nothing was done" in answer.text
    assert "1 orders match now, more than the 0 that you saw" in answer.text


# ── one order ──


def test_a_stopped_order_says_why_and_is_retried_and_completes_by_keyboard_alone(tab, stopped, log):
    order_id = stopped()
    page = tab(f"/orders?id={order_id}")
    expect(page.get_by_role("link", name=order_id)).to_be_visible()
    tab_to(page, order_id)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=order_id)).to_be_visible()
    page.evaluate("window.loadedOnce = true")
    why = page.get_by_role("region", name="Why")
    expect(why).to_contain_text("Recall: the product was recalled")
    expect(why).to_contain_text(f"orders retry {order_id}")
    assert page.locator("main section").first.get_attribute("aria-label") == "Why"
    tab_to(page, "Retry…")
    page.keyboard.press("Enter")
    expect(dialog(page)).to_contain_text("from the start, with the recorded order")
    tab_to(page, "Retry")
    page.keyboard.press("Enter")
    expect(dialog(page)).to_contain_text("Retry: done")
    expect(dialog(page)).to_contain_text("attempt 2")
    page.keyboard.press("Escape")
    expect(button(page, "Retry…")).to_have_count(0)
    expect(page.locator(".heading")).to_contain_text("completed")
    expect(page.get_by_role("heading", name="Attempts side by side")).to_be_visible()
    assert is_same_page(page)
    ((action, result),) = log(order_id)
    assert action == "retry"
    assert result.startswith("attempt 2, executionArn arn:")
    tab_to(page, "2")
    page.keyboard.press("Enter")
    expect(page.locator(".timeline .row-text").first).to_have_text("ledger")


def test_a_second_click_on_retry_starts_no_third_attempt(http_of, pipeline, stopped):
    order_id = stopped()
    form = {"action": "retry", "id": order_id, "attempt": 1}
    assert "attempt 2" in http_of("POST", "/orders/act", **form).text
    pipeline.entry_when(order_id, lambda entry: entry.attempt == 2, "to begin again")
    arn = pipeline.ledger.get(order_id).execution_arn
    pipeline.functions.stop_durable_execution(DurableExecutionArn=arn)
    pipeline.entry_when(order_id, lambda entry: entry.state is not State.WAITING and entry.attempt == 2, "to move")
    assert "attempt 2" in http_of("POST", "/orders/act", **form).text
    assert pipeline.ledger.get(order_id).attempt == 2


def test_a_retry_from_finalize_runs_only_finalize(http_of, pipeline, stopped):
    order_id = stopped()
    answer = http_of("POST", "/orders/act", action="finalize", id=order_id, attempt=1)
    assert "beginsWith finalize" in answer.text
    entry = pipeline.entry_when(order_id, lambda entry: entry.state is State.COMPLETED, "to complete")
    assert entry.was_resumed


def test_an_edited_order_is_checked_shown_and_then_retried(tab, pipeline, stopped, log):
    order_id = stopped()
    page = tab(order_page(order_id))
    button(page, "Edit and retry…").click()
    editor = dialog(page).get_by_label("Order")
    order = json.loads(editor.input_value())
    editor.fill(json.dumps(order | {"items": [ITEM | {"quantity": 0}]}))
    button(page, "Check").click()
    expect(dialog(page).get_by_role("alert")).to_contain_text("items.0.quantity")
    expect(editor).to_have_value(re.compile('"quantity": 0'))  # what was typed stays
    editor.fill(json.dumps(order | {"orderId": "ANOTHER"}))
    button(page, "Check").click()
    expect(dialog(page).get_by_role("alert")).to_contain_text(f"must stay {order_id}")
    editor.fill(json.dumps(order | {"items": [ITEM | {"quantity": 3}]}))
    button(page, "Check").click()
    expect(dialog(page).get_by_role("row").nth(1)).to_have_text(re.compile(r"items\[0\].quantity\s*2\s*3"))
    assert pipeline.ledger.get(order_id).attempt == 1
    button(page, "Start the attempt").click()
    expect(dialog(page)).to_contain_text("Retry: done")
    entry = pipeline.entry_when(order_id, lambda entry: entry.attempt == 2, "to begin again")
    assert entry.order["items"][0]["quantity"] == 3
    assert log(order_id)[-1][1].endswith("with an edited order")
    button(page, "Close").click()
    comparison = page.get_by_role("region", name="Attempts side by side")
    expect(comparison).to_contain_text("items[0].quantity")


def test_a_paused_order_says_so_and_is_cancelled_for_good_by_keyboard_alone(tab, pipeline, waiting, log):
    order_id = waiting()
    page = tab(order_page(order_id))
    expect(page.get_by_role("region", name="Why")).to_contain_text("Its execution is paused.")
    tab_to(page, "Cancel…")
    page.keyboard.press("Enter")
    expect(dialog(page)).to_contain_text("This cannot be undone.")
    tab_to(page, "reason")
    page.keyboard.type("customer called")
    tab_to(page, "Cancel the order")
    page.keyboard.press("Enter")
    expect(dialog(page)).to_contain_text("state CANCELLED")
    page.keyboard.press("Escape")
    expect(page.locator(".heading")).to_contain_text("cancelled")
    assert log(order_id) == [("cancel", "state CANCELLED")]
    entry = pipeline.ledger.get(order_id)
    assert (states(entry)[-1], entry.history[-1].detail) == ("CANCELLED", "customer called")


def test_a_refused_action_says_why_and_is_in_the_log(http_of, stopped, log):
    order_id = stopped()
    answer = http_of("POST", "/orders/act", action="cancel", id=order_id)
    assert "can no longer be cancelled" in answer.text
    ((action, result),) = log(order_id)
    assert (action, result.partition(":")[0]) == ("cancel", "IllegalTransition")


def test_an_action_without_permission_is_in_the_log_and_one_that_cannot_be_logged_says_so(
    http_of, stack, pipeline, waiting, log
):
    order_id = waiting()

    def act_without(service, operation, path, **form):
        refused = Fail(400, "AccessDeniedException", f"not authorized to perform: {service}:{operation}")
        rule = stack.faults.add(Rule(refused, service, operation))
        try:
            return http_of("POST", path, **form).text
        finally:
            stack.faults.release(rule)

    refused = act_without("lambda", "ResumeDurableExecution", "/orders/act", action="resume", id=order_id)
    assert "may not call ResumeDurableExecution" in refused
    ((action, result),) = log(order_id)
    assert (action, result.partition(".")[0]) == (
        "resume",
        "No permission: These credentials may not call ResumeDurableExecution",
    )
    arn = pipeline.ledger.get(waiting()).execution_arn
    answer = act_without("dynamodb", "PutItem", "/executions/act", action="resume", arn=arn)
    assert "The execution is now RUNNING. The operations log has no line about this. No permission" in answer
    resumed = act_without("dynamodb", "PutItem", "/orders/act", action="resume", id=order_id)
    assert f"{order_id}: is resumed. The operations log has no line about this. No permission" in resumed
    assert pipeline.ended(order_id).state is State.COMPLETED
    assert len(log(order_id)) == 1


def test_an_order_is_paused_resumed_and_stopped(http_of, pipeline, waiting, log):
    order_id = waiting()
    assert "is resumed" in http_of("POST", "/orders/act", action="resume", id=order_id).text
    other = new_id("WEB")
    with pipeline.without_finalize():
        pipeline.send([json.dumps({"orderId": other})])
        pipeline.entry_when(other, lambda entry: entry.state is State.WAITING, "to wait")
        assert "is paused" in http_of("POST", "/orders/act", action="pause", id=other).text
        answer = http_of("POST", "/orders/act", action="stop", id=other, reason="enough")
        assert "its execution is stopped" in answer.text
        entry = pipeline.ended(other)
    assert (entry.state, entry.error) == (State.STOPPED, {"type": "StoppedByOperator", "message": "enough"})
    assert [action for action, _ in log(other)] == ["pause", "stop"]
    assert pipeline.ended(order_id).state is State.COMPLETED


def test_a_waiting_order_says_when_it_resumes(tab, pipeline):
    order_id = new_id("WEB")
    pipeline.send([json.dumps({"orderId": order_id})])
    pipeline.entry_when(order_id, lambda entry: entry.state is State.WAITING, "to wait")
    page = tab(order_page(order_id))
    expect(page.locator("#live")).to_contain_text(re.compile(r"resumes in \d|It ended|completed"))
    expect(page.locator(".heading")).to_contain_text("completed")
    execution = page.get_by_role("link", name="in the console")
    execution.click()
    expect(page.get_by_role("heading", name=re.compile(order_id))).to_be_visible()


def test_an_unknown_order_says_where_it_was_looked_for(http_of):
    shown = http_of("GET", order_page("NO-SUCH-ORDER")).text
    assert "It never arrived." in shown
    assert "orders rejected" in shown
    assert "Not in the ledger" in shown


# ── failures ──


def test_failures_are_grouped_retried_as_a_group_and_marked_when_they_fail_again(tab, pipeline, stopped):
    customer, error = new_id("CUST"), f"Recall{new_id('')}"
    order_ids = [stopped(error, customerId=customer) for _ in range(2)]
    page = tab(f"/failures?customer={customer}&since=1h")
    row = page.get_by_role("row").filter(has_text=error)
    expect(row.locator(".number")).to_have_text(re.compile("^2"))
    expect(row).not_to_contain_text("failed again")
    with pipeline.without_finalize():
        row.get_by_role("button", name="Retry…").click()
        button(page, "Retry 2 orders").click()
        expect(page.locator(".heading")).to_contain_text("ended")
        for order_id in order_ids:
            entry = pipeline.entry_when(order_id, lambda entry: entry.attempt == 2, "to begin again")
            pipeline.functions.stop_durable_execution(
                DurableExecutionArn=entry.execution_arn, Error={"ErrorType": error, "ErrorMessage": "again"}
            )
            assert pipeline.ended(order_id, 2).state is State.STOPPED
    page = tab(f"/failures?customer={customer}&since=1h")
    expect(row).to_contain_text("2 failed again")
    row.get_by_role("link", name=error).click()
    expect(page.get_by_role("link", name=order_ids[0])).to_be_visible()


# ── rejected and dead letters ──


@pytest.fixture
def queued(pipeline):
    """Puts a message into a queue, by the stack's output of it. Returns its id. Those that are left are deleted."""
    ids = defaultdict(list)

    def put(output, body, **attributes):
        texts = {name: {"DataType": "String", "StringValue": text} for name, text in attributes.items()}
        url = pipeline.outputs[output]
        sent = pipeline.sqs.send_message(QueueUrl=url, MessageBody=body, MessageAttributes=texts)
        ids[url].append(sent["MessageId"])
        return sent["MessageId"]

    yield put
    for url, put_here in ids.items():
        with Queue(pipeline.sqs, url).sample(1_000, put_here) as found:
            for each in found:
                if each.message_id in put_here:
                    pipeline.sqs.delete_message(QueueUrl=url, ReceiptHandle=each.message["ReceiptHandle"])


def depth_of(pipeline, output):
    found = pipeline.sqs.get_queue_attributes(
        QueueUrl=pipeline.outputs[output], AttributeNames=["ApproximateNumberOfMessages"]
    )
    return int(found["Attributes"]["ApproximateNumberOfMessages"])


def receive(pipeline, output):
    """All messages of a queue by their ids; they stay visible."""
    found = {}
    for _ in range(3):
        answer = pipeline.sqs.receive_message(
            QueueUrl=pipeline.outputs[output],
            MaxNumberOfMessages=10,
            VisibilityTimeout=0,
            MessageSystemAttributeNames=["All"],
        )
        for message in answer.get("Messages", []):
            found.setdefault(message["MessageId"], message)
    return found


def look(http_of, queue="rejected"):
    """Look at a queue, and return the page that shows the sample."""
    assert http_of("POST", "/rejected/look", queue=queue, limit=50).status == 204
    return http_of("GET", f"/rejected?queue={queue}").text


def test_a_rejected_order_says_where_its_mistake_is_and_is_sent_as_new_by_keyboard_alone(tab, pipeline, log):
    order_id = new_id("WEB")
    pipeline.send([json.dumps({"orderId": order_id, "items": [ITEM | {"quantity": 0}]})])
    pipeline.until(lambda: depth_of(pipeline, "RejectedOrdersQueueUrl"), "the reject")
    page = tab("/rejected")
    expect(page.get_by_text("Not looked yet")).to_be_visible()
    page.get_by_label("At most").select_option("50")
    tab_to(page, "Look")
    page.keyboard.press("Enter")
    row = page.get_by_role("row").filter(has_text=order_id)
    expect(row).to_contain_text("items.0.quantity")
    expect(page.locator(".look")).to_contain_text(re.compile(r"A sample of \d+, received"))
    row.get_by_role("link").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Why")).to_contain_text("should be a whole number from 1")
    expect(page.locator("mark")).to_have_text('"quantity": 0')
    message_id = urlsplit(page.url).query.rpartition("id=")[2]
    tab_to(page, "Edit and send as new…")
    page.keyboard.press("Enter")
    editor = dialog(page).get_by_label("Body")
    expect(editor).to_have_value(re.compile('"quantity": 0'))
    tab_to(page, "Check")
    page.keyboard.press("Enter")
    expect(dialog(page).get_by_role("alert")).to_contain_text("items.0.quantity")
    editor.fill(json.dumps({"orderId": order_id, "items": [ITEM]}))
    tab_to(page, "Check")
    page.keyboard.press("Enter")
    expect(dialog(page)).to_contain_text("This is a valid order.")
    assert pipeline.ledger.get(order_id) is None
    tab_to(page, "Send")
    page.keyboard.press("Enter")
    expect(dialog(page)).to_contain_text("Sent as new")
    ((action, result),) = log(f"message {message_id}")
    assert action == "resend"
    assert result.endswith("with an edited body")
    assert pipeline.ended(order_id).state is State.COMPLETED
    page.keyboard.press("Escape")
    expect(page.get_by_text("The message is not in the last look")).to_be_visible()


def test_a_page_that_is_open_never_receives_and_a_look_hides_nothing(tab, pipeline, queued):
    message_id = queued("RejectedOrdersQueueUrl", '{"orderId": "SEEN"}')
    page = tab("/rejected")
    count = page.get_by_role("link", name=re.compile("Rejected orders"))
    before = depth_of(pipeline, "RejectedOrdersQueueUrl")
    expect(count).to_contain_text(str(before))
    queued("RejectedOrdersQueueUrl", "second")
    expect(count).to_contain_text(str(before + 1))  # so the page has read the queue again
    received = receive(pipeline, "RejectedOrdersQueueUrl")
    assert received[message_id]["Attributes"]["ApproximateReceiveCount"] == "1"
    button(page, re.compile("^Look")).click()
    expect(page.locator(f"#message-{message_id}")).to_contain_text("2")
    assert receive(pipeline, "RejectedOrdersQueueUrl").keys() == received.keys()


def test_chosen_rejected_messages_are_sent_again_and_others_stay(http_of, pipeline, queued, log):
    order_ids = [new_id("WEB") for _ in range(3)]
    ids = [queued("RejectedOrdersQueueUrl", json.dumps({"orderId": each}), reasonCode="X") for each in order_ids]
    assert order_ids[0] in look(http_of)
    question = http_of("GET", f"/rejected/act?action=send&message={ids[0]}&message={ids[1]}").text
    assert "Send again 2 messages" in question
    answer = http_of("POST", "/rejected/act", action="send", message=ids[:2]).text
    assert "Sent to the orders queue 2 messages" in answer
    assert [pipeline.ended(each).state for each in order_ids[:2]] == [State.COMPLETED] * 2
    assert [log(f"message {each}")[0][0] for each in ids[:2]] == ["resend"] * 2
    shown = http_of("GET", "/rejected").text
    assert order_ids[0] not in shown
    assert order_ids[2] in shown
    assert pipeline.ledger.get(order_ids[2]) is None
    again = http_of("POST", "/rejected/act", action="send", message=ids[0]).text
    assert "Nothing was sent" in again


def test_an_edited_order_that_the_ledger_has_with_another_body_is_said_to_conflict(http_of, pipeline, queued):
    order_id = new_id("WEB")
    pipeline.send([json.dumps({"orderId": order_id})])
    assert pipeline.ended(order_id).state is State.COMPLETED
    body = json.dumps({"orderId": order_id, "currency": "USD"})
    message_id = queued("RejectedOrdersQueueUrl", body)
    look(http_of)
    shown = http_of("POST", "/rejected/edit", queue="rejected", id=message_id, text=body).text
    assert "The ledger has another order with this id." in shown
    same = http_of("POST", "/rejected/edit", queue="rejected", id=message_id, text=json.dumps({"orderId": order_id}))
    assert "The ledger has this very order, completed." in same.text


def test_dead_letters_are_redriven_one_and_then_all(http_of, pipeline, queued, log):
    first, *others = (new_id("WEB") for _ in range(3))
    message_id = queued("OrdersDlqUrl", json.dumps({"orderId": first}))
    assert first in look(http_of, "orders")
    assert "It is tried again" in http_of("GET", f"/rejected/act?queue=orders&action=send&message={message_id}").text
    http_of("POST", "/rejected/act", queue="orders", action="send", message=message_id)
    assert pipeline.ended(first).state is State.COMPLETED
    assert log(f"message {message_id}")[0][0] == "redrive"
    for each in others:
        queued("OrdersDlqUrl", json.dumps({"orderId": each}))
    question = http_of("GET", "/rejected/act?queue=orders&action=redrive").text
    assert "Redrive about 2 messages" in question
    assert "orders dlq redrive --queue orders" in question
    http_of("POST", "/rejected/act", queue="orders", action="redrive")
    assert [pipeline.ended(each).state for each in others] == [State.COMPLETED] * 2
    ended = pipeline.until(lambda: log("dead letters of orders")[1:], "the log")
    assert ended == [("redrive", "COMPLETED: 2 moved")]
    assert "Redrive: completed, 2 messages moved" in http_of("GET", "/rejected?queue=orders").text


def test_a_purge_asks_deletes_every_message_and_is_in_the_log(tab, pipeline, queued, log):
    queued("StatusChangesDlqUrl", "{}")
    page = tab("/rejected?queue=status-changes")
    button(page, "Purge…").click()
    expect(dialog(page)).to_contain_text("Purge about 1 message?")
    expect(dialog(page)).to_contain_text("This cannot be undone.")
    expect(button(page, "Back")).to_be_focused()
    assert depth_of(pipeline, "StatusChangesDlqUrl") == 1
    button(page, "Delete all").click()
    expect(dialog(page)).to_contain_text("all messages are deleted")
    page.keyboard.press("Escape")
    expect(page.get_by_text("The queue is empty, as it should be.")).to_be_visible()
    assert depth_of(pipeline, "StatusChangesDlqUrl") == 0
    assert log("dead letters of status-changes") == [("purge", "purged")]


def test_a_dead_letter_of_events_names_its_records_and_can_only_be_purged(http_of, queued):
    times = {
        f"approximateArrivalOf{which}Record": f"2026-01-01T00:00:0{at}Z" for which, at in (("First", 1), ("Last", 2))
    }
    message_id = queued("EventsDlqUrl", json.dumps({"DDBStreamBatchInfo": {"batchSize": 3, **times}}))
    shown = look(http_of, "events")
    assert re.search(r"3 from <time .*2026-01-01T00:00:01.*2026-01-01T00:00:02", shown)
    assert "edrive" not in shown
    assert f"Choose {message_id}" not in shown
    one = http_of("GET", f"/rejected/one?queue=events&id={message_id}").text
    assert "gave up these records" in one
    assert f"orders dlq show {message_id} --queue events" in one
    assert "edrive" not in one
    question = http_of("GET", "/rejected/act?queue=events&action=purge").text
    assert "orders dlq purge --queue events" in question
    for action in ("send", "redrive"):
        answer = http_of("POST", "/rejected/act", queue="events", action=action, message=message_id).text
        assert "There is no such action." in answer


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/rejected/one?id=NONE", "The message is not in the last look"),
        ("/rejected/act?action=send", "No message is chosen"),
        ("/rejected/act?action=redrive", "There is no such action."),
        ("/rejected/edit?id=NONE", "Nothing to edit"),
        ("/send/one?handle=NONE", "This console does not know the send"),
    ],
)
def test_what_cannot_be_shown_or_done_says_why(http_of, path, said):
    assert said in http_of("GET", path).text


def test_a_look_that_is_refused_says_why_on_the_page(http_of, desk, monkeypatch):
    """As with credentials that may read the queues' attributes and not receive."""
    refused = ClientError({"Error": {"Code": "AccessDenied", "Message": "no ReceiveMessage"}}, "ReceiveMessage")
    with monkeypatch.context() as patch:
        patch.setattr(desk.connection.sqs, "receive_message", Mock(side_effect=refused))
        shown = look(http_of)
    assert "No permission" in shown
    assert "These credentials may not call ReceiveMessage." in shown
    assert "No permission" not in look(http_of)


# ── send ──


def test_orders_are_checked_sent_and_watched_until_they_end_by_keyboard_alone(tab, pipeline, log):
    good, bad = new_id("WEB"), new_id("WEB")
    table = (
        f"orderId,sku,quantity,unitPrice,currency\n{good},CD-7,2,13.99,USD\n{good},CD-9,1,5,USD\n{bad},CD-7,0,1,USD\n"
    )
    page = tab("/")
    tab_to(page, "Send")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Send")).to_be_visible()
    tab_to(page, "text")
    page.keyboard.insert_text(table)
    tab_to(page, "Check")
    page.keyboard.press("Enter")
    checked = page.locator("#checked")
    expect(checked).to_contain_text("1 order, 1 bad line")
    expect(checked.get_by_role("row").nth(1)).to_have_text(re.compile(r"^\s*4\s*INVALID_ORDER: items.0.quantity"))
    assert pipeline.ledger.get(good) is None
    tab_to(page, "Send 1 order, not the bad lines")
    page.keyboard.press("Enter")
    page.wait_for_url("**/send/one?handle=*")
    page.evaluate("window.loadedOnce = true")
    row = page.get_by_role("row").filter(has_text=good)
    expect(row).to_contain_text("completed")
    assert is_same_page(page)
    assert len(pipeline.ledger.get(good).order["items"]) == 2
    assert pipeline.ledger.get(bad) is None
    assert ("send", "1 sent, 1 bad lines, 0 not sent") in log("1 orders")


def test_only_the_text_that_was_checked_is_sent(http_of):
    checked = http_of("POST", "/send/check", text='{"orderId": "A"}').text
    (digest,) = re.findall('name="digest" value="([0-9a-f]+)"', checked)
    answer = http_of("POST", "/send", text='{"orderId": "B"}', digest=digest)
    assert "The text is not the one that was checked." in answer.text
    assert "HX-Redirect" not in answer.headers


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"text": " \n"}, "There is no text."),
        ({"text": "x" * (5_000_001)}, "use orders send FILE"),
        ({"text": "x", "format": "json"}, "NOT_JSON"),
        ({"text": '{"orderId": "A"}\n{"orderId": "A", "currency": "USD"}'}, "the same order id with another body"),
    ],
)
def test_a_check_says_what_is_wrong(http_of, form, said):
    assert said in http_of("POST", "/send/check", **form).text


def test_a_file_becomes_the_text_of_the_form_unless_it_is_not_utf_8(tab, tmp_path):
    page = tab("/send")
    (tmp_path / "orders.csv").write_text("orderId\nÄ-1\n", encoding="utf-8-sig")
    (tmp_path / "latin.csv").write_bytes(b"orderId\n\xc4-1\n")
    page.get_by_label("File", exact=True).set_input_files(tmp_path / "orders.csv")
    expect(page.get_by_label("Orders as JSON")).to_have_value("orderId\nÄ-1\n")
    expect(page.get_by_label("Format")).to_have_value("csv")
    page.get_by_label("File", exact=True).set_input_files(tmp_path / "latin.csv")
    expect(page.get_by_role("alert")).to_have_text("latin.csv is not UTF-8.")
    expect(page.get_by_label("Orders as JSON")).to_have_value("orderId\nÄ-1\n")


def test_made_up_orders_are_ready_to_be_checked(http_of):
    assert http_of("GET", "/send?fill=made-up").text.count("&#34;orderId&#34;:&#34;GEN-") == 10


# ── agreement ──


def test_what_the_reconciler_did_and_a_sweep_that_is_asked_for_are_shown(tab, stopped, log):
    order_id = stopped()
    page = tab("/agreement")
    button(page, "Sweep now…").click()
    expect(dialog(page)).to_contain_text("orders sweep")
    button(page, "Sweep now").click()
    expect(dialog(page)).to_contain_text("The sweep runs.")
    assert log("ledger and executions")[-1] == ("sweep", "started")
    page.keyboard.press("Escape")
    lines = page.get_by_role("region", name="Lines of the reconciler and of the sweep")
    line = lines.get_by_role("row").filter(has_text=order_id)
    expect(line).to_contain_text("order ended by the reconciler")
    expect(line).to_contain_text("state STOPPED")
    count = page.locator(".facts > div").filter(has_text="Sweeps, last day").locator("dd")
    expect(count).to_have_text(re.compile("[1-9]"))
    expect(page.get_by_text("Last sweep")).to_be_visible()
    versions = page.get_by_role("region", name="Table of the versions")
    expect(versions).to_contain_text("current: new orders begin on it")
    line.get_by_role("link").click()
    expect(page.get_by_role("heading", name=order_id)).to_be_visible()


def test_a_check_of_the_ledger_is_asked_for_and_names_what_cannot_be_read(tab, pipeline, log):
    order_id = new_id("WEB")
    key = {"orderId": {"S": order_id}}
    pipeline.dynamodb.put_item(TableName=pipeline.outputs["LedgerTableName"], Item={**key, "state": {"S": "NONE"}})
    page = tab("/agreement")
    try:
        tab_to(page, "Check…")
        page.keyboard.press("Enter")
        expect(dialog(page)).to_contain_text("Reads the whole table once")
        tab_to(page, "Check the ledger")
        page.keyboard.press("Enter")
        page.keyboard.press("Escape")
        card = page.get_by_role("region", name="Items that no function can read")
        expect(card).to_contain_text(order_id)
    finally:
        pipeline.dynamodb.delete_item(TableName=pipeline.outputs["LedgerTableName"], Key=key)
    assert ("check", "1 items cannot be read") in log("ledger")
    expect(page.get_by_role("region", name="Lines of the operations log")).to_contain_text("1 items cannot be read")


def test_the_operations_log_has_pages(http_of, desk):
    marker = new_id("LOG")
    for number in range(51):
        desk.record("test", f"{marker}-{number:02}", "done")
    shown = http_of("GET", "/agreement/log").text
    assert f"{marker}-50" in shown
    assert f"{marker}-00" not in shown
    (older,) = re.findall(r'href="(/agreement/log\?before=[^"]+)"', shown)
    assert f"{marker}-00" in http_of("GET", older).text


# ── all screens ──


def test_hostile_text_of_an_order_stays_text_on_every_screen(tab, stopped):
    order_id = stopped(HOSTILE, HOSTILE, attributes={"note": HOSTILE})
    query = urlencode({"state": "STOPPED", "error": HOSTILE, "view": HOSTILE, "customer": ""})
    for path in (order_page(order_id), f"/orders?{query}", f"/failures?customer=&since={quote(HOSTILE)}", "/failures"):
        page = tab(path)
        expect(page.get_by_text("<script id=injected>").first).to_be_visible()
        assert page.locator("#injected").count() == 0
    page = tab(order_page(order_id))
    button(page, "Edit and retry…").click()
    expect(dialog(page).get_by_label("Order")).to_have_value(re.compile("<script id=injected>"))
    assert page.locator("#injected").count() == 0


def test_hostile_text_of_a_message_and_of_the_log_stays_text(tab, http_of, queued, desk):
    errors = json.dumps([{"field": HOSTILE, "reason": HOSTILE}, {"field": "orderId", "reason": HOSTILE}])
    body = json.dumps({"orderId": HOSTILE})
    message_id = queued("RejectedOrdersQueueUrl", body, reasonCode=HOSTILE, fieldErrors=errors, note=HOSTILE)
    odd = queued("RejectedOrdersQueueUrl", HOSTILE, fieldErrors=HOSTILE)
    look(http_of)
    desk.record("test", HOSTILE, HOSTILE)
    one = "/rejected/one?queue=rejected&id="
    for path in ("/rejected", one + message_id, one + odd, "/agreement", "/agreement/log"):
        page = tab(path)
        expect(page.get_by_text("<script id=injected>").first).to_be_visible()
        assert page.locator("#injected").count() == 0
    page = tab(one + message_id)
    expect(page.locator("mark").first).to_have_attribute("title", re.compile("<script id=injected>"))
    button(page, "Edit and send as new…").click()
    button(page, "Check").click()
    expect(dialog(page).get_by_role("alert")).to_be_visible()
    page = tab("/send")
    page.get_by_label("Orders as JSON").fill(json.dumps({"orderId": "A", HOSTILE: HOSTILE}))
    button(page, "Check").click()
    expect(page.locator("#checked")).to_contain_text("<script id=injected>")
    assert page.locator("#injected").count() == 0


@pytest.mark.parametrize(("scheme", "options"), [("light", {}), ("dark", ONLY_COLORS)])
def test_axe_finds_nothing_on_any_screen(tab, http_of, stopped, queued, scheme, options):
    order_id = stopped()
    body = json.dumps({"orderId": "A", "items": 5})
    errors = json.dumps([{"field": "items", "reason": "should be a list"}])
    message_id = queued("RejectedOrdersQueueUrl", body, reasonCode="INVALID_ORDER", fieldErrors=errors)
    look(http_of)
    paths = (
        "/",
        "/orders",
        "/orders?since=soon",
        order_page(order_id),
        order_page("NONE"),
        "/failures",
        "/orders/jobs",
        "/rejected",
        "/rejected?queue=orders",
        f"/rejected/one?id={message_id}",
        "/send",
        "/agreement",
        "/agreement/log",
    )
    tab("/").emulate_media(color_scheme=scheme, reduced_motion="reduce")
    for path in paths:
        page = tab(path)
        expect(page.locator("[aria-busy]")).to_have_count(0)
        found = Axe().run(page, options=options)
        assert found.violations_count == 0, f"{path}: {found.generate_report()}"
    page = tab(order_page(order_id))
    for action in ("Retry…", "Edit and retry…"):
        button(page, action).click()
        expect(dialog(page)).to_be_visible()
        found = Axe().run(page, options=options)
        assert found.violations_count == 0, f"{action}: {found.generate_report()}"
        page.keyboard.press("Escape")
    page = tab(f"/rejected/one?id={message_id}")
    button(page, "Edit and send as new…").click()
    button(page, "Check").click()
    expect(dialog(page).get_by_role("alert")).to_be_visible()
    found = Axe().run(page, options=options)
    assert found.violations_count == 0, f"edit a message: {found.generate_report()}"
    page = tab("/send")
    page.get_by_label("Orders as JSON").fill('{"orderId": "A"}\nx')
    button(page, "Check").click()
    expect(page.locator("#checked")).to_contain_text("1 order, 1 bad line")
    found = Axe().run(page, options=options)
    assert found.violations_count == 0, f"checked orders: {found.generate_report()}"


@pytest.mark.parametrize("path", ["/", "/orders", "/failures", "/rejected", "/send", "/agreement", "/agreement/log"])
def test_no_screen_is_wider_than_a_phone(tab, stopped, path):
    stopped()
    page = tab(path)
    page.set_viewport_size({"width": 375, "height": 800})
    try:
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
        assert page.evaluate(WITH_A_WIDE_TABLE) <= 375
    finally:
        page.set_viewport_size({"width": 1280, "height": 720})


def test_a_read_only_console_shows_no_action_and_takes_none(http_of, desk, stopped):
    order_id = stopped()
    with serving(lambda guard: app(desk, guard), read_only=True) as console:
        for path in ("/", "/orders", order_page(order_id), "/failures", "/rejected", "/send", "/agreement"):
            shown = http_of("GET", path, at=console).text
            assert "Read-only" in shown
            assert 'aria-haspopup="dialog"' not in shown
        assert http_of("POST", "/orders/act", at=console, action="retry", id=order_id).status == 403
        for path in ("/rejected/look", "/rejected/act", "/send", "/agreement/act"):
            assert http_of("POST", path, at=console, action="purge", queue="rejected").status == 403


def test_denied_credentials_are_named_with_the_policy_and_the_rest_is_shown(http_of, stack, pipeline, desk):
    refused = Fail(400, "AccessDeniedException", "not authorized to perform: dynamodb:Query")
    rule = stack.faults.add(Rule(refused, "dynamodb", "Query", times=None))
    try:
        with serving(lambda guard: app(Desk(desk.given), guard)) as console:
            for path in ("/orders", "/failures", "/agreement/log"):
                shown = http_of("GET", path, at=console).text
                assert "No permission" in shown
                assert "may not call Query" in shown
                assert "dynamodb:Query. The role needs the stack&#39;s managed policy OrdersOperatorPolicy" in shown

            def complete():
                shown = http_of("GET", "/agreement", at=console).text
                return None if "aria-busy" in shown else shown  # a panel that still reads

            shown = pipeline.until(complete, "/agreement")
            assert "may not call Query" in shown
            assert "current: new orders begin on it" in shown
    finally:
        stack.faults.release(rule)


def test_without_the_stack_every_screen_says_that_there_is_none(http_of, stack, pipeline, monkeypatch):
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    with serving(lambda guard: app(Desk(Connection("no-such-stack")), guard)) as console:

        def complete(path):
            shown = http_of("GET", path, at=console).text
            return None if "aria-busy" in shown else shown  # a panel that still reads

        for path in ("/orders", order_page("A"), "/failures", "/orders/jobs", "/rejected", "/agreement"):
            shown = pipeline.until(lambda path=path: complete(path), path)
            assert "This console cannot find the pipeline" in shown
            assert "there is no stack no-such-stack" in shown


# ── the console of `make up` ──


def test_make_up_starts_one_console_and_prints_its_address(stack):
    def consoles():
        module = ["-m", "tools.console.background", str(stack.settings.directory)]
        return [pid for pid, arguments in processes._all() if arguments[1:4] == module]

    try:
        first, second = background.prepare(stack), background.prepare(stack)
        (address,) = re.findall(r"The console: (http://127\.0\.0\.1:\d+/\?token=\S+)", first)
        assert address in second
        assert len(consoles()) == 1
        assert (stack.settings.temporary / "console").stat().st_mode & 0o077 == 0
    finally:
        for pid in consoles():
            os.kill(pid, signal.SIGTERM)


def test_a_console_whose_stack_has_ended_ends(tmp_path):
    command = [sys.executable, "-m", "tools.console.background", str(tmp_path), "orders"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == -signal.SIGTERM
    assert ended.stderr == ""
