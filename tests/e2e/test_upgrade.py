"""A stack of an earlier commit is updated to this one in two steps, while orders wait and are in the queue."""

import io
import json
import subprocess
import tarfile
from dataclasses import replace

import pytest

from shared.ledger.entry import ORDERS_INDEX
from shared.ledger.states import State
from tests.e2e.deployed_pipeline import COMPLETED, DeployedPipeline, new_id, states
from tests.faults.events import Consumer
from tools.operations.progress import counts
from tools.pipeline import ROOT, SETTINGS, local_stack

EARLIER = "7b7635e8979eb4edb5434161a68973995272d5bf"
"""The last commit whose ledger has no OrdersIndex and no stream, and whose stack has no publisher and no alarms."""
BETWEEN = "a24a31c44f671b16bc8db954e59d47da4789c8ef"
"""A commit whose ledger has OrdersIndex and the StateIndex before it: an update makes or drops only one index."""


@pytest.fixture
def of_commit(tmp_path):
    """The template of a commit, beside its sources."""

    def template(commit):
        archive = subprocess.run(
            ["git", "archive", commit, "template.yaml", "src"], cwd=ROOT, capture_output=True, check=False
        )
        if archive.returncode:
            pytest.skip(f"the commit {commit[:7]} is not in the history (a shallow clone?): {archive.stderr!r}")
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extractall(tmp_path / commit, filter="data")
        return tmp_path / commit / "template.yaml"

    return template


def updated_to(stack, template):
    """The stack after an update to a template. Its orders wait for a second from then on."""
    return replace(stack, settings=replace(stack.settings, template=template)).deploy({"WaitSeconds": "1"})


def test_an_update_from_an_earlier_release_loses_no_order(of_commit):
    earlier, between = of_commit(EARLIER), of_commit(BETWEEN)
    # Long enough to see that an order waits, even on a busy machine.
    with local_stack(template=earlier, parameters={"WaitSeconds": "15"}) as stack:
        before = DeployedPipeline(stack)
        ended, queued, new = (new_id(name) for name in ("ENDED", "QUEUED", "NEW"))
        waiting = [new_id("WAITS") for _ in range(3)]
        before.send([json.dumps({"orderId": order_id}) for order_id in (ended, *waiting)])
        for order_id in waiting:
            arn = before.entry_when(order_id, lambda entry: entry.state == State.WAITING, "to wait").execution_arn
            # The update may take longer than their wait.
            before.functions.pause_durable_execution(DurableExecutionArn=arn, Reason="update")
        assert indexes(before) == {"StateIndex"}
        before.ended(ended)
        before.send([json.dumps({"orderId": queued})])

        assert indexes(DeployedPipeline(updated_to(stack, between))) == {"StateIndex", ORDERS_INDEX}
        updated = updated_to(stack, SETTINGS.template)
        after, consumer = DeployedPipeline(updated), Consumer(updated)
        assert indexes(after) == {ORDERS_INDEX}

        assert {name: updated.outputs[name] for name in stack.outputs} == stack.outputs
        assert {after.ledger.get(order_id).state for order_id in waiting} == {State.WAITING}
        assert counts(after.dynamodb, after.outputs["LedgerTableName"], "0")[State.WAITING] >= len(waiting)
        for order_id in waiting:
            after.functions.resume_durable_execution(DurableExecutionArn=after.ledger.get(order_id).execution_arn)
        after.send([json.dumps({"orderId": new})])
        orders = [ended, queued, new, *waiting]
        entries = {order_id: after.ended(order_id) for order_id in orders}
        assert {order_id: states(entry) for order_id, entry in entries.items()} == dict.fromkeys(orders, COMPLETED)
        assert {version_of(entries[order_id]) for order_id in (ended, *waiting)} == {"1"}
        assert version_of(entries[new]) == "3"

        table = after.outputs["LedgerTableName"]
        after.until(
            lambda: (
                {state: n for state, n in counts(after.dynamodb, table, "0").items() if n}
                == {State.COMPLETED: len(orders)}
            ),
            "the new index to have every order",
        )
        # The publisher also reads what the earlier version writes.
        after.until(lambda: consumer.counted()[State.COMPLETED] >= len([*waiting, new]), "the metric of the ends")
        after.drained()


def indexes(pipeline):
    table = pipeline.dynamodb.describe_table(TableName=pipeline.outputs["LedgerTableName"])["Table"]
    return {index["IndexName"] for index in table["GlobalSecondaryIndexes"]}


def version_of(entry):
    """The version of the orchestrator that ran the order."""
    return entry.execution_arn.partition("/")[0].rpartition(":")[2]
