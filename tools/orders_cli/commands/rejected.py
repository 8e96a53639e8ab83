"""`orders rejected`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.types import PositiveInt

from tools.operations.queues import Queue
from tools.operations.resend import resend
from tools.orders_cli.bulk import Yes, confirm
from tools.orders_cli.connection import ENVIRONMENT, Connection
from tools.orders_cli.failure import CommandFailed, WrongUsage
from tools.orders_cli.messages import MOST, known, show_list, show_one
from tools.orders_cli.output import Json, print_line


def rejected(
    action: Literal["list", "show", "resend", "purge"] = "list",
    message_id: str | None = None,
    /,
    *,
    with_: Annotated[Path | None, Parameter(name="--with")] = None,
    limit: PositiveInt = 50,
    yes: Yes = False,
    json: Json = False,
    connection: Connection = ENVIRONMENT,
) -> None:
    """Look at a sample of the rejected messages, send one again, or delete all.

    Parameters
    ----------
    action
        What to do. resend sends first and deletes then.
    message_id
        The message, for show and resend.
    with_
        A file with the corrected body, for resend.
    limit
        How many messages a list receives.
    """
    queue = Queue(connection.sqs, connection.outputs["RejectedOrdersQueueUrl"])
    if action == "list":
        show_list(queue, limit, json=json)
    elif action == "purge":
        confirm(f"delete all of about {queue.count()} rejected messages?", yes=yes)
        queue.purge()
        connection.log.write("purge", "rejected-orders queue", "purged")
        print_line("the rejected-orders queue is purged; SQS takes up to a minute")
    elif message_id is None:
        raise WrongUsage(f"name the message: orders rejected lists some, then orders rejected {action} MESSAGE_ID")
    elif action == "show":
        show_one(queue, message_id, json=json)
    else:
        body = None if with_ is None else _read(with_)
        with queue.find(message_id, MOST) as found:
            message = known(found, message_id)
            sent = resend(connection.sqs, queue.url, connection.outputs["OrdersQueueUrl"], message.message, body)
        connection.log.write("resend", f"message {message_id}", f"sent as {sent}")
        print_line(f"message {message_id} is sent again as {sent}, and no longer rejected")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"{path} cannot be read: {error}; name a file with the corrected body") from None
