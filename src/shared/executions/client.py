"""Orders' executions on Lambda: started, stopped, and read as Lambda knows them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

from shared.aws.clients import may_pass
from shared.errors import ExecutionUnavailable, OrderConflict, StartUnavailable
from shared.executions.names import ExecutionName
from shared.orders.order import Order

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_lambda.literals import ExecutionStatusType

ENDED_BADLY: Final[tuple["ExecutionStatusType", ...]] = ("FAILED", "TIMED_OUT", "STOPPED")
"""How an execution ends that did not succeed. The ledger's states of the same names mean the same."""

_PAGE: Final = 1000


@dataclass(frozen=True)
class ExecutionSummary:
    """An execution that has ended, as a list shows it. Lambda need not say when."""

    arn: str
    status: str
    ended_at: datetime | None = None


@dataclass(frozen=True)
class ExecutionRecord:
    """An execution as Lambda keeps it until its retention ends. `input` is the text it was started with."""

    arn: str
    status: str
    input: str
    error_type: str | None = None
    error_message: str | None = None


class OrderExecutions:
    """The orchestrator's executions, through its alias."""

    def __init__(self, client: "LambdaClient", orchestrator_arn: str, stack_id: str) -> None:
        """`orchestrator_arn` is the alias's ARN: Lambda refuses to start a durable function without a qualifier."""
        self._client = client
        self._orchestrator_arn = orchestrator_arn
        self._stack_id = stack_id

    def start(self, order: Order, attempt: int = 1) -> str:
        """Start the attempt, or join it where it was started before, and answer its execution's ARN.

        Raises `OrderConflict` when the name is taken by another body, `StartUnavailable` when Lambda
        throttles, fails or does not answer; any other refusal of Lambda's is raised as it came.
        """
        name = ExecutionName.of(self._stack_id, order.order_id, attempt)
        try:
            response = self._client.invoke(
                FunctionName=self._orchestrator_arn,
                InvocationType="Event",
                DurableExecutionName=str(name),
                Payload=order.canonical_bytes(),
            )
            # botocore gives the connection back to its pool only when the body was read.
            response["Payload"].read()
        except ClientError as error:
            # By its code: botocore builds `client.exceptions` on first use, and threads that do so together do not
            # all catch the class that is raised.
            if error.response["Error"]["Code"] == "DurableExecutionAlreadyStartedException":
                raise OrderConflict(f"order {order.order_id} was already started with another body") from None
            if may_pass(error):
                raise StartUnavailable(f"Lambda did not take the start: {error}") from error
            raise
        except BotoCoreError as error:
            raise StartUnavailable(f"Lambda did not answer the start: {error}") from error
        return response["DurableExecutionArn"]

    def stop(self, execution_arn: str, error_type: str, message: str) -> None:
        """Stop an execution, with the reason it ends with; one that has ended or is gone stays as it is.

        Code that is running goes on until its next checkpoint. Raises `ExecutionUnavailable`.
        """
        with _translated():
            try:
                self._client.stop_durable_execution(
                    DurableExecutionArn=execution_arn, Error={"ErrorType": error_type, "ErrorMessage": message}
                )
            except ClientError as error:
                if not _is_gone(error):
                    raise

    def get(self, execution_arn: str) -> ExecutionRecord | None:
        """An execution with its input and error, or None when Lambda keeps it no more.

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
        return ExecutionRecord(
            arn=found["DurableExecutionArn"],
            status=found["Status"],
            input=found.get("InputPayload", ""),
            error_type=reason.get("ErrorType"),
            error_message=reason.get("ErrorMessage"),
        )

    def ended_badly(self, started_after: datetime) -> Iterator[list[ExecutionSummary]]:
        """Executions of every version that did not succeed, newest first, a page at a time.

        Without `Qualifier` the list is over all versions by botocore's model of Lambda; an older API reference says
        `$LATEST`, which would leave this list empty. The contract test
        `test_a_list_without_a_qualifier_has_the_executions_of_published_versions` asks Lambda itself.

        Raises `ExecutionUnavailable`.
        """
        function_arn = self._orchestrator_arn.rpartition(":")[0]
        paginator = self._client.get_paginator("list_durable_executions_by_function")
        pages = iter(
            paginator.paginate(
                FunctionName=function_arn,
                Statuses=list(ENDED_BADLY),
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
                ExecutionSummary(found["DurableExecutionArn"], found["Status"], found.get("EndTimestamp"))
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
