"""What a person can do to one order: in words, as a function of tools/operations, and as a command."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from durable_local.console.actions import Field
from shared.errors import IllegalTransition, OrderUnknown
from shared.ledger.entry import LedgerEntry
from tools.operations.bulk import ACTS_ON, OPEN
from tools.operations.cancel import cancel
from tools.operations.retry import retry
from tools.orders_cli.connection import Connection

Form = Mapping[str, str]

HANDLE: Final = "console"
"""The name of a pause from here: `orders resume --job console` resumes all of them."""


@dataclass(frozen=True)
class OrderAction:
    """`says`: what it will do. `run` gets the order's id and the form, and returns what happened, for the log too.

    `name` is the action in the operations log. `command`: the words after `orders`; none: there is no such command.
    """

    title: str
    says: str
    name: str
    run: Callable[[Connection, str, Form], str]
    command: Callable[[str], list[str]] | None
    is_final: bool = False
    is_harmful: bool = False
    fields: tuple[Field, ...] = ()


def _cancel(connection: Connection, order_id: str, given: Form) -> str:
    entry = cancel(order_id, connection.ledger, connection.executions, given.get("reason") or None)
    return f"state {entry.state}"


def _retry(connection: Connection, order_id: str, given: Form, *, from_finalize: bool = False) -> str:
    # The attempt that the person saw: a second click, or somebody else's retry, starts no further one.
    seen = given.get("attempt", "")
    started = retry(
        order_id,
        connection.ledger,
        connection.executions,
        of_attempt=int(seen) if seen.isdecimal() else None,
        from_finalize=from_finalize,
    )
    begins = {True: "finalize", False: "enrich", None: "not known"}[started.from_finalize]
    return f"attempt {started.attempt}, executionArn {started.execution_arn}, beginsWith {begins}"


def _owner(connection: Connection, order_id: str) -> str:
    entry = connection.ledger.get(order_id)
    if entry is None:
        raise OrderUnknown(f"order {order_id} is not in the ledger")
    return entry.execution_arn


def _pause(connection: Connection, order_id: str, _given: Form) -> str:
    if not connection.running.pause(_owner(connection, order_id), HANDLE):
        raise IllegalTransition(f"the execution of order {order_id} does not run")
    return f"is paused, with the reason orders:{HANDLE}"


def _resume(connection: Connection, order_id: str, _given: Form) -> str:
    if not connection.running.resume(_owner(connection, order_id)):
        raise IllegalTransition(f"the execution of order {order_id} is not paused, or not by `orders`")
    return "is resumed"


def _stop(connection: Connection, order_id: str, given: Form) -> str:
    connection.executions.stop(
        _owner(connection, order_id), "StoppedByOperator", given.get("reason") or f"order {order_id} was stopped"
    )
    return "its execution is stopped"


REASON: Final = Field("reason", "Reason (optional)", hint="Is kept in the order's history.")

ACTIONS: Final = {
    "cancel": OrderAction(
        "Cancel",
        "The order becomes CANCELLED in the ledger, and its execution is stopped. It can never run again.",
        "cancel",
        _cancel,
        lambda order_id: ["cancel", order_id],
        is_final=True,
        is_harmful=True,
        fields=(REASON,),
    ),
    "retry": OrderAction(
        "Retry",
        "The next attempt begins from the start, with the recorded order: enrich, wait, finalize.",
        "retry",
        _retry,
        lambda order_id: ["retry", order_id],
    ),
    "finalize": OrderAction(
        "Retry from finalize",
        "The next attempt keeps the recorded enrichment, does not wait, and begins with finalize.",
        "retry",
        lambda connection, order_id, given: _retry(connection, order_id, given, from_finalize=True),
        lambda order_id: ["retry", order_id, "--from", "finalize"],
    ),
    "pause": OrderAction(
        "Pause",
        "No code of the order's execution runs until it is resumed. Its wait still ends, and its timeout is paused.",
        "pause",
        _pause,
        lambda order_id: ["pause", order_id],
    ),
    "resume": OrderAction(
        "Resume",
        "The order's execution continues from its last checkpoint.",
        "resume",
        _resume,
        lambda order_id: ["resume", order_id],
    ),
    "stop": OrderAction(
        "Stop",
        "The order's execution ends as STOPPED. The reconciler then writes STOPPED to the ledger, and the order can be "
        "retried. To end an order for good, cancel it.",
        "stop",
        _stop,
        None,
        is_harmful=True,
        fields=(REASON,),
    ),
}


def possible(entry: LedgerEntry, execution_status: str | None) -> list[str]:
    """The names of the actions that the order's state allows, with `edit` for a retry with an edited order."""
    found = []
    if entry.next_attempt is not None:
        found += ["retry", *(["finalize"] if entry.enrichment is not None else []), "edit"]
    if entry.state in OPEN and execution_status == "RUNNING":
        found.append("pause")
    if entry.state in OPEN and execution_status in {"PAUSING", "PAUSED"}:
        found.append("resume")
    if entry.state in OPEN and execution_status is not None:
        found.append("stop")
    if entry.state in ACTS_ON["cancel"]:
        found.append("cancel")
    return found
