"""`orders dlq`."""

from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.types import PositiveInt

from tools.operations.queues import Queue, redrive
from tools.orders_cli.bulk import Yes, confirm
from tools.orders_cli.connection import ENVIRONMENT, Connection
from tools.orders_cli.failure import CommandFailed, WrongUsage
from tools.orders_cli.messages import show_list, show_one
from tools.orders_cli.output import Json, print_json, print_line, print_notice

_QUEUES = {
    "orders": ("OrdersDlqUrl", "OrdersQueueUrl"),
    "status-changes": ("StatusChangesDlqUrl", "StatusChangesQueueUrl"),
    "events": ("EventsDlqUrl", None),
}
"""Each dead-letter queue and the queue that its messages come from, as outputs of the stack.

The dead letters of events come from the ledger's stream. They say which records have no event."""


def dlq(
    action: Literal["list", "show", "redrive", "purge"] = "list",
    message_id: str | None = None,
    /,
    *,
    queue: Literal["orders", "status-changes", "events"] = "orders",
    per_second: Annotated[int, Parameter(name="--per-second")] = 50,
    limit: PositiveInt = 50,
    yes: Yes = False,
    json: Json = False,
    connection: Connection = ENVIRONMENT,
) -> None:
    """Look at a sample of the dead letters, move all back to their queue, or delete all.

    Parameters
    ----------
    action
        What to do.
    message_id
        The message, for show.
    queue
        The queue whose dead letters these are.
    per_second
        How many messages a redrive moves a second, at most 500.
    limit
        How many messages a list receives.
    """
    source, destination = _QUEUES[queue]
    dead = Queue(connection.sqs, connection.outputs[source])
    match action:
        case "list":
            show_list(dead, limit, json=json)
        case "show":
            if message_id is None:
                raise WrongUsage("name the message: orders dlq lists some, then orders dlq show MESSAGE_ID")
            show_one(dead, message_id, json=json)
        case "purge":
            confirm(f"delete all of about {dead.count()} dead letters of {queue}?", yes=yes)
            dead.purge()
            connection.log.write("purge", f"dead letters of {queue}", "purged")
            print_line(f"the dead letters of {queue} are purged; SQS takes up to a minute")
        case "redrive":
            if destination is None:
                raise WrongUsage("dead letters of events came from no queue: orders dlq show ID names their records")
            alive = Queue(connection.sqs, connection.outputs[destination])
            connection.log.write("redrive", f"dead letters of {queue}", "started")
            _redrive(dead, alive, per_second, json=json)


def _redrive(dead: Queue, alive: Queue, per_second: int, *, json: bool) -> None:
    for moved in redrive(dead, alive, per_second):
        if moved.status == "RUNNING":
            print_notice(f"{moved.messages} moved; the task goes on in SQS without this command")
    if json:
        print_json({"status": moved.status, "moved": moved.messages})
    else:
        print_line(f"{moved.status}: {moved.messages} moved")
    if moved.status != "COMPLETED":
        raise CommandFailed(f"the move is {moved.status}: no message is lost; run orders dlq redrive again")
