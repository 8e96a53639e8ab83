"""Runs a SAM template with durable functions on this machine: one HTTP endpoint, no Docker, no AWS account.

`durable-local up template.yaml` for people; for tests and programs:

    with local_stack(template=Path("template.yaml")) as stack:
        stack.client("sqs").send_message(QueueUrl=stack.outputs["QueueUrl"], MessageBody="...")
"""

from durable_local.errors import LocalStackError
from durable_local.lifecycle import LocalStack, local_stack

__all__ = ["LocalStack", "LocalStackError", "local_stack"]
