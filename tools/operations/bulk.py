"""Cancels, retries, pauses or resumes many orders as a job."""

from collections.abc import Callable, Mapping
from typing import Final

from shared.errors import IllegalTransition, OrderUnknown
from shared.executions.client import ExecutionsClient
from shared.ledger.states import RETRYABLE, TERMINAL, State, predecessors
from shared.ledger.table import LedgerTable
from tools.operations.cancel import cancel
from tools.operations.jobs import ActionName, Job, JobOrder
from tools.operations.pause import Executions
from tools.operations.retry import retry

OPEN: Final = frozenset(State) - TERMINAL

ACTS_ON: Final[Mapping[ActionName, frozenset[State]]] = {
    "cancel": frozenset(predecessors(State.CANCELLED)),
    "retry": RETRYABLE,
    "retry --from finalize": RETRYABLE,
    "pause": OPEN,
    "resume": OPEN,
}
"""The states of the orders that a filter can select for an action."""


def action_of(
    job: Job, ledger: LedgerTable, executions: ExecutionsClient, running: Executions
) -> Callable[[JobOrder], str]:
    """The job's action on one order. It can be repeated: a cancel changes nothing, and a retry joins its attempt.

    A pause has the job's handle in its reason. A resume takes every pause of this tool back.
    """

    def cancels(order: JobOrder) -> str:
        return f"is {cancel(order.order_id, ledger, executions, job.reason).state}"

    def retries(order: JobOrder) -> str:
        from_finalize = job.action == "retry --from finalize"
        started = retry(order.order_id, ledger, executions, of_attempt=order.attempt, from_finalize=from_finalize)
        return f"attempt {started.attempt} is started"

    def owner(order: JobOrder) -> str:
        entry = ledger.get(order.order_id)
        if entry is None:
            raise OrderUnknown(f"order {order.order_id} is not in the ledger")
        return entry.execution_arn

    def pauses(order: JobOrder) -> str:
        if not running.pause(owner(order), job.handle):
            raise IllegalTransition(f"the execution of order {order.order_id} does not run")
        return "is paused"

    def resumes(order: JobOrder) -> str:
        if not running.resume(owner(order)):
            raise IllegalTransition(f"the execution of order {order.order_id} was not paused by `orders`")
        return "is resumed"

    return {"cancel": cancels, "pause": pauses, "resume": resumes}.get(job.action, retries)
