"""template.yaml running on this machine: one HTTP endpoint, no Docker, no AWS account.

`python -m durable_local up` and `down` for people; for tests and demos:

    with local_stack(template=Path("template.yaml")) as stack:
        stack.client("sqs").send_message(QueueUrl=stack.outputs["OrdersQueueUrl"], MessageBody="...")
"""

from durable_local.errors import LocalStackError
from durable_local.lifecycle import LocalStack, local_stack

__all__ = ["LocalStack", "LocalStackError", "local_stack"]
