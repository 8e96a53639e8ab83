"""The drill of docs/operations.md, Recover the ledger: its commands, on a ledger that lost and set back items."""

import json
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.ledger.states import State
from tests.e2e.test_pipeline import COMPLETED, new_id, states

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "docs" / "operations.md").read_text().partition("\n## Recover the ledger\n")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)


class Drill:
    """An operator's shell. Each of its commands is the one block of the section that contains `part`."""

    def __init__(self, stack, folder):
        aws = folder / "aws"
        aws.write_text(f'#!/bin/sh\nexec "{ROOT}/.venv/bin/python" -m awscli "$@"\n')
        aws.chmod(0o755)
        self._environment = stack.environment | {
            "PATH": f"{folder}:/usr/bin:/bin",
            "LEDGER": stack.outputs["LedgerTableName"],
            "SINCE": (datetime.now(UTC) - timedelta(hours=1)).isoformat(),
            "BEFORE_THE_DAMAGE": datetime.now(UTC).isoformat(),
        }

    def run(self, part, *, status=0, **variables):
        """The printed lines that are no log lines. The exit status must be `status`."""
        (block,) = [block for block in BLOCKS if part in block]
        done = subprocess.run(
            ["bash", "-c", f"set -euo pipefail\n{block}"],
            env=self._environment | variables,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stderr
        return [line for line in done.stdout.splitlines() if not line.startswith("{")]


@pytest.fixture
def drill(stack, tmp_path):
    return Drill(stack, tmp_path)


def test_a_ledger_that_lost_and_set_back_items_is_recovered_by_the_commands_of_the_drill(drill, stack, pipeline):
    table = stack.outputs["LedgerTableName"]
    deleted, older, damaged, later = (new_id(name) for name in ("DELETED", "OLDER", "DAMAGED", "LATER"))

    def key(order_id):
        return {"orderId": {"S": order_id}}

    waiting = {}
    with pipeline.without_finalize():
        pipeline.send([json.dumps({"orderId": order_id}) for order_id in (deleted, older, damaged)])
        for order_id in (deleted, older, damaged):
            pipeline.entry_when(order_id, lambda entry: entry.state == State.WAITING, "to wait")
            waiting[order_id] = pipeline.dynamodb.get_item(TableName=table, Key=key(order_id))["Item"]
    # The local stack restores a table as it is now, so the orders get the items that they had while they waited.
    assert drill.run("restore-table-to-point-in-time") == ["orders-restored"]
    for item in waiting.values():
        pipeline.dynamodb.put_item(TableName="orders-restored", Item=item)
    pipeline.send([json.dumps({"orderId": later})])
    before = {order_id: pipeline.ended(order_id) for order_id in (deleted, older, damaged, later)}
    for entry in before.values():
        assert pipeline.execution(entry)["Status"] == "SUCCEEDED"

    for order_id in (deleted, later):
        pipeline.dynamodb.delete_item(TableName=table, Key=key(order_id))
    pipeline.dynamodb.put_item(TableName=table, Item=waiting[older])
    pipeline.dynamodb.update_item(
        TableName=table,
        Key=key(damaged),
        UpdateExpression="SET #state = :unknown",
        ExpressionAttributeNames={"#state": "state"},
        ExpressionAttributeValues={":unknown": {"S": "ARCHIVED"}},
    )

    error, figures = drill.run("orders check", status=1)
    assert error.startswith(f"order {damaged}: its item has an unknown state")
    assert figures == "1 items cannot be read"
    drill.run("delete-item", ORDER_ID=damaged)
    (figures,) = drill.run("copy-back")
    assert figures.startswith("2 items copied, ")
    assert pipeline.ledger.get(deleted).state == State.WAITING
    (figures,) = drill.run("recover")
    assert figures.endswith(" 0 failed")

    assert drill.run("orders check") == ["0 items cannot be read"]
    for order_id, entry in before.items():
        after = pipeline.ledger.get(order_id)
        assert states(after) == COMPLETED
        assert (after.execution_arn, after.enrichment, after.result, after.order) == (
            entry.execution_arn,
            entry.enrichment,
            entry.result,
            entry.order,
        )
    recovered = {order_id: pipeline.ledger.get(order_id) for order_id in before}
    drill.run("recover")
    assert {order_id: pipeline.ledger.get(order_id) for order_id in before} == recovered
