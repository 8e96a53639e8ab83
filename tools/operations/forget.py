"""Forgets an order that has ended: removes what is personal from its item, then deletes its executions.

The ledger is first. From that write on no attempt begins and a redelivered message is refused, so nothing that the
executions had can return to the item. The item keeps the ARNs of its executions, so a forget that ended half-way is run
again.
"""

from dataclasses import dataclass, replace
from typing import Final

from shared.errors import IllegalTransition, OrderUnknown
from shared.executions.client import ExecutionsClient
from shared.ledger.entry import LedgerEntry
from shared.ledger.states import TERMINAL
from shared.ledger.table import LedgerTable, Refused, Written, unchanged

NOT_REACHED: Final = (
    "messages of the order in the queues, and executions that such a message starts after this",
    "executions that were refused as duplicates of the order, until Lambda's retention ends",
    "backups of the tables, and the ledger's point-in-time recovery",
    "events that were published, and log lines",
    "the customers table",
    "the name of an execution in its ARN, where a caller of the alias chose it",
)
"""Where data of a forgotten order can still be."""


@dataclass(frozen=True)
class Forgotten:
    """When the order was forgotten, the executions that are deleted, and where its data can still be."""

    order_id: str
    forgotten_at: str
    deleted: tuple[str, ...]
    not_reached: tuple[str, ...] = NOT_REACHED


def forget(order_id: str, ledger: LedgerTable, executions: ExecutionsClient) -> Forgotten:
    """Remove the personal fields of an ended order, and delete the executions of its attempts and conflicts.

    The order's body, `customerId`, enrichment, result, error and all details of the history go. States, times,
    attempts, digests and ARNs stay. It can be run again at any time, and then deletes what is left.

    Raises `OrderUnknown`; `IllegalTransition` for an order that has not ended; `ExecutionUnavailable` when an execution
    could not be deleted: run it again.
    """
    found = _forgotten(order_id, ledger)
    owners = (step.execution_arn for step in found.history if step.execution_arn is not None)
    arns = tuple(dict.fromkeys([*owners, *(conflict["executionArn"] for conflict in found.conflicts)]))
    for execution_arn in arns:
        executions.delete(execution_arn)
    return Forgotten(order_id, found.forgotten_at or "", arns)


def _forgotten(order_id: str, ledger: LedgerTable) -> LedgerEntry:
    """The order's entry, which is forgotten now or was before."""
    found = ledger.get(order_id)
    while True:
        if found is None:
            raise OrderUnknown(f"order {order_id} is not in the ledger")
        if found.forgotten_at is not None:
            return found
        if found.state not in TERMINAL:
            raise IllegalTransition(f"order {order_id} is {found.state}: only an order that has ended can be forgotten")
        now = ledger.now()
        kept = {
            "order": {"orderId": order_id},
            "history": [replace(step, detail=None).stored() for step in found.history],
            "forgottenAt": now,
        }
        removed = ("customerId", "enrichment", "result", "error", "errorType", "executionStatus", "resumeFrom")
        match ledger.update(order_id, kept | dict.fromkeys(removed), unchanged(found)):
            case Written():
                return replace(found, forgotten_at=now)
            case Refused(winner):  # after a lost race, decide again from the winner's item
                found = winner
