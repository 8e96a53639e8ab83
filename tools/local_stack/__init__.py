"""template.yaml running on this machine: one HTTP endpoint, no Docker, no AWS account.

`python -m tools.local_stack up` and `down` for people; for tests and demos:

    with local_stack(template=Path("template.yaml")) as stack:
        stack.client("sqs").send_message(QueueUrl=stack.outputs["OrdersQueueUrl"], MessageBody="...")
"""

from tools.local_stack.errors import LocalStackError
from tools.local_stack.lifecycle import LocalStack, local_stack

__all__ = ["LocalStack", "LocalStackError", "local_stack"]
