"""`orders sweep`."""

from tools.operations.sweep import SWEPT, start_sweep
from tools.orders_cli.connection import ENVIRONMENT, Connection
from tools.orders_cli.output import print_line


def sweep(*, connection: Connection = ENVIRONMENT) -> None:
    """Start the sweep now, which runs every five minutes. It can run at any time, also beside another one."""
    start_sweep(connection.aws_lambda, connection.outputs["OrderSweepArn"])
    connection.log.write("sweep", SWEPT, "started")
    print_line("a sweep is started; orders stuck lists what it leaves")
