"""A deployment while an order waits: that order keeps its version, and a new order gets the new version."""

import json
from uuid import uuid4

COMPLETED = ["RECEIVED", "ENRICHING", "ENRICHED", "WAITING", "FINALIZING", "COMPLETED"]


def test_a_waiting_order_completes_on_the_version_that_started_it(stack, pipeline):
    """The deployment changes only the value of a parameter. That alone must publish a version for the alias."""
    alias = pipeline.outputs["DurableOrderProcessorArn"]
    before = pipeline.functions.get_alias(FunctionName=alias.rpartition(":")[0], Name="prod")["FunctionVersion"]
    first, second = f"OLD-{uuid4().hex[:12]}", f"NEW-{uuid4().hex[:12]}"
    pipeline.send([json.dumps({"orderId": first})])
    pipeline.entry_when(first, lambda entry: entry.state == "WAITING", "to wait")

    stack.deploy({"LogLevel": "WARN"})
    after = pipeline.functions.get_alias(FunctionName=alias.rpartition(":")[0], Name="prod")["FunctionVersion"]
    assert int(after) > int(before)
    pipeline.send([json.dumps({"orderId": second})])

    for order_id, version in ((first, before), (second, after)):
        entry = pipeline.ended(order_id)
        assert [step.state.value for step in entry.history] == COMPLETED
        assert f":{version}/durable-execution/" in entry.execution_arn
        assert pipeline.execution(entry)["Version"] == version
