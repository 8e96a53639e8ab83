"""ARNs and names of executions, and Lambda's response to a start."""

from shared.executions.names import ExecutionName

STACK_ID = "arn:aws:cloudformation:us-east-1:123456789012:stack/orders/51af3dc0-da77-11e4-872e-1234567db123"
OTHER_STACK_ID = "arn:aws:cloudformation:us-east-1:123456789012:stack/orders/51af3dc0-da77-11e4-872e-000000000000"
ALIAS = "arn:aws:lambda:us-east-1:123456789012:function:orders-DurableOrderProcessor:prod"
EXECUTION = "arn:aws:lambda:us-east-1:123456789012:function:orders-DurableOrderProcessor:7/durable-execution"
RUN_ID = "0b7d2f2e-3a7e-4ad4-9d7c-6f1df0c5c8a1"


def name_of(order_id, attempt=1, stack_id=STACK_ID):
    return str(ExecutionName.of(stack_id, order_id, attempt))


def started(name):
    return 202, {"X-Amz-Durable-Execution-Arn": f"{EXECUTION}/{name}/{RUN_ID}"}, b""
