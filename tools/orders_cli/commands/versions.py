"""`orders versions`."""

from tools.operations.versions import versions as operation
from tools.orders_cli.connection import ENVIRONMENT, Connection
from tools.orders_cli.output import Json, print_json, print_table


def versions(*, json: Json = False, connection: Connection = ENVIRONMENT) -> None:
    """Count the running orders of each published version: an old one may go when it has none."""
    found = operation(connection.aws_lambda, connection.outputs["DurableOrderProcessorArn"])
    if json:
        print_json(
            [
                {"version": one.version, "running": one.running, "current": one.is_current, "mayGo": one.may_go}
                for one in found
            ]
        )
        return
    print_table(
        ("version", "running", ""),
        (
            (one.version, one.running, "current" if one.is_current else "may go" if one.may_go else "is needed")
            for one in found
        ),
    )
