"""Stands in for the orchestrator's handler while histories are recorded: deployed beside it, on the local stack.

It writes down what Lambda hands the handler and what the ledger says of the order at that time, and ends its process
after every checkpoint, as a crash would: so the execution is resumed from every point there is, and each is recorded.
What else befalls an order is named by its id.
"""

import json
import os
from contextlib import ExitStack, nullcontext
from pathlib import Path
from threading import Event
from unittest.mock import patch

import boto3

boto3.setup_default_session()
# Before the import below makes the client. Lambda has the checkpoint by then; only its answer does not arrive.
boto3.DEFAULT_SESSION.events.register("after-call.lambda.CheckpointDurableExecution", lambda **_: os._exit(1))

from orchestrator import handler as orchestrator  # noqa: E402
from orchestrator import steps  # noqa: E402
from orchestrator.enricher import Enricher  # noqa: E402
from shared.errors import EnricherUnavailable, LedgerUnavailable  # noqa: E402
from shared.ledger.owner import Ledger  # noqa: E402

DIRECTORY = Path(os.environ["RECORDINGS"])
dynamodb = boto3.client("dynamodb")


def handler(event, context):
    """Write the invocation down, let befall the order what its id says, and go on as the orchestrator does."""
    execution, *operations = event["InitialExecutionState"]["Operations"]
    operations = {operation["Name"]: operation for operation in operations}
    order_id = json.loads(execution["ExecutionDetails"]["InputPayload"])["orderId"]
    if operations.get("wait", {}).get("Status") == "SUCCEEDED" and "finalize" not in operations:
        meddle(order_id)
    item = dynamodb.get_item(**entry(order_id), ConsistentRead=True).get("Item")
    record = {"event": event, "ledger": item, "settings": dict(os.environ)}
    number = len(list(DIRECTORY.iterdir()))
    (DIRECTORY / f"{number:04}.json").write_text(json.dumps(record))
    with ExitStack() as circumstances:
        circumstances.enter_context(outage(order_id, operations))
        for name in ("enrich", "finalize", "record-failure"):
            if operations.get(name, {}).get("Status") != "STARTED":
                circumstances.enter_context(unbegun(name))
        return orchestrator.handler(event, context)


def unbegun(name):
    """The step waits until its beginning is checkpointed, which ends the process: else its end might be with it."""
    return patch.object(steps, name.replace("-", "_"), side_effect=lambda *_: Event().wait())


def entry(order_id):
    return {"TableName": os.environ["LEDGER_TABLE"], "Key": {"orderId": {"S": order_id}}}


def meddle(order_id):
    """Someone else changes the ledger while the order waits."""
    state = {"CANCELLED": "CANCELLED", "MOVED": "ENRICHING"}.get(order_id)
    if state is not None:
        dynamodb.update_item(
            **entry(order_id),
            UpdateExpression="SET #state = :state",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":state": {"S": state}},
        )


def outage(order_id, operations):
    """What the order needs next is away, until the step that needs it has failed once."""

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
