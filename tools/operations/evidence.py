"""Gathers what is known about an order: from the ledger, Lambda, the queues and ingest's log. It changes nothing."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final

from botocore.exceptions import ClientError

from shared.errors import LedgerUnavailable, bare_class_name
from shared.executions.names import ExecutionName
from shared.ledger.entry import LedgerEntry
from shared.ledger.states import TERMINAL
from shared.ledger.table import LedgerReader
from tools.operations.why import Evidence, Execution, Failure, Logged

LOG_AGE: Final = timedelta(days=1)
_MAX_LOG_PAGES: Final = 20
_MAX_EVENTS: Final = 50
"""The latest events of an execution: its open wait or failed step is among them."""


@dataclass(frozen=True)
class Surroundings:
    """What is the same for all orders: the states of the event source mappings, and the depths of the queues."""

    intake: str
    reconciler: str
    queued: int
    dead: int
    status_changes: int


@dataclass(frozen=True)
class Sources:
    """Where the evidence is: clients, and the outputs of the stack."""

    ledger: LedgerReader
    aws_lambda: Any
    sqs: Any
    logs: Any
    outputs: dict[str, str]
    stack_id: str

    def surroundings(self) -> Surroundings:
        """What is the same for all orders. Raises AWS's errors."""
        return Surroundings(
            intake=self._mapping("OrderIngestArn"),
            reconciler=self._mapping("OrderReconcilerArn"),
            queued=self.depth("OrdersQueueUrl"),
            dead=self.depth("OrdersDlqUrl"),
            status_changes=self.depth("StatusChangesQueueUrl"),
        )

    def of(self, order_id: str, around: Surroundings | None = None) -> Evidence:
        """The evidence about one order. Raises AWS's errors, except those of the ledger's read.

        `around` has the surroundings, for many orders. By default they are read before the order.
        """
        now = datetime.now(UTC)
        around = around or self.surroundings()
        try:
            entry = self.ledger.get(order_id)
            execution = None
            if entry is None or entry.state not in TERMINAL:
                execution = self._execution(order_id, entry)
                # The order may have ended since: an execution ends after its last write.
                entry = self.ledger.get(order_id)
        except LedgerUnavailable as error:
            return Evidence(order_id, now, ledger_error=str(error))
        return Evidence(
            order_id,
            now,
            entry,
            execution=execution,
            intake=around.intake,
            queued=around.queued,
            dead=around.dead,
            logged=tuple(self._logged(order_id, now)),
            reconciler=around.reconciler,
            status_changes=around.status_changes,
        )

    def depth(self, output: str) -> int:
        """About how many messages a queue has, those in flight included."""
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        found = self.sqs.get_queue_attributes(QueueUrl=self.outputs[output], AttributeNames=list(names))
        return sum(int(found["Attributes"][name]) for name in names)

    def _mapping(self, output: str) -> str:
        found = self.aws_lambda.list_event_source_mappings(FunctionName=self.outputs[output])["EventSourceMappings"]
        return str(found[0]["State"]) if found else "missing"

    def _execution(self, order_id: str, entry: LedgerEntry | None) -> Execution | None:
        arn = entry.execution_arn if entry is not None else self._arn_of_first_attempt(order_id)
        if arn is None:
            return None
        try:
            found = self.aws_lambda.get_durable_execution(DurableExecutionArn=arn)
            latest = self.aws_lambda.get_durable_execution_history(
                DurableExecutionArn=arn, ReverseOrder=True, MaxItems=_MAX_EVENTS, IncludeExecutionData=True
            )["Events"]
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            return None
        paused = found.get("PauseDetails", {})
        return Execution(
            status=found["Status"],
            started_at=found["StartTimestamp"],
            ended_at=found.get("EndTimestamp"),
            pause_reason=paused.get("Reason"),
            paused_at=paused.get("PauseRequestTimestamp"),
            waits_until=_waits_until(latest),
            failure=_failure(latest),
            last_event=latest[0]["EventTimestamp"] if latest else found["StartTimestamp"],
        )

    def _arn_of_first_attempt(self, order_id: str) -> str | None:
        found = self.aws_lambda.list_durable_executions_by_function(
            FunctionName=self.outputs["DurableOrderProcessorArn"].rpartition(":")[0],
            DurableExecutionName=str(ExecutionName.of(self.stack_id, order_id, 1)),
        )["DurableExecutions"]
        return found[0]["DurableExecutionArn"] if found else None

    def _logged(self, order_id: str, now: datetime) -> Iterator[Logged]:
        pages = self.logs.get_paginator("filter_log_events").paginate(
            logGroupName=f"/aws/lambda/{self.outputs['OrderIngestArn'].rpartition(':')[2]}",
            startTime=int((now - LOG_AGE).timestamp() * 1000),
            filterPattern=f'"{order_id}"',
        )
        for page in islice(pages, _MAX_LOG_PAGES):
            for event in page["events"]:
                line = _json(event["message"])
                if line.get("orderId") == order_id:
                    yield Logged(str(line.get("message")), str(line.get("reasonCode") or line.get("error") or ""))


def _json(text: str) -> dict[str, Any]:
    try:
        line = json.loads(text)
    except ValueError:
        return {}
    return line if isinstance(line, dict) else {}


def _waits_until(latest: list[Any]) -> datetime | None:
    """When the wait that is open ends. `latest`: events, newest first."""
    for event in latest:
        match event["EventType"]:
            case "WaitStarted":
                until: datetime | None = event["WaitStartedDetails"].get("ScheduledEndTimestamp")
                return until
            case "WaitSucceeded" | "WaitCancelled" | "StepStarted":
                return None
    return None


def _failure(latest: list[Any]) -> Failure | None:
    """The failure of the step that runs last, if it runs again. `latest`: events, newest first."""
    attempts_later = False
    for event in latest:
        match event["EventType"]:
            case "StepFailed":
                details = event["StepFailedDetails"]
                retry = details.get("RetryDetails", {})
                if "NextAttemptDelaySeconds" not in retry:
                    return None
                error = details.get("Error", {}).get("Payload", {})
                return Failure(
                    event.get("Name", ""),
                    retry.get("CurrentAttempt", 1),
                    bare_class_name(error.get("ErrorType", "")),
                    error.get("ErrorMessage", ""),
                    event["EventTimestamp"] + timedelta(seconds=retry["NextAttemptDelaySeconds"]),
                )
            case "StepStarted" if not attempts_later:
                attempts_later = True  # the step runs its next attempt now
            case "StepSucceeded" | "WaitStarted" | "WaitSucceeded" | "StepStarted":
                return None
    return None
