"""Starts the reconciler's sweep now. EventBridge starts it every five minutes."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

SWEPT: Final = "ledger and executions"
"""What a sweep is about, in the operations log."""


def start_sweep(client: "LambdaClient", function: str) -> None:
    """Start one sweep. `function`: its ARN, the stack's output OrderSweepArn. Raises botocore's errors.

    It does not wait for the end, which can be minutes away; the sweep's log and metrics have the result.
    """
    client.invoke(FunctionName=function, InvocationType="Event")
