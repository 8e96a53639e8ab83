"""`orders invoke`."""

import sys
from json import loads
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from shared.orders.order import Order, order_from, parse_order
from tools.orders_cli.connection import ENVIRONMENT, Connection
from tools.orders_cli.failure import CommandFailed
from tools.orders_cli.output import Json, print_json, print_line


def invoke(
    source: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    async_: Annotated[bool, Parameter(name="--async")] = False,
    json: Json = False,
    connection: Connection = ENVIRONMENT,
) -> int:
    """Invoke the orchestrator's alias with an order, and wait for its result.

    Parameters
    ----------
    source
        A file with one order in JSON, - for standard input, or the id of an order that has no other field.
    async_
        Start the order under its execution name, as ingest does, and do not wait.
    """
    order = _order(source)
    if async_:
        execution_arn = connection.executions.start(order)
        shown = {"orderId": order.order_id, "executionArn": execution_arn}
        print_json(shown) if json else print_line(f"order {order.order_id} is started as {execution_arn}")
        return 0
    response = connection.synchronous_lambda.invoke(
        FunctionName=connection.outputs["DurableOrderProcessorArn"], Payload=order.canonical_bytes()
    )
    text = response["Payload"].read().decode()
    if not response.get("FunctionError"):
        print_json(loads(text))
        return 0
    error = loads(text)
    raise CommandFailed(
        f"{error.get('errorType')}: {error.get('errorMessage')} (orders get {order.order_id} shows the order)"
    )


def _order(source: str) -> Order:
    if source == "-":
        return parse_order(sys.stdin.read())
    if Path(source).is_file():
        return parse_order(Path(source).read_text(encoding="utf-8-sig", errors="surrogateescape"))
    return order_from({"orderId": source})
