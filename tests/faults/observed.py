"""What a run left behind: read from queues, ledger and Lambda's execution records, and from nothing else."""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from shared.ledger.entry import LedgerEntry
from shared.ledger.states import TERMINAL

NOT_ENDED = ["RUNNING", "PAUSING", "PAUSED"]
QUEUES = ("OrdersQueueUrl", "StatusChangesQueueUrl", "StatusChangesDlqUrl")
COUNTS = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
]
READING_SECONDS = 60
"""How long a message is invisible while its queue is read."""

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
    """An execution as Lambda keeps it. `error_type` is the class's bare name."""

    arn: str
    status: str
    input: str
    error_type: str | None = None
    result: str | None = None


@dataclass(frozen=True)
class Observed:
    """Everything there is. `left` has the queues that should be empty, by the names of their outputs.

    `marked`: the ARNs of executions that the reconciler examined and that left no trace in an order.
    """

    stack_id: str
    entries: Mapping[str, LedgerEntry]
    records: Sequence[Record]
    rejected: Sequence[Message]
    dead: Sequence[Message]
    left: Mapping[str, int]
    marked: frozenset[str] = frozenset()


def observe(stack: Any) -> Observed:
    """Reads it all. Rejected and dead messages are seen again by the next look."""
    [described] = stack.client("cloudformation").describe_stacks(StackName=stack.settings.stack_name)["Stacks"]
    entries = {entry.order_id: entry for entry in _entries(stack)}
    return Observed(
        stack_id=described["StackId"],
        entries=entries,
        records=_records(stack),
        rejected=_messages(stack, "RejectedOrdersQueueUrl"),
        dead=_messages(stack, "OrdersDlqUrl"),
        left={queue: _count(stack, queue) for queue in QUEUES},
        marked=frozenset(_marked(stack)),
    )


def until_quiet(stack: Any, patience_seconds: float) -> None:
    """Waits until nothing moves any more, or patience ends: what then still moves is for `violations` to say.

    Between an execution's end and the event that tells of it, nothing moves for a moment: quiet is what lasts.
    """
    deadline = time.monotonic() + patience_seconds
    looks = 0
    while looks < 2 and time.monotonic() < deadline:
        looks = looks + 1 if _is_quiet(stack) else 0
        time.sleep(QUIET_SECONDS)


def _is_quiet(stack: Any) -> bool:
    return (
        not any(_count(stack, queue) for queue in QUEUES[:2])
        and not list(_listed(stack, Statuses=NOT_ENDED))
        and all(entry.state in TERMINAL for entry in _entries(stack))
    )


def _entries(stack: Any) -> Iterator[LedgerEntry]:
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
