"""A deployment while orders wait: they end on the version they began with, new ones get the new."""

import json
from uuid import uuid4

COMPLETED = ["RECEIVED", "ENRICHING", "ENRICHED", "WAITING", "FINALIZING", "COMPLETED"]


def test_an_order_in_its_wait_is_finished_by_the_version_it_began_with(stack, pipeline):
    """The deployment changes one parameter's value and no code: that alone must reach the alias."""
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
