"""An execution's name, and what it says: which attempt of which order of which stack.

The name is `{8 hex}-{orderId}-{attempt}`. Lambda gives one name to one execution of a function, answers a
repeated start of the same payload with the execution that is there, and refuses another payload with 409:
that is what makes a start happen once. The hex is a hash of `AWS::StackId`, not of the stack's name: a stack
deleted and created again must not join the dead one's executions.

A name alone identifies nobody: once Lambda has forgotten it, it may run again. The ARN, which ends in a unique id,
identifies an execution.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from shared.errors import FieldError, InvalidOrder, TooManyAttempts
from shared.orders.order import Order

MAX_ATTEMPT: Final = 50
"""The last attempt an order may have. Its item, 400 KB at most, holds the history of this many with every text, ARN and
body as large as it can be, and can then still move and end (`tests/integration/test_item_size.py` counts it)."""

# Six digits of attempt are what fits Lambda's 64 characters. Those after MAX_ATTEMPT are read, to be refused.
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
        """The name for an order of the stack with this `AWS::StackId`.

        Raises ValueError for an attempt that is not in 1…MAX_ATTEMPT.
        """
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


def refuse_attempt_after_last(order_id: str, attempt: int) -> None:
    """Raise `TooManyAttempts` for an attempt after MAX_ATTEMPT."""
    if attempt > MAX_ATTEMPT:
        raise TooManyAttempts(f"attempt {attempt} of order {order_id}: an order has at most {MAX_ATTEMPT} attempts")


def stack_hash(stack_id: str) -> str:
    """The 8 hex digits that stand for a stack in its executions' names."""
    return hashlib.sha256(stack_id.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Execution:
    """An execution as the ledger knows it: the order it was started for, its ARN, and which attempt it says it is.

    An execution without a name counts as attempt 1 and is not `named`: only a name can say that it is a retry.
    """

    order_id: str
    arn: str
    attempt: int = 1
    named: bool = False


def execution_of(order: Order, execution_arn: str, stack_id: str) -> Execution:
    """The execution as the ledger knows it, by its ARN and the name in it.

    A direct invoke without a name of this stack's counts as attempt 1. Raises `InvalidOrder` where the name says
    another order's id: such an execution would answer for an order that it does not carry.
    """
    name = ExecutionName.in_arn(execution_arn)
    if name is None or name.stack != stack_hash(stack_id):
        return Execution(order.order_id, execution_arn)
    if name.order_id != order.order_id:
        raise InvalidOrder([FieldError("orderId", f"the execution is named for order {name.order_id}")])
    return Execution(order.order_id, execution_arn, name.attempt, named=True)
