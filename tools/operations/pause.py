"""Pauses and resumes intake and running executions.

A pause carries the reason `orders:<job>`, and a resume touches only executions that have such a reason. Both can be run
again after an interruption: what is paused is not running, and what is resumed is not paused.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from botocore.exceptions import ClientError

from reconciler.pace import Pace
from shared.executions.names import ExecutionName, stack_hash
from shared.ledger.states import State
from shared.ledger.table import LedgerReader

REASON: Final = "orders:"
"""The start of the reason of each pause; the job follows."""

CALLS_PER_SECOND: Final = 15
"""Half of the rate at which an account may call these APIs: the reconciler needs its part."""

POLL_SECONDS: Final = 0.5
TIMEOUT_SECONDS: Final = 300
_POLLS: Final = int(TIMEOUT_SECONDS / POLL_SECONDS)
_STABLE: Final = 3
"""How many counts in a row must show that ingest is idle: SQS's counts are approximate."""


class PauseFailed(Exception):
    """A pause did not take effect in time. The message says what to do."""


@dataclass(frozen=True)
class Running:
    """An execution that has not ended. `order_id` is from its name, None for one without a name of this stack."""

    arn: str
    status: str
    order_id: str | None
    started_at: datetime


@dataclass(frozen=True)
class Executions:
    """The orchestrator's executions of this stack, to pause and resume."""

    aws_lambda: Any
    function_arn: str
    stack_id: str
    pace: Pace

    def listed(self, *statuses: str) -> Iterator[Running]:
        """The executions of all versions with one of the statuses."""
        pages = self.aws_lambda.get_paginator("list_durable_executions_by_function").paginate(
            FunctionName=self.function_arn, Statuses=list(statuses)
        )
        for page in pages:
            for found in page["DurableExecutions"]:
                name = ExecutionName.in_arn(found["DurableExecutionArn"])
                is_ours = name is not None and name.stack == stack_hash(self.stack_id)
                order_id = name.order_id if name is not None and is_ours else None
                yield Running(found["DurableExecutionArn"], found["Status"], order_id, found["StartTimestamp"])

    def pause(self, arn: str, job: str) -> bool:
        """Pause one execution. Returns whether it was running. Its timeout is paused too."""
        return self._changed(
            lambda: self.aws_lambda.pause_durable_execution(
                DurableExecutionArn=arn, Reason=REASON + job, ExecutionTimeoutPaused=True
            )
        )

    def resume(self, arn: str, job: str = "") -> bool:
        """Resume one execution, if this tool paused it, in the job if one is given. Returns whether it did."""
        self.pace.wait()
        try:
            found = self.aws_lambda.get_durable_execution(DurableExecutionArn=arn)
        except ClientError as error:
            return _refused(error)
        reason = found.get("PauseDetails", {}).get("Reason", "")
        if reason != REASON + job if job else not reason.startswith(REASON):
            return False
        return self._changed(lambda: self.aws_lambda.resume_durable_execution(DurableExecutionArn=arn))

    def _changed(self, call: Callable[[], Any]) -> bool:
        self.pace.wait()
        try:
            call()
        except ClientError as error:
            return _refused(error)
        return True


def _refused(error: ClientError) -> bool:
    """False for an execution that has ended or changed meanwhile. Raises other errors again."""
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    if status == 409 or error.response["Error"]["Code"] == "ResourceNotFoundException":
        return False
    raise error


@dataclass(frozen=True)
class Selection:
    """Which executions to pause or resume: orders in a state, older than a time, or with an id. Unset: all."""

    order_ids: frozenset[str] = frozenset()
    state: State | None = None
    started_before: datetime | None = None

    def __str__(self) -> str:
        """The selection for the operations log."""
        parts = [
            " ".join(sorted(self.order_ids)),
            f"state {self.state}" if self.state else "",
            f"started before {self.started_before.isoformat()}" if self.started_before else "",
        ]
        return f"executions: {', '.join(filter(None, parts)) or 'all'}"

    def has(self, execution: Running, ledger: LedgerReader) -> bool:
        """Whether the execution is selected. Reads the ledger only for a state."""
        if self.started_before is not None and execution.started_at >= self.started_before:
            return False
        if self.order_ids and execution.order_id not in self.order_ids:
            return False
        if self.state is None:
            return True
        entry = ledger.get(execution.order_id) if execution.order_id is not None else None
        return entry is not None and entry.state is self.state


def pause_executions(
    executions: Executions,
    ledger: LedgerReader,
    chosen: Selection,
    job: str,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Pause the selected executions, list again until none is left that runs, and return how many were paused.

    An execution is PAUSING until its invocation has stopped, and still writes until then. So that is waited for.
    """
    paused = 0
    for _ in range(_POLLS):
        left = [execution for execution in executions.listed("RUNNING", "PAUSING") if chosen.has(execution, ledger)]
        if not left:
            return paused
        running = [execution.arn for execution in left if execution.status == "RUNNING"]
        paused += sum(executions.pause(arn, job) for arn in running)
        if not running:
            sleep(POLL_SECONDS)
    raise PauseFailed("executions start faster than they pause: pause intake first, then run this again")


def resume_executions(executions: Executions, ledger: LedgerReader, chosen: Selection, job: str = "") -> int:
    """Resume the selected executions that `pause_executions` paused, in the job if one is given. Returns how many."""
    # The list is complete before the first resume: a resumed execution leaves the list and would move its pages.
    paused = [found for found in executions.listed("PAUSING", "PAUSED") if chosen.has(found, ledger)]
    return sum(executions.resume(execution.arn, job) for execution in paused)


@dataclass(frozen=True)
class Intake:
    """The event source mapping of the orders queue."""

    aws_lambda: Any
    sqs: Any
    cloudwatch: Any
    function_arn: str
    queue_url: str
    sleep: Callable[[float], None] = time.sleep

    def pause(self) -> None:
        """Disable the mapping and wait until it is Disabled and ingest is idle. Raises `PauseFailed`."""
        if self._settled() == "Enabled":
            self._enable(enabled=False)
        idle = 0
        for _ in range(_POLLS):
            disabled = self.state() == "Disabled"
            idle = idle + 1 if disabled and self._processed_at_once() == 0 else 0
            if idle == _STABLE:
                return
            self.sleep(POLL_SECONDS)
        raise PauseFailed("ingest is still busy: messages that it gave back are invisible for minutes; run this again")

    def resume(self) -> None:
        """Enable the mapping. Raises `PauseFailed`."""
        if self._settled() == "Disabled":
            self._enable(enabled=True)

    def state(self) -> str:
        """The state of the mapping."""
        return str(self._mapping()["State"])

    def expires(self, now: datetime) -> datetime:
        """When the oldest message expires. CloudWatch has its age; without messages it counts from now."""
        queue = self.queue_url.rpartition("/")[2]
        found = self.cloudwatch.get_metric_statistics(
            Namespace="AWS/SQS",
            MetricName="ApproximateAgeOfOldestMessage",
            Dimensions=[{"Name": "QueueName", "Value": queue}],
            StartTime=now - timedelta(minutes=15),
            EndTime=now,
            Period=60,
            Statistics=["Maximum"],
        )["Datapoints"]
        newest = max(found, key=lambda point: point["Timestamp"], default={"Maximum": 0})
        kept = int(self._attributes("MessageRetentionPeriod")["MessageRetentionPeriod"])
        return now + timedelta(seconds=kept - newest["Maximum"])

    def _settled(self) -> str:
        """The state that the mapping has or gets. Lambda refuses a change while another goes on."""
        for _ in range(_POLLS):
            if (state := self.state()) in {"Enabled", "Disabled"}:
                return state
            self.sleep(POLL_SECONDS)
        raise PauseFailed(f"the event source mapping is {state}: run this again")

    def _enable(self, *, enabled: bool) -> None:
        self.aws_lambda.update_event_source_mapping(UUID=self._mapping()["UUID"], Enabled=enabled)

    def _processed_at_once(self) -> int:
        name = "ApproximateNumberOfMessagesNotVisible"
        return int(self._attributes(name)[name])

    def _attributes(self, *names: str) -> dict[str, str]:
        found: dict[str, str] = self.sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=list(names))[
            "Attributes"
        ]
        return found

    def _mapping(self) -> dict[str, Any]:
        (found,) = self.aws_lambda.list_event_source_mappings(FunctionName=self.function_arn)["EventSourceMappings"]
        mapping: dict[str, Any] = found
        return mapping
