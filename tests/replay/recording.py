"""Wraps the orchestrator's handler while histories are recorded on the local stack.

It records each event and the order's ledger item at that time. After each checkpoint it exits the process, like a
crash, so the execution is resumed and recorded at every possible point. The order's id names a further fault.
"""

import json
import os
from contextlib import ExitStack, nullcontext
from pathlib import Path
from threading import Event
from unittest.mock import patch

import boto3

boto3.setup_default_session()
# This comes before the import below, which creates the client. Lambda has stored the checkpoint when the process exits.
boto3.DEFAULT_SESSION.events.register("after-call.lambda.CheckpointDurableExecution", lambda **_: os._exit(1))

from orchestrator import handler as orchestrator  # noqa: E402
from orchestrator import steps  # noqa: E402
from orchestrator.enricher import Enricher  # noqa: E402
from shared.errors import EnricherUnavailable, LedgerUnavailable  # noqa: E402
from shared.ledger.entry import state_shard  # noqa: E402
from shared.ledger.owner import Ledger  # noqa: E402
from shared.ledger.states import State  # noqa: E402

DIRECTORY = Path(os.environ["RECORDINGS"])
dynamodb = boto3.client("dynamodb")


def handler(event, context):
    """Record the invocation, inject the fault that the order's id names, and call the orchestrator."""
    execution, *operations = event["InitialExecutionState"]["Operations"]
    operations = {operation["Name"]: operation for operation in operations}
    order_id = json.loads(execution["ExecutionDetails"]["InputPayload"])["orderId"]
    if operations.get("wait", {}).get("Status") == "SUCCEEDED" and "finalize" not in operations:
        change_from_outside(order_id)
    item = dynamodb.get_item(**entry(order_id), ConsistentRead=True).get("Item")
    record = {"event": event, "ledger": item, "settings": dict(os.environ)}
    number = len(list(DIRECTORY.iterdir()))
    (DIRECTORY / f"{number:04}.json").write_text(json.dumps(record))
    with ExitStack() as circumstances:
        circumstances.enter_context(outage(order_id, operations))
        for name in ("enrich", "finalize", "record-failure"):
            if operations.get(name, {}).get("Status") != "STARTED":
                circumstances.enter_context(blocked(name))
        return orchestrator.handler(event, context)


def blocked(name):
    """Block the step until its start is checkpointed, so that one checkpoint never contains its start and its end."""
    return patch.object(steps, name.replace("-", "_"), side_effect=lambda *_: Event().wait())


def entry(order_id):
    return {"TableName": os.environ["LEDGER_TABLE"], "Key": {"orderId": {"S": order_id}}}


def change_from_outside(order_id):
    """Change the ledger while the order waits, as another process would."""
    state = {"CANCELLED": State.CANCELLED, "MOVED": State.ENRICHING}.get(order_id)
    if state is not None:
        dynamodb.update_item(
            **entry(order_id),
            UpdateExpression="SET #state = :state, stateShard = :shard",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":state": {"S": state}, ":shard": {"S": state_shard(state, order_id)}},
        )


def outage(order_id, operations):
    """Make the ledger or the enricher unavailable until the step that calls it has failed once."""

    def first_attempt_at(name):
        return operations.get(name, {}).get("StepDetails", {}).get("Attempt", 0) == 0

    match order_id:
        case "ENRICHER-AWAY" if first_attempt_at("enrich"):
            return patch.object(Enricher, "enrich", side_effect=EnricherUnavailable("away"))
        case "LEDGER-AWAY" if first_attempt_at("finalize"):
            return patch.object(Ledger, "finalizing", side_effect=LedgerUnavailable("away"))
        case "FAILED" if first_attempt_at("record-failure"):
            return patch.object(Ledger, "failed", side_effect=LedgerUnavailable("away"))
        case _:
            return nullcontext()
