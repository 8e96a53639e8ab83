"""`orders pause`."""

from datetime import UTC, datetime, timedelta

from shared.aws.clock import timestamp
from shared.ledger.states import State
from tools.operations.pause import PauseFailed, Selection, pause_executions
from tools.orders_cli.connection import ENVIRONMENT, Connection
from tools.orders_cli.failure import CommandFailed, WrongUsage
from tools.orders_cli.output import Json, print_json, print_line, print_notice


def pause(
    *order_ids: str,
    all: bool = False,  # noqa: A002 (the option's name)
    intake: bool = False,
    state: State | None = None,
    older_than: timedelta | None = None,
    job: str | None = None,
    json: Json = False,
    connection: Connection = ENVIRONMENT,
) -> None:
    """Pause intake, running executions, or all. It can be run again after an interruption.

    Parameters
    ----------
    order_ids
        Pause the executions of these orders.
    all
        Pause intake, wait until ingest is idle, then pause every execution.
    intake
        Pause intake: messages stay in the queue.
    state
        Pause the executions of orders in this state.
    older_than
        Pause executions that started longer ago than this, such as 2h.
    job
        The name of the pause, for resume. By default the time.
    """
    now = datetime.now(UTC)
    selection = Selection(frozenset(order_ids), state, now - older_than if older_than is not None else None)
    if not (all or intake or selection != Selection()):
        raise WrongUsage("nothing is selected: give ids, --state, --older-than, --intake or --all")
    job = job or f"pause-{now:%Y%m%dT%H%M%S}"
    paused, expires = 0, None
    try:
        if all or intake:
            print_notice("pausing intake …")
            connection.intake.pause()
            connection.log.write("pause", "intake", "paused")
            expires = timestamp(connection.intake.expires(now))
        if all or selection != Selection():
            print_notice("pausing executions …")
            paused = pause_executions(connection.running, connection.ledger, selection, job)
            connection.log.write("pause", str(selection), f"executions paused by orders:{job}: {paused}")
    except PauseFailed as error:
        raise CommandFailed(str(error)) from None
    if json:
        print_json({"job": job, "paused": paused, "intakePaused": all or intake, "resumeIntakeBy": expires})
        return
    print_line(f"{paused} executions are paused, with the reason orders:{job}")
    if expires is not None:
        print_line(f"intake is paused; resume it before {expires}, when the oldest message expires")
