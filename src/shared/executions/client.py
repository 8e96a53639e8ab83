"""Starts, stops, reads and lists the orchestrator's executions on Lambda."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

from shared.aws.clients import is_transient
from shared.errors import ExecutionUnavailable, OrderConflict, StartUnavailable, bare_class_name
from shared.executions.names import ExecutionName
from shared.orders.order import Order

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_lambda.literals import ExecutionStatusType

UNSUCCESSFUL: Final[tuple["ExecutionStatusType", ...]] = ("FAILED", "TIMED_OUT", "STOPPED")
"""The statuses of executions that ended without success. The ledger's states with the same names mean the same."""

SUCCEEDED: Final = "SUCCEEDED"
ENDED: Final[tuple["ExecutionStatusType", ...]] = (*UNSUCCESSFUL, "SUCCEEDED")

_PAGE: Final = 1000


@dataclass(frozen=True)
class EndedExecution:
    """An execution that has ended, as in Lambda's list. Lambda may leave out the time of the end."""

    arn: str
    status: str
    ended_at: datetime | None = None


@dataclass(frozen=True)
class ExecutionDetails:
    """An execution as Lambda stores it until its retention ends.

    `input` is the text it was started with; `result` is what the workflow returned, as JSON. `error_type` is a bare
    class name, or whatever an operator stopped it with.
    """

    arn: str
    status: str
    input: str
    error_type: str | None = None
    error_message: str | None = None
    result: str | None = None


class ExecutionsClient:
    """The orchestrator's executions, started through its alias."""

    def __init__(self, client: "LambdaClient", orchestrator_arn: str, stack_id: str) -> None:
        """`orchestrator_arn` is the alias's ARN: Lambda refuses to start a durable function without a qualifier."""
        self._client = client
        self._orchestrator_arn = orchestrator_arn
        self.stack_id = stack_id

    def start(self, order: Order, attempt: int = 1) -> str:
        """Start the attempt, or join it when it was started before. Returns the execution's ARN.

        Raises `OrderConflict` when the attempt was started with another body, and `StartUnavailable` when Lambda
        throttles, fails or does not answer. Lambda's other errors are raised unchanged.
        """
        name = ExecutionName.of(self.stack_id, order.order_id, attempt)
        try:
            response = self._client.invoke(
                FunctionName=self._orchestrator_arn,
                InvocationType="Event",
                DurableExecutionName=str(name),
                Payload=order.canonical_bytes(),
            )
            # botocore reuses a connection only after the body was read.
            response["Payload"].read()
        except ClientError as error:
            # By its code: botocore builds `client.exceptions` on first use. When several threads do that at once, each
            # can get another class than the one that is raised.
            if error.response["Error"]["Code"] == "DurableExecutionAlreadyStartedException":
                raise OrderConflict(f"order {order.order_id} was already started with another body") from None
            if is_transient(error):
                raise StartUnavailable(f"Lambda did not take the start: {error}") from error
            raise
        except BotoCoreError as error:
            raise StartUnavailable(f"Lambda did not answer the start: {error}") from error
        return response["DurableExecutionArn"]

    def stop(self, execution_arn: str, error_type: str, message: str) -> None:
        """Stop an execution with an error. One that has ended, was deleted or has expired is left as it is.

        Running code continues until its next checkpoint. Raises `ExecutionUnavailable`.
        """
        with _translated():
            try:
                self._client.stop_durable_execution(
                    DurableExecutionArn=execution_arn, Error={"ErrorType": error_type, "ErrorMessage": message}
                )
            except ClientError as error:
                if not _is_gone(error):
                    raise

    def delete(self, execution_arn: str) -> None:
        """Delete an execution with its input, its result and its operations. One that still runs is stopped first.

        One that is being deleted, was deleted or has expired is left as it is. Raises `ExecutionUnavailable`.
        """
        # The type stubs of this boto3 do not have the operation yet.
        delete = self._client.delete_durable_execution  # type: ignore[attr-defined]
        with _translated():
            try:
                delete(DurableExecutionArn=execution_arn)
            except ClientError as error:
                if _is_gone(error):
                    return
                if error.response["Error"]["Code"] != "ResourceConflictException":
                    raise
                found = self.get(execution_arn)
                if found is None or found.status == "DELETING":
                    return
                self.stop(execution_arn, "OrderForgotten", "the order has ended and was forgotten")
                delete(DurableExecutionArn=execution_arn)

    def get(self, execution_arn: str) -> ExecutionDetails | None:
        """An execution with its input and error, or None when it was deleted or has expired.

        Raises `ExecutionUnavailable`.
        """
        with _translated():
            try:
                found = self._client.get_durable_execution(DurableExecutionArn=execution_arn)
            except ClientError as error:
                if _is_gone(error):
                    return None
                raise
        reason = found.get("Error", {})
        return ExecutionDetails(
            arn=found["DurableExecutionArn"],
            status=found["Status"],
            input=found.get("InputPayload", ""),
            error_type=bare_class_name(reason["ErrorType"]) if "ErrorType" in reason else None,
            error_message=reason.get("ErrorMessage"),
            result=found.get("Result"),
        )

    def ended(
        self, started_after: datetime, statuses: Sequence["ExecutionStatusType"] = ENDED
    ) -> Iterator[list[EndedExecution]]:
        """Executions of all versions that ended with one of the statuses, newest first, one page per item.

        botocore's model of Lambda says: without `Qualifier` the list covers all versions. An older API reference says
        it covers `$LATEST`, and then this list would be empty. The contract test
        `test_a_list_without_a_qualifier_has_the_executions_of_published_versions` checks it against Lambda.

        Raises `ExecutionUnavailable`.
        """
        function_arn = self._orchestrator_arn.rpartition(":")[0]
        paginator = self._client.get_paginator("list_durable_executions_by_function")
        pages = iter(
            paginator.paginate(
                FunctionName=function_arn,
                Statuses=list(statuses),
                StartedAfter=started_after,
                PaginationConfig={"PageSize": _PAGE},
            )
        )
        while True:
            with _translated():
                page = next(pages, None)
            if page is None:
                return
            yield [
                EndedExecution(found["DurableExecutionArn"], found["Status"], found.get("EndTimestamp"))
                for found in page.get("DurableExecutions", [])
            ]


def _is_gone(error: ClientError) -> bool:
    return error.response["Error"]["Code"] == "ResourceNotFoundException"


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise ExecutionUnavailable(f"Lambda: {error}") from error
    except BotoCoreError as error:
        raise ExecutionUnavailable(f"Lambda did not answer: {error}") from error
