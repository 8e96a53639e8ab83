"""`orders console`."""

from durable_local.console import run
from durable_local.errors import LocalStackError
from tools.console.app import app
from tools.console.desk import Desk
from tools.orders_cli.connection import ENVIRONMENT, Connection
from tools.orders_cli.failure import CommandFailed


def console(
    *,
    port: int = 0,
    read_only: bool = False,
    connection: Connection = ENVIRONMENT,
) -> None:
    """Serve pages that show the pipeline and act on it, for the browser of this machine's user, until Ctrl-C.

    Open the printed address: nobody else has it. The pages use your own credentials.

    Parameters
    ----------
    port
        The port on 127.0.0.1, by default any free one.
    read_only
        Show everything, change nothing.
    """
    desk = Desk(connection)
    try:
        run(lambda guard: app(desk, guard), port, read_only=read_only)
    except LocalStackError as error:
        raise CommandFailed(str(error)) from None
