"""`make record`: runs an order of each kind on the local stack and records the event of each invocation.

The stack runs the unchanged template.yaml and src, with one more module, `recording.py`, which wraps the orchestrator's
handler. It takes a minute and replaces the files in `histories/`.
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

# In the stack's clock, which runs fast. Longer than Lambda's delay before it retries a crashed invocation.
WAIT_SECONDS = 60
TIME_SCALE = 20
MAX_WAIT_SECONDS = 300

# The order ids. `recording.py` injects the fault that the id names. After the last two have completed, another
# execution starts for each: with the same body, and with another one.
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
CUSTOMERS_KEY = (
    "      AttributeDefinitions:\n        - { AttributeName: customerId, AttributeType: S }\n      KeySchema:"
)
"""A line of the template that only the customers table has."""
AGAIN = {"COMPLETED-BEFORE": {}, "CONFLICT": {"currency": "EUR"}}
# For these the ledger is changed from outside after the wait. Only the invocations from then on are kept.
CHANGED_FROM_OUTSIDE = ("CANCELLED", "MOVED")


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
    """Copy the template and the sources, add the recording handler, and return the template and the output folder."""
    recordings = folder / "recordings"
    recordings.mkdir()
    shutil.copytree(ROOT / "src", folder / "src")
    shutil.copy(Path(__file__).with_name("recording.py"), folder / "src")
    text = (ROOT / "template.yaml").read_text()
    for before, after in {
        "Handler: orchestrator.handler.handler": "Handler: recording.handler",
        "          ENRICHER_ARN:": f"          RECORDINGS: {recordings}\n          ENRICHER_ARN:",
        # The enricher's error names the table, so the table has the same name in the replay.
        CUSTOMERS_KEY: f"      TableName: CustomersTable\n{CUSTOMERS_KEY}",
    }.items():
        assert text.count(before) == 1, f"template.yaml has changed: {before}"
        text = text.replace(before, after)
    template = folder / "template.yaml"
    template.write_text(text)
    return template, recordings


def run(stack):
    """Run every order to its end, and return the execution to record for each order id."""
    queue, functions = stack.client("sqs"), stack.client("lambda")
    # The enricher cannot read this customer, so it fails for orders that contain it.
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
    """Wait until the stack has `count` executions and all have ended, and return them."""
    functions = stack.client("lambda")
    name = stack.outputs["DurableOrderProcessorArn"].rpartition(":")[0]
    deadline = time.monotonic() + MAX_WAIT_SECONDS
    while time.monotonic() < deadline:
        found = functions.list_durable_executions_by_function(FunctionName=name)["DurableExecutions"]
        if len(found) == count and all(execution["Status"] in {"SUCCEEDED", "FAILED"} for execution in found):
            arns = [execution["DurableExecutionArn"] for execution in found]
            return [functions.get_durable_execution(DurableExecutionArn=arn) for arn in arns]
        time.sleep(0.5)
    raise TimeoutError(f"waited {MAX_WAIT_SECONDS} s for {count} executions to end: {found}")


def history_of(order_id, execution, recorded):
    mine = [one for one in recorded if one["event"]["DurableExecutionArn"] == execution["DurableExecutionArn"]]
    invocations = tuple(Invocation(event_of(one), plain(one["ledger"])) for one in mine)
    if order_id in CHANGED_FROM_OUTSIDE:
        invocations = tuple(one for one in invocations if "SUCCEEDED" in {op["Status"] for op in one.operations[1:2]})
    settings = {name: mine[0]["settings"][name] for name in SETTINGS}
    outcome = {name: execution[name] for name in ("Status", "Result", "Error") if name in execution}
    return History(order_id.lower(), settings, invocations, outcome)


def event_of(recorded):
    """Return the event without its token, which is valid for one invocation only."""
    return {name: value for name, value in recorded["event"].items() if name != "CheckpointToken"}


def plain(item):
    """Return a ledger item as JSON data. All its numbers are integers."""
    if item is None:
        return None
    value = TypeDeserializer().deserialize({"M": item})
    return json.loads(json.dumps(value, default=int))


if __name__ == "__main__":
    main()
