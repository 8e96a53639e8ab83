"""The reading commands of `orders`, on a terminal and off it."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image

from shared.ledger.states import TERMINAL, State
from tests.e2e import orders_command
from tests.e2e.deployed_pipeline import COMPLETED, new_id, states
from tools.operations.selection import Selection, selected

ORDERS = Path(sys.executable).parent / "orders"
HOSTILE = "Recall\x1b[31m\u202e"
"""An error type that turns the text red and reverses it."""


@pytest.fixture(scope="module")
def run(stack):
    def run(*arguments):
        ran = orders_command.run_orders(os.environ | stack.environment, *arguments)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    return run


@pytest.fixture(scope="module")
def run_on_terminal(stack):
    def run(*arguments):
        ran = orders_command.run_on_terminal(os.environ | stack.environment, *arguments)
        assert ran.returncode == 0, ran.stdout
        return ran.stdout

    return run


@pytest.fixture(scope="module")
def customer(stack, pipeline):
    """A customer with two orders: one COMPLETED, one STOPPED in its wait with a hostile error type."""
    customer = new_id("CUST")
    done, stopped = new_id("READ"), new_id("READ")
    with pipeline.without_finalize(stopped):
        pipeline.send([json.dumps({"orderId": order_id, "customerId": customer}) for order_id in (done, stopped)])
        waiting = pipeline.entry_when(stopped, lambda entry: entry.state == State.WAITING, "to wait")
        pipeline.functions.stop_durable_execution(
            DurableExecutionArn=waiting.execution_arn, Error={"ErrorType": HOSTILE, "ErrorMessage": "faulty"}
        )
    assert states(pipeline.ended(done)) == COMPLETED
    assert pipeline.ended(stopped).state == State.STOPPED
    return customer, done, stopped


def test_a_list_has_a_customers_orders_as_lines_csv_and_json(run, customer):
    name, done, stopped = customer
    lines = [line.split("\t") for line in run("list", "--customer", name).splitlines()]
    assert {line[0]: line[1] for line in lines} == {done: "COMPLETED", stopped: "STOPPED"}
    rows = list(csv.DictReader(io.StringIO(run("list", "--customer", name, "--csv"))))
    assert {row["orderId"]: row["customerId"] for row in rows} == {done: name, stopped: name}
    found = [json.loads(line) for line in run("list", "--customer", name, "--json", "--error", HOSTILE).splitlines()]
    assert [(order["orderId"], order["state"], order["errorType"]) for order in found] == [
        (stopped, "STOPPED", HOSTILE)
    ]


@pytest.mark.parametrize("flags", [(), ("--csv",)])
def test_a_hostile_error_type_is_escaped_in_a_list(run, customer, flags):
    shown = run("list", "--customer", customer[0], *flags)
    assert r"Recall\x1b[31m\u202e" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_a_list_on_a_terminal_has_a_header_and_escapes(run_on_terminal, customer):
    shown = run_on_terminal("list", "--customer", customer[0], "--state", "STOPPED", "--since", "1h")
    header, row = shown.splitlines()
    assert header.split() == ["orderId", "state", "updatedAt", "attempt", "errorType", "customerId"]
    assert row.split()[0] == customer[2]
    assert r"\x1b[31m\u202e" in row
    assert "\x1b" not in row


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("get {order}", "STOPPED"),
        ("why {order}", "retry"),
        ("history {order}", "WaitStarted"),
        ("stuck", ""),
        ("jobs", ""),
        ("rejected list", "a sample of"),
        ("dlq list", "a sample of"),
        ("versions", "current"),
        ("check", "0 items cannot be read"),
    ],
)
def test_a_reading_command_ends_well_on_a_terminal_and_off_it(run, run_on_terminal, customer, command, said):
    arguments = command.format(order=customer[2]).split()
    shown = run_on_terminal(*arguments)
    assert said in shown
    assert "\u202e" not in run(*arguments) + shown


def test_failures_name_the_cause_with_its_count(run, run_on_terminal, customer):
    (cause,) = map(json.loads, run("failures", "--customer", customer[0], "--json").splitlines())
    assert (cause["errorType"], cause["state"], cause["count"], cause["again"]) == (HOSTILE, "STOPPED", 1, 0)
    assert cause["example"] == customer[2]
    assert r"Recall\x1b[31m\u202e" in run_on_terminal("failures", "--customer", customer[0])


def test_get_shows_what_the_order_cost_as_an_estimate(run, customer):
    _, done, _ = customer
    found = json.loads(run("get", done, "--json"))["cost"]
    assert found["kind"] == "estimate at list price"
    assert found["usd"] == pytest.approx(sum(found["usdByPart"].values()))
    assert found["usdByPart"]["orchestrator"] > 4 * 8e-6  # four durable operations, and compute
    assert f"${found['usd']:.7f} (estimate at list price, us-east-1)" in run("get", done)


def test_stats_have_counts_times_and_the_cost_of_the_orders_that_ended(
    run, run_on_terminal, pipeline, customer, tmp_path
):
    picture = tmp_path / "stats.png"
    queue_times = pipeline.until(
        lambda: (found := json.loads(run("stats", "--json")))["seconds"]["inQueue"]["p99"] and found, "ingest's metrics"
    )
    found = json.loads(run("stats", "--since", "1h", "--json", "--plot", picture))
    assert found["complete"]
    assert found["states"]["COMPLETED"] >= 1
    assert found["states"]["STOPPED"] >= 1
    assert found["read"] == sum(found["states"][state] for state in TERMINAL)
    seconds = found["seconds"]
    assert seconds["startToEnd"]["orders"] == found["read"] > seconds["outsideSteps"]["orders"] >= 1
    # A percentile can be 1 % too low.
    assert found["waitSeconds"] * 0.99 < seconds["outsideSteps"]["p50"] < seconds["startToEnd"]["p99"]
    for name in ("startToEnd", "outsideSteps", "inQueue"):
        assert 0 < seconds[name]["p50"] <= seconds[name]["p95"] <= seconds[name]["p99"]
    assert queue_times["seconds"]["inQueue"]["p99"] < 3600
    assert 32 < found["cost"]["usdPerMillionOrders"] == pytest.approx(found["cost"]["usdPerOrder"] * 1e6)
    with Image.open(picture) as image:
        assert image.format == "PNG"
    assert json.loads(run("stats", "--limit", "1", "--json"))["read"] == 1
    shown = run_on_terminal("stats", "--limit", "1")
    assert re.search(r"^COMPLETED +\d+", shown, re.MULTILINE)
    assert re.search(r"^start to end +[\d.]+ s +[\d.]+ s +[\d.]+ s", shown, re.MULTILINE)
    assert "(there are more: --limit)" in shown


def test_the_queue_time_of_many_days_is_that_of_the_worst(run, stack):
    function = stack.outputs["OrderIngestArn"].rpartition(":")[2]
    names = {"FunctionName": function, "service": "ingest"}
    metric = {
        "MetricName": "QueueMilliseconds",
        "Dimensions": [{"Name": name, "Value": value} for name, value in names.items()],
        "Unit": "Milliseconds",
    }
    points = [
        {**metric, "Timestamp": datetime.now(UTC) - timedelta(days=days), "Value": value}
        for days, value in ((3, 7_200_000.0), (4, 1_000.0))
    ]
    stack.client("cloudwatch").put_metric_data(Namespace="Orders", MetricData=points)
    assert json.loads(run("stats", "--since", "7d", "--json"))["seconds"]["inQueue"]["p50"] == 7_200
    assert (json.loads(run("stats", "--json"))["seconds"]["inQueue"]["p50"] or 0) < 7_200


def test_a_history_has_both_sources_with_the_wait_and_its_replay(run, customer):
    _, done, stopped = customer
    found = json.loads(run("history", done, "--json"))
    seen = [(moment["source"], moment["what"]) for moment in found["timeline"]]
    assert [what for source, what in seen if source == "ledger"] == COMPLETED
    assert {"wait WaitStarted", "wait WaitSucceeded", "enrich StepSucceeded", "invocation 2 (replay)"} <= {
        what for source, what in seen if source == "lambda"
    }
    assert [moment["at"] for moment in found["timeline"]] == sorted(moment["at"] for moment in found["timeline"])
    (wait,) = [moment for moment in found["timeline"] if moment["what"] == "wait WaitStarted"]
    assert re.fullmatch(r"until \d{4}-.*Z", wait["detail"])
    (attempt,) = found["attempts"]
    # On a busy machine a write may time out and be tried again: an invocation more for each.
    assert (attempt["state"], attempt["invocations"]) == ("COMPLETED", 2 + attempt["retries"])
    shown = run("history", stopped)
    assert "\x1b" not in shown
    assert "ExecutionStopped" in shown


def test_a_watch_prints_each_change_until_the_order_ends(run, pipeline):
    order_id = new_id("WATCH")
    pipeline.send([json.dumps({"orderId": order_id})])
    lines = [line.split()[1] for line in run("watch", order_id, "--every", "0.1").splitlines()]
    assert lines[-1] == "COMPLETED"
    assert "WAITING" in lines


def test_a_watch_on_a_terminal_ends_with_the_last_state(run_on_terminal, customer):
    assert re.search(rf"{customer[2]}  STOPPED  attempt 1", run_on_terminal("watch", customer[2]))


def test_a_watch_without_ids_counts_states_and_queues(run, customer):
    running, ended, queues = run("watch", "--times", "1").splitlines()
    assert all(f"{state} " in running for state in COMPLETED[:-1])
    assert "COMPLETED 0" in ended
    assert re.fullmatch(r"  queues: orders \d+\+\d+  rejected \d+\+\d+  dead \d+\+\d+", queues)


def test_a_watch_as_json_is_a_line_for_each_change(run, pipeline, customer):
    (line,) = run("watch", customer[2], "--json").splitlines()
    assert json.loads(line) | {"updatedAt": None} == {
        "orderId": customer[2],
        "state": "STOPPED",
        "attempt": 1,
        "updatedAt": None,
        "error": pipeline.ledger.get(customer[2]).error["type"],
    }
    (line,) = run("watch", "--times", "1", "--json").splitlines()
    counts = json.loads(line)
    assert counts.keys() == {"at", "running", "since", "ended", "endedPerSecond", "queues"}
    assert counts["queues"]["rejected"] == {"waiting": 0, "inFlight": 0}


def test_an_interrupt_ends_a_watch_with_one_line_and_status_130(stack):
    process = subprocess.Popen(
        [ORDERS, "watch", "--every", "0.1"],
        env={**os.environ, **stack.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert "running" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "orders: interrupted\n")


def test_a_stack_without_the_index_gets_it_in_one_update_and_drops_the_old_in_the_next(stack, template):
    """CloudFormation changes one index in an update, so each release changes one."""
    cloudformation, dynamodb = stack.client("cloudformation"), stack.client("dynamodb")
    table = template["Resources"]["LedgerTable"]
    (new,) = table["Properties"]["GlobalSecondaryIndexes"]
    old = {**new, "IndexName": "StateIndex", "Projection": {"ProjectionType": "KEYS_ONLY"}}
    name = new_id("index")

    def body(*indexes):
        properties = {**table["Properties"], "GlobalSecondaryIndexes": list(indexes)}
        resources = {"Ledger": {"Type": table["Type"], "Properties": properties}}
        return json.dumps({"Resources": resources, "Outputs": {"Name": {"Value": {"Ref": "Ledger"}}}})

    def indexes():
        described = dynamodb.describe_table(TableName=ledger)["Table"]["GlobalSecondaryIndexes"]
        return {index["IndexName"] for index in described}

    cloudformation.create_stack(StackName=name, TemplateBody=body(old))
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    (described,) = cloudformation.describe_stacks(StackName=name)["Stacks"]
    ledger = described["Outputs"][0]["OutputValue"]
    keys = {"orderId": {"S": "OLD"}, "stateShard": {"S": "FAILED#0"}, "updatedAt": {"S": "2026-01-01T00:00:00.000Z"}}
    error = {"M": {"type": {"S": "EnricherUnavailable"}, "message": {"S": "no answer"}}}
    dynamodb.put_item(TableName=ledger, Item={**keys, "attempt": {"N": "1"}, "error": error})
    for release in ((new, old), (new,)):
        cloudformation.update_stack(StackName=name, TemplateBody=body(*release))
        cloudformation.get_waiter("stack_update_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
        assert indexes() == {index["IndexName"] for index in release}
        (order,) = selected(dynamodb, ledger, Selection(error="EnricherUnavailable"))
        assert (order.order_id, order.attempt) == ("OLD", 1)
    cloudformation.delete_stack(StackName=name)
