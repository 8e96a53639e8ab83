"""Which order and attempt an execution speaks for."""

from shared.errors import FieldError, InvalidOrder
from shared.executions import ExecutionName, stack_hash
from shared.ledger import Execution
from shared.order import Order


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
