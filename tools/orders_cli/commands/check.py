"""`orders check`."""

from tools.operations.check import check as find_unreadable
from tools.orders_cli.connection import ENVIRONMENT, Connection
from tools.orders_cli.output import Json, print_json, print_line


def check(*, json: Json = False, connection: Connection = ENVIRONMENT) -> int:
    """Find the items of the ledger that no function can read. Reads the whole table and changes nothing."""
    wrong = [str(error) for error in find_unreadable(connection.ledger_items)]
    if json:
        print_json({"unreadable": wrong})
    else:
        for error in wrong:
            print_line(error)
        print_line(f"{len(wrong)} items cannot be read")
    return 1 if wrong else 0
