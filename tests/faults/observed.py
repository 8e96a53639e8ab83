"""The state after a run, read from the queues, the ledger and Lambda's execution records only."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from shared.ledger.entry import LedgerEntry
from shared.ledger.states import TERMINAL
from tests.faults.events import Consumer, Event

NOT_ENDED = ["RUNNING", "PAUSING", "PAUSED"]
QUEUES = ("OrdersQueueUrl", "StatusChangesQueueUrl", "StatusChangesDlqUrl", "EventsDlqUrl")
COUNTS = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
]
READING_SECONDS = 60
"""How long a message is invisible while its queue is read."""

EVENTS_SECONDS = 60
"""How long the last events may take: a batch that failed is read again after a few seconds."""

QUIET_SECONDS = 0.5
THREADS = 8


@dataclass(frozen=True)
class Message:
    """A message in a queue, with the text of its attributes."""

    id: str
    body: str
    attributes: Mapping[str, str]


@dataclass(frozen=True)
class Record:
    """An execution as Lambda returns it. `error_type` is the bare name of the class."""

    arn: str
    status: str
    input: str
    error_type: str | None = None
    result: str | None = None


@dataclass(frozen=True)
class Observed:
    """Everything that was read. `left`: the number of messages in queues that should be empty, by output name.

    `marked`: the ARNs of executions that the reconciler examined, and that are not recorded in any order. `events` and
    `counted`, the transitions that CloudWatch counted by state, are None when nothing consumes the bus.
    """

    stack_id: str
    entries: Mapping[str, LedgerEntry]
    records: Sequence[Record]
    rejected: Sequence[Message]
    dead: Sequence[Message]
    left: Mapping[str, int]
    marked: frozenset[str] = frozenset()
    events: Sequence[Event] | None = None
    counted: Counter[str] | None = None


def observe(stack: Any, consumer: Consumer | None = None) -> Observed:
    """Reads everything. Rejected and dead messages stay in their queues. Waits for events that are on their way."""
    [described] = stack.client("cloudformation").describe_stacks(StackName=stack.settings.stack_name)["Stacks"]
    entries = {entry.order_id: entry for entry in entries_of(stack)}
    if consumer is not None:
        consumer.wait_for(list(entries.values()), EVENTS_SECONDS)
    return Observed(
        stack_id=described["StackId"],
        entries=entries,
        records=_records(stack),
        rejected=_messages(stack, "RejectedOrdersQueueUrl"),
        dead=_messages(stack, "OrdersDlqUrl"),
        left={queue: _count(stack, queue) for queue in QUEUES},
        marked=frozenset(_marked(stack)),
        events=consumer and consumer.events(),
        counted=consumer and consumer.counted(),
    )


def until_quiet(stack: Any, timeout_seconds: float) -> None:
    """Waits until all work has ended, or until the timeout: `violations` reports work that has not ended.

    Two looks in sequence must see no work: between an execution's end and its event there is none for a moment.
    """
    deadline = time.monotonic() + timeout_seconds
    looks = 0
    while looks < 2 and time.monotonic() < deadline:
        looks = looks + 1 if _is_quiet(stack) else 0
        time.sleep(QUIET_SECONDS)


def _is_quiet(stack: Any) -> bool:
    return (
        not any(_count(stack, queue) for queue in QUEUES[:2])
        and not list(_listed(stack, Statuses=NOT_ENDED))
        and all(entry.state in TERMINAL for entry in entries_of(stack))
    )


def entries_of(stack: Any) -> Iterator[LedgerEntry]:
    """Every entry of the ledger, by consistent reads."""
    pages = (
        stack.client("dynamodb")
        .get_paginator("scan")
        .paginate(TableName=stack.outputs["LedgerTableName"], ConsistentRead=True)
    )
    return (LedgerEntry.of(item) for page in pages for item in page["Items"])


def _marked(stack: Any) -> Iterator[str]:
    pages = (
        stack.client("dynamodb")
        .get_paginator("scan")
        .paginate(TableName=stack.outputs["OperationsTableName"], ConsistentRead=True)
    )
    return (item["pk"]["S"].removeprefix("EXECUTION#") for page in pages for item in page["Items"])


def _listed(stack: Any, **filters: Any) -> Iterator[dict[str, Any]]:
    function = stack.outputs["DurableOrderProcessorArn"].rpartition(":")[0]
    pages = (
        stack.client("lambda")
        .get_paginator("list_durable_executions_by_function")
        .paginate(FunctionName=function, PaginationConfig={"PageSize": 1000}, **filters)
    )
    return (execution for page in pages for execution in page["DurableExecutions"])


def _records(stack: Any) -> list[Record]:
    functions = stack.client("lambda")

    def record(listed: dict[str, Any]) -> Record:
        found = functions.get_durable_execution(DurableExecutionArn=listed["DurableExecutionArn"])
        error_type = found.get("Error", {}).get("ErrorType")
        return Record(
            arn=found["DurableExecutionArn"],
            status=found["Status"],
            input=found.get("InputPayload", ""),
            error_type=error_type and error_type.rpartition(".")[2],
            result=found.get("Result"),
        )

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(record, _listed(stack)))


def _messages(stack: Any, queue: str) -> list[Message]:
    sqs, url = stack.client("sqs"), stack.outputs[queue]
    found: dict[str, dict[str, Any]] = {}
    while received := sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=READING_SECONDS, MessageAttributeNames=["All"]
    ).get("Messages"):
        found.update((message["MessageId"], message) for message in received)
    for message in found.values():
        sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    return [
        Message(
            message["MessageId"],
            message["Body"],
            {name: value["StringValue"] for name, value in message.get("MessageAttributes", {}).items()},
        )
        for message in found.values()
    ]


def _count(stack: Any, queue: str) -> int:
    attributes = stack.client("sqs").get_queue_attributes(QueueUrl=stack.outputs[queue], AttributeNames=COUNTS)
    return sum(int(attributes["Attributes"][count]) for count in COUNTS)
