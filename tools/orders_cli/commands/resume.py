"""`orders resume`."""

from datetime import UTC, datetime, timedelta

from shared.ledger.states import State
from tools.operations.pause import PauseFailed, Selection, resume_executions
from tools.orders_cli.connection import ENVIRONMENT, Connection
from tools.orders_cli.failure import CommandFailed, WrongUsage
from tools.orders_cli.output import Json, print_json, print_line


def resume(
    *order_ids: str,
    all: bool = False,  # noqa: A002 (the option's name)
    intake: bool = False,
    state: State | None = None,
    older_than: timedelta | None = None,
    job: str = "",
    json: Json = False,
    connection: Connection = ENVIRONMENT,
) -> None:
    """Resume what `orders pause` has paused, and nothing that someone else has paused.

    Parameters
    ----------
    order_ids
        Resume the executions of these orders.
    all
        Resume every execution, then intake.
    intake
        Resume intake.
    state
        Resume the executions of orders in this state.
    older_than
        Resume executions that started longer ago than this, such as 2h.
    job
        Resume only what the pause of this name has paused.
    """
    before = datetime.now(UTC) - older_than if older_than is not None else None
    selection = Selection(frozenset(order_ids), state, before)
    if not (all or intake or job or selection != Selection()):
        raise WrongUsage("nothing is selected: give ids, --state, --older-than, --job, --intake or --all")
    resumed = 0
    if all or job or selection != Selection():
        resumed = resume_executions(connection.running, connection.ledger, selection, job)
        whose = f" that orders:{job} paused" if job else ""
        connection.log.write("resume", f"{selection}{whose}", f"executions resumed: {resumed}")
    if all or intake:
        try:
            connection.intake.resume()
            connection.log.write("resume", "intake", "resumed")
        except PauseFailed as error:
            raise CommandFailed(str(error)) from None
    if json:
        print_json({"resumed": resumed, "intakeResumed": all or intake})
        return
    print_line(f"{resumed} executions are resumed")
    if all or intake:
        print_line("intake is resumed")
