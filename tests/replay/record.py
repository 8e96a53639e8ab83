"""`make record`: run an order of each kind on the local stack, and keep what Lambda handed the orchestrator each time.

The stack runs template.yaml and src as they are, with one module more, `recording.py`, in front of the orchestrator's
handler. It takes a minute, and writes `histories/` anew.
"""

import json
import shutil
import tempfile
import time
from pathlib import Path

from boto3.dynamodb.types import TypeDeserializer

from tests.replay.history import FOLDER, History, Invocation
from tools.pipeline import local_stack

ROOT = Path(__file__).parents[2]
SETTINGS = ("EXECUTION_TIMEOUT_SECONDS", "STACK_ID", "WAIT_SECONDS")

# Of the stack's clock, which runs fast: longer than Lambda waits before it tries an invocation that died again.
WAIT_SECONDS = 60
TIME_SCALE = 20
PATIENCE_S = 300

# Each order by its id; `recording.py` says what befalls it. The last two come again, by another execution, when they
# have completed: as they were, and with another body.
ORDERS = (
    "COMPLETED",
    "ENRICHER-AWAY",
    "LEDGER-AWAY",
    "FAILED",
    "CANCELLED",
    "MOVED",
    "COMPLETED-BEFORE",
    "CONFLICT",
)
AGAIN = {"COMPLETED-BEFORE": {}, "CONFLICT": {"currency": "EUR"}}
# Of these what counts begins after the wait: that is when someone else changes the ledger.
MEDDLED_WITH = ("CANCELLED", "MOVED")


def main():
    with tempfile.TemporaryDirectory() as folder:
        template, recordings = deployable(Path(folder))
        parameters = {"WaitSeconds": str(WAIT_SECONDS)}
        with local_stack(template=template, parameters=parameters, time_scale=TIME_SCALE) as stack:
            executions = run(stack)
        recorded = [json.loads(path.read_text()) for path in sorted(recordings.iterdir())]
    for path in FOLDER.glob("*.json"):
        path.unlink()
    for order_id, execution in executions.items():
        history = history_of(order_id, execution, recorded)
        history.write()
        print(f"{history.name}: {history.outcome['Status']} after {len(history.invocations)} invocations")


def deployable(folder):
    """A copy of what is deployed, with the recording handler in it; and where that will write."""
    recordings = folder / "recordings"
    recordings.mkdir()
    shutil.copytree(ROOT / "src", folder / "src")
    shutil.copy(Path(__file__).with_name("recording.py"), folder / "src")
    text = (ROOT / "template.yaml").read_text()
    for before, after in {
        "Handler: orchestrator.handler.handler": "Handler: recording.handler",
        "          ENRICHER_ARN:": f"          RECORDINGS: {recordings}\n          ENRICHER_ARN:",
    }.items():
        assert text.count(before) == 1, f"template.yaml has changed: {before}"
        text = text.replace(before, after)
    template = folder / "template.yaml"
    template.write_text(text)
    return template, recordings


def run(stack):
    """Run every order to its end; what Lambda says of the executions that count, by order id."""
    queue, functions = stack.client("sqs"), stack.client("lambda")
    # The enricher cannot read this customer, and so fails for whoever names it.
    stack.client("dynamodb").put_item(
        TableName=stack.outputs["CustomersTableName"], Item={"customerId": {"S": "BROKEN"}, "tier": {"N": "1"}}
    )
    for order_id in ORDERS:
        queue.send_message(QueueUrl=stack.outputs["OrdersQueueUrl"], MessageBody=body(order_id))
    executions = {order_id_of(execution): execution for execution in ended(stack, len(ORDERS))}
    for order_id, change in AGAIN.items():
        functions.invoke(
            FunctionName=stack.outputs["DurableOrderProcessorArn"],
            InvocationType="Event",
            DurableExecutionName=f"again-{order_id}",
            Payload=body(order_id, **change),
        )
    for execution in ended(stack, len(ORDERS) + len(AGAIN)):
        if execution["DurableExecutionName"].startswith("again-"):
            executions[order_id_of(execution)] = execution
    return executions


def body(order_id, **change):
    items = [{"sku": "CD-BUNDLE", "quantity": 3, "unitPrice": "9.99"}]
    customer = {"customerId": "BROKEN"} if order_id == "FAILED" else {}
    return json.dumps({"orderId": order_id, "items": items, "currency": "USD", **customer, **change})


def order_id_of(execution):
    return json.loads(execution["InputPayload"])["orderId"]


def ended(stack, count):
    """The stack's executions, once there are so many and all have ended."""
    functions = stack.client("lambda")
    name = stack.outputs["DurableOrderProcessorArn"].rpartition(":")[0]
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = functions.list_durable_executions_by_function(FunctionName=name)["DurableExecutions"]
        if len(found) == count and all(execution["Status"] in {"SUCCEEDED", "FAILED"} for execution in found):
            arns = [execution["DurableExecutionArn"] for execution in found]
            return [functions.get_durable_execution(DurableExecutionArn=arn) for arn in arns]
        time.sleep(0.5)
    raise TimeoutError(f"waited {PATIENCE_S} s for {count} executions to end: {found}")


def history_of(order_id, execution, recorded):
    mine = [one for one in recorded if one["event"]["DurableExecutionArn"] == execution["DurableExecutionArn"]]
    invocations = tuple(Invocation(event_of(one), plain(one["ledger"])) for one in mine)
    if order_id in MEDDLED_WITH:
        invocations = tuple(one for one in invocations if "SUCCEEDED" in {op["Status"] for op in one.operations[1:2]})
    settings = {name: mine[0]["settings"][name] for name in SETTINGS}
    outcome = {name: execution[name] for name in ("Status", "Result", "Error") if name in execution}
    return History(order_id.lower(), settings, invocations, outcome)


def event_of(recorded):
    """The event without its token: that was good for one invocation."""
    return {name: value for name, value in recorded["event"].items() if name != "CheckpointToken"}


def plain(item):
    """A ledger item as plain data; its numbers are counts."""
    if item is None:
        return None
    value = TypeDeserializer().deserialize({"M": item})
    return json.loads(json.dumps(value, default=int))


if __name__ == "__main__":
    main()
