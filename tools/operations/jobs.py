"""Jobs: an action on many orders that can be followed, aborted, and resumed after its process died.

A job and its orders are items of the operations table (docs/architecture.md lists the kinds of items). The orders are
written before the first action, each with its attempt at that time. An order's result is written after its action. A
process that dies between the two does the action again when the job is resumed, so an action must be idempotent for an
order and its attempt.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import uuid4

from botocore.exceptions import ClientError

from reconciler.pace import Pace
from shared.aws.clock import utc_now
from shared.errors import OperationsUnavailable, PermanentError, TransientError
from shared.ledger.entry import kept_text, marshalled, unmarshalled

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ACTIONS_PER_SECOND: Final = 8
"""An action reads an execution at most twice. An account may read 30 a second, and the reconciler needs its part."""

_JOBS: Final = "JOBS"
_BATCH: Final = 25
"""DynamoDB's limit of items in one BatchWriteItem."""
_MAX_ROUNDS: Final = 10
_MAX_FAILURES_IN_A_ROW: Final = 5

ActionName = Literal["cancel", "retry", "retry --from finalize", "pause", "resume"]
"""As the operator's command."""


class JobStatus(StrEnum):
    """How far a job is."""

    SELECTING = "SELECTING"
    """Its orders are being written. No action was taken."""
    RUNNING = "RUNNING"
    """Orders are left. A process may be working on them, or it may have died."""
    ABORTED = "ABORTED"
    ENDED = "ENDED"


class Result(StrEnum):
    """What became of an order of a job."""

    DONE = "DONE"
    REFUSED = "REFUSED"


@dataclass(frozen=True)
class Job:
    """A job. `handle` names it; `chosen` is its filter as text; `orders` is how many it has."""

    handle: str
    action: ActionName
    status: JobStatus
    by: str
    at: str
    chosen: str
    orders: int
    reason: str | None = None


@dataclass(frozen=True)
class JobOrder:
    """An order of a job: its attempt when the job was made, and its result, if it has one, with the detail."""

    order_id: str
    attempt: int
    result: Result | None = None
    detail: str | None = None


class Jobs:
    """The jobs in the operations table. Every method raises botocore's errors."""

    def __init__(self, client: "DynamoDBClient", table: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self._client = client
        self._table = table
        self._sleep = sleep

    def create(
        self, action: ActionName, by: str, chosen: str, orders: Mapping[str, int], reason: str | None = None
    ) -> Job:
        """Write a job for these orders, each with its current attempt. It takes no action yet."""
        handle = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid4().hex[:6]}"
        job = Job(handle, action, JobStatus.SELECTING, by, utc_now(), chosen, len(orders), reason)
        fields = {
            "action": action,
            "status": job.status,
            "by": by,
            "at": job.at,
            "filter": chosen,
            "orders": len(orders),
        }
        optional = {} if reason is None else {"reason": reason}
        self._client.put_item(TableName=self._table, Item=marshalled({"pk": _JOBS, "sk": handle, **fields, **optional}))
        items = ({"pk": _pk(handle), "sk": order_id, "attempt": attempt} for order_id, attempt in orders.items())
        while batch := list(islice(items, _BATCH)):
            self._write([{"PutRequest": {"Item": marshalled(item)}} for item in batch])
        self._set_status(handle, JobStatus.RUNNING, after=(JobStatus.SELECTING,))
        return self._get(handle)

    def get(self, handle: str) -> Job | None:
        """The job, or None when there is none with this handle."""
        found = self._client.get_item(TableName=self._table, Key=marshalled(_key(handle)), ConsistentRead=True)
        return _job(found["Item"]) if "Item" in found else None

    def newest(self, limit: int) -> list[Job]:
        """Up to `limit` jobs, the newest first."""
        found = self._client.query(
            TableName=self._table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues=marshalled({":pk": _JOBS}),
            ScanIndexForward=False,
            Limit=limit,
        )
        return [_job(item) for item in found["Items"]]

    def orders(self, handle: str, *, pending: bool = False) -> Iterator[JobOrder]:
        """The job's orders; only those without a result if `pending`. Consistent reads, page by page."""
        only: dict[str, Any] = (
            {"FilterExpression": "attribute_not_exists(#result)", "ExpressionAttributeNames": {"#result": "result"}}
            if pending
            else {}
        )
        for page in self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues=marshalled({":pk": _pk(handle)}),
            ConsistentRead=True,
            **only,
        ):
            for item in page["Items"]:
                fields = unmarshalled(item)
                result = Result(fields["result"]) if "result" in fields else None
                yield JobOrder(fields["sk"], fields["attempt"], result, fields.get("detail"))

    def counts(self, handle: str) -> Counter[str]:
        """How many orders of the job are DONE, REFUSED or LEFT."""
        return Counter(order.result or "LEFT" for order in self.orders(handle))

    def abort(self, handle: str) -> bool:
        """Let no further action begin. Returns False when the job had ended or was aborted before."""
        return self._set_status(handle, JobStatus.ABORTED, after=(JobStatus.RUNNING, JobStatus.SELECTING))

    def reopen(self, handle: str) -> bool:
        """Let an aborted job run again. Returns False unless it is aborted and all its orders are written."""
        complete = sum(1 for _ in self.orders(handle)) == self._get(handle).orders
        return complete and self._set_status(handle, JobStatus.RUNNING, after=(JobStatus.ABORTED,))

    def run(self, job: Job, act: Callable[[JobOrder], str], pace: Pace) -> Iterator[JobOrder]:
        """Take the action on each order that has no result, and return the order with its result.

        `act` returns the detail of the result. A `PermanentError` is the result REFUSED. After a `TransientError` the
        order stays without a result, and the job can be resumed; the fifth in a row is raised. Stops when the job is
        aborted. Two processes can run one job: then an action can be taken twice, which changes nothing.
        """
        failures = left = 0
        for order in self.orders(job.handle, pending=True):
            pace.wait()
            if self._get(job.handle).status is not JobStatus.RUNNING:
                return
            try:
                done = JobOrder(order.order_id, order.attempt, Result.DONE, act(order))
            except PermanentError as error:
                done = JobOrder(order.order_id, order.attempt, Result.REFUSED, f"{type(error).__name__}: {error}")
            except TransientError:
                failures += 1
                left += 1
                if failures == _MAX_FAILURES_IN_A_ROW:
                    raise
                continue
            failures = 0
            self._record(job.handle, done)
            yield done
        if not left:
            self._set_status(job.handle, JobStatus.ENDED, after=(JobStatus.RUNNING,))

    def _record(self, handle: str, done: JobOrder) -> None:
        self._client.update_item(
            TableName=self._table,
            Key=marshalled({"pk": _pk(handle), "sk": done.order_id}),
            UpdateExpression="SET #result = :result, detail = :detail",
            ExpressionAttributeNames={"#result": "result"},
            ExpressionAttributeValues=marshalled({":result": done.result, ":detail": kept_text(done.detail or "")}),
        )

    def _set_status(self, handle: str, status: JobStatus, after: Iterable[JobStatus]) -> bool:
        names = {f":{before}": before for before in after}
        try:
            self._client.update_item(
                TableName=self._table,
                Key=marshalled(_key(handle)),
                UpdateExpression="SET #status = :status",
                ConditionExpression=f"#status IN ({', '.join(names)})",
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues=marshalled({":status": status, **names}),
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return False
        return True

    def _get(self, handle: str) -> Job:
        job = self.get(handle)
        if job is None:
            raise KeyError(handle)
        return job

    def _write(self, requests: list[Any]) -> None:
        for round_ in range(_MAX_ROUNDS):
            if round_:
                self._sleep(min(0.1 * 2**round_, 5))
            response = self._client.batch_write_item(RequestItems={self._table: requests})
            requests = list(response.get("UnprocessedItems", {}).get(self._table, []))
            if not requests:
                return
        raise OperationsUnavailable("DynamoDB left items of the job out of ten requests")


def _pk(handle: str) -> str:
    return f"JOB#{handle}"


def _key(handle: str) -> dict[str, str]:
    return {"pk": _JOBS, "sk": handle}


def _job(item: Mapping[str, Any]) -> Job:
    fields = unmarshalled(item)
    return Job(
        fields["sk"],
        fields["action"],
        JobStatus(fields["status"]),
        fields["by"],
        fields["at"],
        fields["filter"],
        fields["orders"],
        fields.get("reason"),
    )
