"""The order and the attempt of an execution, parsed from its ARN."""

import pytest

from shared.errors import InvalidOrder
from shared.executions.names import ExecutionName, execution_of
from shared.orders.order import parse_order
from tests.unit.executions import EXECUTION, OTHER_STACK_ID, RUN_ID, STACK_ID

ORDER = parse_order('{"orderId": "ORDER-123"}')


def arn_of(name):
    return f"{EXECUTION}/{name}/{RUN_ID}"


def test_a_named_execution_has_the_attempt_in_its_name():
    arn = arn_of(ExecutionName.of(STACK_ID, "ORDER-123", 7))
    me = execution_of(ORDER, arn, STACK_ID)
    assert (me.order_id, me.arn, me.attempt, me.named) == ("ORDER-123", arn, 7, True)


@pytest.mark.parametrize("name", [RUN_ID, "nightly-run", str(ExecutionName.of(OTHER_STACK_ID, "ORDER-123", 7))])
def test_an_execution_without_a_name_of_this_stacks_counts_as_attempt_one(name):
    me = execution_of(ORDER, arn_of(name), STACK_ID)
    assert (me.order_id, me.arn, me.attempt, me.named) == ("ORDER-123", arn_of(name), 1, False)


@pytest.mark.parametrize("order_id", ["ORDER-124", "ORDER-123-1", "ORDER"])
def test_an_execution_named_for_another_order_is_refused(order_id):
    with pytest.raises(InvalidOrder, match=f"orderId: the execution is named for order {order_id}"):
        execution_of(ORDER, arn_of(ExecutionName.of(STACK_ID, order_id, 1)), STACK_ID)
