"""`orders copy-back`."""

from typing import Annotated

from cyclopts import Parameter

from tools.operations import copy_back as operation
from tools.operations.ledger_items import LedgerItems
from tools.orders_cli.connection import ENVIRONMENT, Connection
from tools.orders_cli.output import Json, print_json, print_line


def copy_back(
    *, from_: Annotated[str, Parameter(name="--from")], json: Json = False, connection: Connection = ENVIRONMENT
) -> int:
    """Copy what the ledger lacks from a restored table. It can be stopped and run again.

    Parameters
    ----------
    from_
        The restored table.
    """
    done = operation.copy_back(LedgerItems(connection.dynamodb, from_), connection.ledger_items)
    connection.log.write("copy-back", from_, f"{done.copied} items copied")
    if json:
        print_json({"copied": done.copied, "kept": done.kept, "unreadable": done.unreadable})
    else:
        for error in done.unreadable:
            print_line(error)
        print_line(f"{done.copied} items copied, {done.kept} kept, {len(done.unreadable)} not readable")
    return 1 if done.unreadable else 0
