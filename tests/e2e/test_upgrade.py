"""A stack of an earlier commit is updated to this one in two steps, while orders wait and are in the queue."""

import io
import json
import shutil
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

STATE_INDEX = """\
        - IndexName: StateIndex
          KeySchema:
            - { AttributeName: stateShard, KeyType: HASH }
            - { AttributeName: updatedAt, KeyType: RANGE }
          Projection: { ProjectionType: KEYS_ONLY }
"""
"""The index that the earlier commit reads. An update makes or drops only one index."""


@pytest.fixture
def earlier(tmp_path):
    """The template, beside its sources, of the last commit whose ledger has no OrdersIndex and no stream.

    Its stack has no publisher and no alarms either.
    """
    try:
        newer = git("log", "--reverse", "-SIndexName: OrdersIndex", "--format=%H", "--", "template.yaml").split()[0]
        archive = git("archive", f"{newer.decode()}~", "template.yaml", "src")
    except (subprocess.CalledProcessError, IndexError) as error:
        pytest.skip(f"the history does not go back to a ledger without OrdersIndex (a shallow clone?): {error!r}")
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(tmp_path / "earlier", filter="data")
    return tmp_path / "earlier" / "template.yaml"


@pytest.fixture
def between(tmp_path):
    """This template, beside its sources, with the index of the earlier one too."""
    folder = tmp_path / "between"
    shutil.copytree(SETTINGS.template.parent / "src", folder / "src")
    text = SETTINGS.template.read_text(encoding="utf-8")
    before, after = text.split("        - IndexName: OrdersIndex\n")
    (folder / "template.yaml").write_text(f"{before}{STATE_INDEX}        - IndexName: OrdersIndex\n{after}", "utf-8")
    return folder / "template.yaml"


def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout


def updated_to(stack, template):
    """The stack after an update to a template. Its orders wait for a second from then on."""
    return replace(stack, settings=replace(stack.settings, template=template)).deploy({"WaitSeconds": "1"})


def test_an_update_from_an_earlier_release_loses_no_order(earlier, between):
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
        assert version_of(entries[new]) == "2"  # the second update changes no function

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
