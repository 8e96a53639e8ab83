"""Execution names: the stack, the order and the attempt that an execution was started for.

The name is `{8 hex}-{orderId}-{attempt}`. A name belongs to one execution of a function. When a start is repeated with
the same payload, Lambda returns the existing execution; with another payload it answers 409. So an order is started
once. The hex is a hash of `AWS::StackId`, not of the stack's name: when a stack is deleted and created again, it must
not join the executions of the old one.

A name does not identify an execution: after its retention Lambda forgets the name, and it can be started again. The ARN
does, since it ends in a unique id.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from shared.errors import FieldError, InvalidOrder, TooManyAttempts
from shared.orders.order import Order

MAX_ATTEMPT: Final = 50
"""The last attempt that an order may have. With the history of this many attempts, and every text, ARN and body at its
limit, the item is below 400 KB and can still be updated (`tests/integration/test_item_size.py` counts it)."""

# Lambda's 64 characters leave six digits for the attempt. Attempts after MAX_ATTEMPT are parsed, to be refused.
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
        """The name's parts, or None for a name in another format."""
        match = _NAME.fullmatch(text)
        return cls(match[1], match[2], int(match[3])) if match else None

    @classmethod
    def in_arn(cls, execution_arn: str) -> "ExecutionName | None":
        """The name in an execution's ARN, or None when it is not one of the pipeline's names."""
        match = _ARN.fullmatch(execution_arn)
        return cls.parse(match[1]) if match else None


def refuse_attempt_after_last(order_id: str, attempt: int) -> None:
    """Raise `TooManyAttempts` for an attempt after MAX_ATTEMPT."""
    if attempt > MAX_ATTEMPT:
        raise TooManyAttempts(f"attempt {attempt} of order {order_id}: an order has at most {MAX_ATTEMPT} attempts")


def stack_hash(stack_id: str) -> str:
    """The 8 hex digits for a stack in its executions' names."""
    return hashlib.sha256(stack_id.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class OrderExecution:
    """One execution of an order, as it claims the order in the ledger: order id, ARN and attempt.

    An execution without a name is attempt 1 and not `named`: only a name can say that an execution is a retry.
    """

    order_id: str
    arn: str
    attempt: int = 1
    named: bool = False


def execution_of(order: Order, execution_arn: str, stack_id: str) -> OrderExecution:
    """The order's execution with this ARN; the attempt is parsed from the name in the ARN.

    A direct invoke without a name of this stack is attempt 1. Raises `InvalidOrder` when the name has the id of another
    order: that order's entry must not depend on this execution.
    """
    name = ExecutionName.in_arn(execution_arn)
    if name is None or name.stack != stack_hash(stack_id):
        return OrderExecution(order.order_id, execution_arn)
    if name.order_id != order.order_id:
        raise InvalidOrder([FieldError("orderId", f"the execution is named for order {name.order_id}")])
    return OrderExecution(order.order_id, execution_arn, name.attempt, named=True)
