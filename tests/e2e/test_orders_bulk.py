"""The `orders` commands that write, on the local stack: send, bulk retry, rejects, dead letters."""

import json
import os
import pty
import re
import select
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from shared.ledger.states import State
from tests.e2e.deployed_pipeline import TIMEOUT_SECONDS, new_id
from tests.e2e.orders_command import run_orders
from tools.operations.queues import Queue

ROOT = Path(__file__).parents[2]
ORDERS = [ROOT / ".venv" / "bin" / "orders"]
FAILED = 30


@pytest.fixture(scope="module")
def environment(stack):
    return {**stack.environment, "PATH": os.environ["PATH"], "COLUMNS": "120"}


@pytest.fixture(scope="module")
def orders(environment):
    def run(*arguments, status=0, given=""):
        """What the command prints on standard output, and on standard error."""
        done = run_orders(environment, *arguments, given=given)
        assert done.returncode == status, done.stderr
        return done.stdout, done.stderr

    return run


def lines(*order_ids, **fields):
    return "".join(json.dumps({"orderId": order_id, **fields}) + "\n" for order_id in order_ids)


def test_send_names_bad_lines_and_sends_the_rest_off_a_terminal(orders, pipeline):
    good = [new_id("SEND") for _ in range(23)]
    given = (
        lines(*good[:5]) + "no order\n" + lines(*good[5:], customerId="CUST-00004") + '{"orderId": "A", "item": 1}\n'
    )
    out, err = orders("send", "-", "--group-by", "customerId", given=given, status=1)
    assert out == "23 sent, 2 bad lines, 0 not sent\n"
    assert [line.split(": ")[0] for line in err.splitlines()] == ["-:6", "-:25"]
    assert {pipeline.ended(order_id).state for order_id in good} == {State.COMPLETED}


def test_send_shows_a_bar_with_its_rate_on_a_terminal(environment, pipeline, tmp_path):
    sent = [new_id("SEND") for _ in range(12)]
    file = tmp_path / "orders.jsonl"
    file.write_text(lines(*sent))
    terminal, ours = pty.openpty()
    with subprocess.Popen(
        [*ORDERS, "send", file],
        env=environment | {"TERM": "xterm"},
        stdin=ours,
        stdout=ours,
        stderr=ours,
    ) as process:
        os.close(ours)
        shown = b""
        while select.select([terminal], [], [], TIMEOUT_SECONDS)[0]:
            try:
                shown += os.read(terminal, 65_536)
            except OSError:  # the process closed the terminal
                break
        assert process.wait() == 0
    os.close(terminal)
    text = shown.decode()
    assert "12/" in text
    assert re.search(r"\d orders/s", text)
    assert "12 sent, 0 bad lines, 0 not sent" in text
    assert {pipeline.ended(order_id).state for order_id in sent} == {State.COMPLETED}


def test_an_outage_is_mended_by_a_job_that_is_killed_and_resumed(orders, environment, stack, pipeline):
    """Orders that failed by three causes: none is lost, and none is retried twice."""
    causes = ("EnricherUnavailable", "EnrichmentRejected", "Maintenance")
    ids = [new_id("BULK") for _ in range(FAILED)]
    by_cause = {cause: ids[number::3] for number, cause in enumerate(causes)}
    # The orders of other tests have other customers.
    customer = new_id("CUST")
    with pipeline.without_finalize():
        pipeline.fail_by_three_causes(
            *by_cause.values(), customer, lambda bodies: orders("send", "-", given="\n".join(bodies))
        )
    assert Counter(pipeline.ledger.get(order_id).error["type"] for order_id in ids) == {
        cause: len(failed) for cause, failed in by_cause.items()
    }

    _, refused = orders("retry", "--yes", status=2)
    assert "select them with --state" in refused
    _, unanswered = orders("retry", "--error", causes[0], "--customer", customer, status=1)
    assert f"retry {len(by_cause[causes[0]])} orders" in unanswered
    dry, _ = orders("retry", "--error", causes[0], "--customer", customer, "--dry-run", "--json")
    assert json.loads(dry)["orders"] == len(by_cause[causes[0]])
    assert {pipeline.ledger.get(order_id).attempt for order_id in ids} == {1}

    with subprocess.Popen(
        [*ORDERS, "retry", "--state", "FAILED", "--state", "STOPPED", "--customer", customer, "--since", "1h", "--yes"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as killed:
        handle = re.match(r"job (\S+): retry", killed.stderr.readline())[1]
        pipeline.until(lambda: counts(orders, handle).get("done", 0) >= 3, "the job to be midway")
        killed.send_signal(signal.SIGKILL)
    midway = counts(orders, handle)
    assert midway["status"] == "RUNNING"
    assert midway["left"] > 0

    orders("jobs", "resume", handle, "--json")
    assert {key: counts(orders, handle)[key] for key in ("status", "done", "left")} == {
        "status": "ENDED",
        "done": FAILED,
        "left": 0,
    }
    for order_id in ids:
        entry = pipeline.ended(order_id, 2)
        assert (entry.state, entry.attempt) == (State.COMPLETED, 2)
    started = Counter(execution["DurableExecutionName"] for execution in pipeline.executions())
    assert max(started.values()) == 1
    listed, _ = orders("jobs", "--json")
    assert json.loads(listed)[0]["job"] == handle
    assert {entry["action"]["S"] for entry in operations_log(stack, pipeline)} >= {"retry", "resume"}


def counts(orders, handle):
    return json.loads(orders("jobs", "show", handle, "--json")[0])


def operations_log(stack, pipeline):
    return pipeline.dynamodb.query(
        TableName=stack.outputs["OperationsTableName"],
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": "LOG"}},
    )["Items"]


def test_orders_are_cancelled_by_id_and_by_customer(orders, pipeline):
    one, *several = (new_id("CANCEL") for _ in range(4))
    customer = new_id("CUST")
    with pipeline.without_finalize():
        orders("send", "-", given=lines(one) + lines(*several, customerId=customer))
        for order_id in (one, *several):
            pipeline.entry_when(order_id, lambda entry: entry.state is State.WAITING, "to wait")
        out, err = orders("cancel", one, "NEVER-SENT", "--reason", "the customer called", status=1)
        assert out == f"{one}: state CANCELLED\n"
        assert err == "NEVER-SENT: OrderUnknown: order NEVER-SENT is not in the ledger\n"
        assert pipeline.ledger.get(one).history[-1].detail == "the customer called"
        orders("cancel", "--customer", customer, "--yes")
    assert {pipeline.ledger.get(order_id).state for order_id in several} == {State.CANCELLED}
    _, refused = orders("retry", one, status=1)
    assert "IllegalTransition" in refused


def test_an_order_is_invoked_directly_and_asynchronously(orders, pipeline):
    one, other = new_id("INVOKE"), new_id("INVOKE")
    assert json.loads(orders("invoke", one)[0])["orderId"] == one
    assert "is started as" in orders("invoke", "-", "--async", given=lines(other))[0]
    assert pipeline.ended(other).state is State.COMPLETED


def test_a_rejected_message_is_listed_shown_mended_and_sent_again(orders, pipeline, stack, tmp_path):
    order_id = new_id("REJECT")
    pipeline.send([json.dumps({"orderId": order_id, "currency": "XXXX"})])
    queue = Queue(pipeline.sqs, stack.outputs["RejectedOrdersQueueUrl"])

    def rejected():
        out, _ = orders("rejected", "list", "--limit", "100", "--json")
        return next((one for one in json.loads(out)["messages"] if one["orderId"] == order_id), None)

    found = pipeline.until(rejected, "the reject")
    assert found["reasonCode"] == "INVALID_ORDER"
    before = queue.count()
    shown = json.loads(orders("rejected", "show", found["messageId"], "--json")[0])
    assert json.loads(shown["body"]) == {"orderId": order_id, "currency": "XXXX"}
    assert queue.count() == before
    mended = tmp_path / "mended.json"
    mended.write_text(lines(order_id))
    orders("rejected", "resend", found["messageId"], "--with", mended)
    assert pipeline.ended(order_id).state is State.COMPLETED
    assert queue.count() == before - 1
    _, unanswered = orders("rejected", "purge", status=1)
    assert "give --yes" in unanswered


def test_dead_letters_are_listed_and_moved_back(orders, pipeline, stack):
    order_id = new_id("DEAD")
    dead = Queue(pipeline.sqs, stack.outputs["OrdersDlqUrl"])
    pipeline.sqs.send_message(QueueUrl=dead.url, MessageBody=lines(order_id))
    out, err = orders("dlq", "list")
    assert order_id in out
    assert "a sample of 1 of about 1 messages" in err
    assert orders("dlq", "redrive")[0] == "COMPLETED: 1 moved\n"
    assert pipeline.ended(order_id).state is State.COMPLETED


def test_a_stopped_order_is_retried_from_finalize_and_then_forgotten(orders, pipeline):
    order_id = new_id("FINALIZE")
    with pipeline.without_finalize():
        orders("send", "-", given=lines(order_id, customerId="CUST-00004"))
        waiting = pipeline.entry_when(order_id, lambda entry: entry.state is State.WAITING, "to wait")
        pipeline.functions.stop_durable_execution(DurableExecutionArn=waiting.execution_arn)
        assert pipeline.ended(order_id).state is State.STOPPED

    out, _ = orders("retry", order_id, "--from", "finalize", "--dry-run")
    assert out == f"{order_id}: wouldRun ['finalize']\n"
    out, _ = orders("retry", order_id, "--from", "finalize", "--json")
    assert json.loads(out)["beginsWith"] == "finalize"
    completed = pipeline.entry_when(order_id, lambda entry: entry.state is State.COMPLETED, "to complete")
    assert (completed.state, completed.attempt) == (State.COMPLETED, 2)

    out, _ = orders("forget", order_id, "--yes", "--json")
    assert len(json.loads(out)["deleted"]) == 2
    _, err = orders("retry", order_id, status=1)
    assert "OrderForgotten" in err
    out, _ = orders("get", order_id, "--json")
    assert json.loads(out)["order"] == {"orderId": order_id}
