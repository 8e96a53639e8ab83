"""The order workflow: enrich, wait, finalize.

Each step records its transitions in the ledger as they happen, so an order that meets no fault costs four metered
operations: the start, two steps and the wait. This function runs again from the top whenever the execution resumes,
so it does nothing by itself: no I/O, no clock, no chance. All of that is inside the steps.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from aws_durable_execution_sdk_python.config import Duration
from aws_durable_execution_sdk_python.context import DurableContext
from aws_durable_execution_sdk_python.exceptions import StepError

from orchestrator import steps
from orchestrator.enricher import Enricher
from orchestrator.policies import ENRICH, FINALIZE, RECORD_FAILURE
from orchestrator.result import order_result
from shared.errors import REFUSALS, WaitDoesNotFit, restored
from shared.executions.names import OrderExecution
from shared.ledger.owner import Ledger
from shared.orders.order import Order

STEPS = timedelta(minutes=1)
"""What an execution needs beside its wait: one invocation's longest time."""


@dataclass(frozen=True)
class Pipeline:
    """What a workflow works with. Wait and timeout are those of the published version, so a replay sees the same."""

    ledger: Ledger
    enricher: Enricher
    wait: timedelta
    execution_timeout: timedelta


def process_order(context: DurableContext, order: Order, me: OrderExecution, pipeline: Pipeline) -> dict[str, Any]:
    """Take one order from RECEIVED to COMPLETED and answer its result, or record why it FAILED and fail with that."""
    ledger, enricher = pipeline.ledger, pipeline.enricher
    context.logger.info("order received")
    try:
        enriched = context.step(lambda _: steps.enrich(order, me, ledger, enricher), name="enrich", config=ENRICH)
        if "recorded_result" in enriched:
            context.logger.info("order was completed before")
            return order_result(order.order_id, enriched["enrichment"], enriched["recorded_result"])

        context.logger.info("order enriched, waiting")
        context.wait(wait_that_fits(pipeline), name="wait")

        finalization = context.step(lambda _: steps.finalize(me, ledger), name="finalize", config=FINALIZE)
        context.logger.info("order completed")
        return order_result(order.order_id, enriched["enrichment"], finalization)
    except (StepError, WaitDoesNotFit) as error:
        failure = cause(error)
        # An order that belongs to another execution, or that has ended, keeps the state it has.
        if not isinstance(failure, REFUSALS):
            record_failure(context, me, ledger, failure)
        context.logger.error("order not processed", extra={"error": str(failure)})
        raise failure from error


def wait_that_fits(pipeline: Pipeline) -> Duration:
    """The wait, or `WaitDoesNotFit` at once: an execution that must time out should not begin to wait."""
    if pipeline.wait + STEPS > pipeline.execution_timeout:
        raise WaitDoesNotFit(
            f"a wait of {pipeline.wait.total_seconds():.0f} s does not fit into"
            f" an execution timeout of {pipeline.execution_timeout.total_seconds():.0f} s"
        )
    return Duration.from_seconds(pipeline.wait.total_seconds())


def record_failure(context: DurableContext, me: OrderExecution, ledger: Ledger, failure: Exception) -> None:
    """FAILED in the ledger, in a step of its own. Where that cannot be written, the execution's end still says it."""
    error_type, message = type(failure).__name__, str(failure)
    if isinstance(failure, StepError):
        error_type = failure.error_type
    try:
        context.step(
            lambda _: steps.record_failure(me, ledger, error_type, message),
            name="record-failure",
            config=RECORD_FAILURE,
        )
    except StepError as unrecorded:
        context.logger.error("failure not in the ledger", extra={"error": unrecorded.message})


def cause(error: StepError | WaitDoesNotFit) -> Exception:
    """The pipeline's own error behind a failed step, else the step's error as it is."""
    if isinstance(error, StepError):
        return restored(error.error_type, error.message or "") or error
    return error
