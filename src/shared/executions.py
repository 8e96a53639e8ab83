"""An order's execution: its name, and how it is started.

The name is `{8 hex}-{orderId}-{attempt}`. Lambda gives one name to one execution of a function, answers a
repeated start of the same payload with the execution that is there, and refuses another payload with 409:
that is what makes a start happen once. The hex is a hash of `AWS::StackId`, not of the stack's name: a stack
deleted and created again must not join the dead one's executions.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

from shared.clients import may_pass
from shared.errors import OrderConflict, StartUnavailable
from shared.order import Order

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

MAX_ATTEMPT: Final = 999_999
"""The largest attempt whose name fits Lambda's 64 characters beside 8 hex, two dashes and 48 of order id."""

_NAME: Final = re.compile(r"([0-9a-f]{8})-([A-Za-z0-9][A-Za-z0-9_-]{0,47})-([1-9][0-9]{0,5})", re.ASCII)
# arn:aws:lambda:REGION:ACCOUNT:function:FUNCTION:VERSION/durable-execution/NAME/ID (botocore, DurableExecutionArn)
_ARN: Final = re.compile(r"[^/]+/durable-execution/([A-Za-z0-9_-]+)/[A-Za-z0-9_-]+", re.ASCII)


@dataclass(frozen=True)
class ExecutionName:
    """The name of one attempt of one order in one stack."""

    stack: str
    order_id: str
    attempt: int

    def __str__(self) -> str:
        return f"{self.stack}-{self.order_id}-{self.attempt}"

    @classmethod
    def of(cls, stack_id: str, order_id: str, attempt: int) -> "ExecutionName":
        """The name for an order of the stack with this `AWS::StackId`. Raises ValueError for no attempt 1…999999."""
        if not 1 <= attempt <= MAX_ATTEMPT:
            raise ValueError(f"attempt {attempt} is not in 1…{MAX_ATTEMPT}")
        return cls(stack_hash(stack_id), order_id, attempt)

    @classmethod
    def parse(cls, text: str) -> "ExecutionName | None":
        """The name's parts, or None for a name of another form."""
        match = _NAME.fullmatch(text)
        return cls(match[1], match[2], int(match[3])) if match else None

    @classmethod
    def in_arn(cls, execution_arn: str) -> "ExecutionName | None":
        """The pipeline's name in an execution's ARN, or None where the execution was started without one."""
        match = _ARN.fullmatch(execution_arn)
        return cls.parse(match[1]) if match else None


def stack_hash(stack_id: str) -> str:
    """The 8 hex digits that stand for a stack in its executions' names."""
    return hashlib.sha256(stack_id.encode()).hexdigest()[:8]


class OrderExecutions:
    """Starts the orchestrator's executions through its alias."""

    def __init__(self, client: "LambdaClient", orchestrator_arn: str, stack_id: str) -> None:
        """`orchestrator_arn` is the alias's ARN: Lambda refuses to start a durable function without a qualifier."""
        self._client = client
        self._orchestrator_arn = orchestrator_arn
        self._stack_id = stack_id

    def start(self, order: Order, attempt: int = 1) -> str:
        """Start the attempt, or join it where it was started before, and answer its execution's ARN.

        Raises `OrderConflict` when the name is taken by another body, `StartUnavailable` when Lambda
        throttles, fails or does not answer; any other refusal of Lambda's is raised as it came.
        """
        name = ExecutionName.of(self._stack_id, order.order_id, attempt)
        try:
            response = self._client.invoke(
                FunctionName=self._orchestrator_arn,
                InvocationType="Event",
                DurableExecutionName=str(name),
                Payload=order.canonical_bytes(),
            )
            # botocore gives the connection back to its pool only when the body was read.
            response["Payload"].read()
        except ClientError as error:
            # By its code: botocore builds `client.exceptions` on first use, and threads that do so together do not
            # all catch the class that is raised.
            if error.response["Error"]["Code"] == "DurableExecutionAlreadyStartedException":
                raise OrderConflict(f"order {order.order_id} was already started with another body") from None
            if may_pass(error):
                raise StartUnavailable(f"Lambda did not take the start: {error}") from error
            raise
        except BotoCoreError as error:
            raise StartUnavailable(f"Lambda did not answer the start: {error}") from error
        return response["DurableExecutionArn"]
