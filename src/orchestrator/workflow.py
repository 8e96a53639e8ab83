"""The order workflow: enrich, wait, finalize.

Lambda runs `process_order` again from the top whenever the execution resumes: after the wait, before a retry of a step,
and after the process died. A step that has ended then returns its checkpointed result; a step that has not runs again.
So code outside a step must do the same each time: no I/O, no clock, no randomness. `context.logger` is allowed: it
writes nothing during a replay.

Each step writes its state changes to the ledger. An order without faults costs four metered operations: the start, two
steps and the wait. An attempt that was retried from FINALIZING does not wait, and costs three.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from aws_durable_execution_sdk_python.config import Duration
from aws_durable_execution_sdk_python.context import DurableContext
from aws_durable_execution_sdk_python.exceptions import StepError

from orchestrator import policies, steps
from orchestrator.enricher import Enricher
from orchestrator.result import order_result
from orchestrator.step import step
from shared.errors import REFUSALS, WaitDoesNotFit, restored
from shared.executions.names import OrderExecution
from shared.ledger.owner import Ledger
from shared.orders.order import Order

STEPS_RESERVE = timedelta(minutes=1)
"""The time that an execution needs for its steps, beside the wait: the longest time of one invocation."""


@dataclass(frozen=True)
class Pipeline:
    """The workflow's clients and settings. An execution stays on the version that started it, with that version's."""

    ledger: Ledger
    enricher: Enricher
    wait: timedelta
    execution_timeout: timedelta


def process_order(context: DurableContext, order: Order, me: OrderExecution, pipeline: Pipeline) -> dict[str, Any]:
    """Take an order from RECEIVED to COMPLETED and return its result. On a failure, record FAILED and raise the error.

    An order that another execution completed before is not processed again: the recorded result is returned.
    """
    ledger, enricher = pipeline.ledger, pipeline.enricher
    log = context.logger.info
    log("order received")
    try:
        enriched = step(context, "enrich", policies.enrich, lambda: steps.enrich(order, me, ledger, enricher, log))
        if "recorded_result" in enriched:  # by another execution, never by an earlier run of this one
            context.logger.info("order was completed before")
            return order_result(order.order_id, enriched["enrichment"], enriched["recorded_result"])

        if "resumed" in enriched:  # as the step's checkpoint says, so that a replay takes the same path
            context.logger.info("order resumed with its recorded enrichment")
        else:
            context.logger.info("order enriched, waiting")
            context.wait(wait_that_fits(pipeline), name="wait")

        finalization = step(context, "finalize", policies.write_ledger, lambda: steps.finalize(me, ledger))
        context.logger.info("order completed")
        return order_result(order.order_id, enriched["enrichment"], finalization)
    except (StepError, WaitDoesNotFit) as error:
        failure = cause(error)
        # If the ledger refused this execution (the order has another owner, or has ended), the state must not change.
        if not isinstance(failure, REFUSALS):
            record_failure(context, me, ledger, failure)
        context.logger.error("order not processed", extra={"error": str(failure)})
        raise failure from error


def wait_that_fits(pipeline: Pipeline) -> Duration:
    """Return the wait. Raise `WaitDoesNotFit` if the execution would time out during it."""
    if pipeline.wait + STEPS_RESERVE > pipeline.execution_timeout:
        raise WaitDoesNotFit(
            f"a wait of {pipeline.wait.total_seconds():.0f} s does not fit into"
            f" an execution timeout of {pipeline.execution_timeout.total_seconds():.0f} s"
        )
    return Duration.from_seconds(pipeline.wait.total_seconds())


def record_failure(context: DurableContext, me: OrderExecution, ledger: Ledger, failure: Exception) -> None:
    """Record FAILED in the ledger. If that fails too, only log it: the reconciler records it later."""
    error_type = failure.error_type if isinstance(failure, StepError) else type(failure).__name__
    message = str(failure)
    try:
        step(
            context,
            "record-failure",
            policies.record_failure,
            lambda: steps.record_failure(me, ledger, error_type, message),
        )
    except StepError as unrecorded:
        context.logger.error("failure not in the ledger", extra={"error": unrecorded.message})


def cause(error: StepError | WaitDoesNotFit) -> Exception:
    """Return the pipeline's own error that made a step fail, or `error` itself if there is none."""
    if isinstance(error, StepError):
        return restored(error.error_type, error.message or "") or error
    return error
