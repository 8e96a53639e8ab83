"""`orders recover`."""

import sys
from datetime import datetime, timedelta
from typing import Annotated

from cyclopts import Parameter

from reconciler.examiner import Examiner
from reconciler.marks import Marks
from reconciler.pace import Pace
from reconciler.sweep import LOOKBACK
from shared.aws.logs import logger
from shared.aws.rejected_orders import RejectedOrders
from tools.operations import recover as operation
from tools.operations.recover import READS_PER_SECOND, Recovery
from tools.orders_cli.connection import ENVIRONMENT, Connection
from tools.orders_cli.output import Json, print_json, print_line, print_notice
from tools.orders_cli.where import past_time


def recover(
    *,
    since: Annotated[datetime, Parameter(converter=past_time)],
    json: Json = False,
    connection: Connection = ENVIRONMENT,
) -> int:
    """Bring the ends of executions to the ledger. It can be stopped and run again.

    Parameters
    ----------
    since
        The start of the oldest execution to recover, such as 2026-01-31T00:00Z, or its age, such as 2d.
    """
    examiner = Examiner(
        connection.ledger,
        connection.executions,
        RejectedOrders(connection.sqs, connection.outputs["RejectedOrdersQueueUrl"]),
        Marks(
            connection.dynamodb,
            connection.outputs["OperationsTableName"],
            keep=LOOKBACK + timedelta(seconds=int(connection.parameters["ExecutionTimeoutSeconds"])),
        ),
        Pace(READS_PER_SECOND),
        logger("recover", sys.stderr),
    )
    done = operation.recover(since, examiner, connection.ledger_items, _show_progress)
    figures = {
        "listed": done.listed,
        "differ": done.differ,
        "examined": done.examined,
        "failed": len(done.failed),
    }
    text = ", ".join(f"{count} {name}" for name, count in figures.items())
    connection.log.write("recover", f"since {since.isoformat()}", text)
    if json:
        print_json({**figures, "failed": done.failed})
    else:
        for error in done.failed:
            print_line(error)
        print_line(text)
    return 1 if done.failed else 0


def _show_progress(now: Recovery) -> None:
    if now.examined % 100 == 0:
        print_notice(f"{now.listed} listed, {now.differ} differ, {now.examined} examined")
