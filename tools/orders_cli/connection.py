"""The stack that a command works on: its outputs, and clients for AWS or for the local stack."""

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Final

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from cyclopts import Parameter

from reconciler.pace import Pace
from shared.aws.clients import client_config
from shared.executions.client import ExecutionsClient
from shared.ledger.table import LedgerTable
from tools.operations.evidence import Sources
from tools.operations.jobs import Jobs
from tools.operations.ledger_items import LedgerItems
from tools.operations.operations_log import OperationsLog
from tools.operations.pause import CALLS_PER_SECOND, Executions, Intake
from tools.orders_cli.failure import CommandFailed

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sqs import SQSClient

_MAX_SYNCHRONOUS_SECONDS: Final = 910
"""Lambda allows a synchronous invoke of an execution of at most 15 minutes."""

_CONFIG: Final = client_config(read_timeout_seconds=20, max_tries=5, connections=16)


@Parameter(name="*", group="Connection")
@dataclass(frozen=True)
class Connection:
    """Where the pipeline is. By default the AWS settings of the environment, and the stack named `orders`."""

    stack: Annotated[str, Parameter(help="The stack's name.")] = "orders"
    region: Annotated[str | None, Parameter(help="The AWS Region.")] = None
    profile: Annotated[str | None, Parameter(help="The profile of the AWS settings.")] = None
    endpoint_url: Annotated[str | None, Parameter(help="Another address than AWS's: a local stack.")] = None

    @cached_property
    def _session(self) -> boto3.Session:
        return boto3.Session(profile_name=self.profile, region_name=self.region)

    def client(self, service: Any) -> Any:
        """A boto3 client of the service, by its name."""
        return self._session.client(service, config=_CONFIG, endpoint_url=self.endpoint_url)

    @cached_property
    def _described(self) -> Any:
        try:
            (stack,) = self.client("cloudformation").describe_stacks(StackName=self.stack)["Stacks"]
        except ClientError as error:
            if "does not exist" not in str(error):
                raise
            raise CommandFailed(
                f"there is no stack {self.stack}: name it with --stack, or start a local one with `make up`"
            ) from None
        return stack

    @property
    def stack_id(self) -> str:
        """`AWS::StackId`: a hash of it is in the names of the stack's executions."""
        return str(self._described["StackId"])

    @cached_property
    def outputs(self) -> dict[str, str]:
        """The stack's outputs by their keys."""
        return {output["OutputKey"]: output["OutputValue"] for output in self._described["Outputs"]}

    @cached_property
    def parameters(self) -> dict[str, str]:
        """The stack's parameters by their keys."""
        return {given["ParameterKey"]: given["ParameterValue"] for given in self._described.get("Parameters", [])}

    @cached_property
    def dynamodb(self) -> "DynamoDBClient":
        """The client of the ledger, customers and operations tables."""
        return self.client("dynamodb")  # type: ignore[no-any-return]

    @cached_property
    def aws_lambda(self) -> "LambdaClient":
        """The client of the functions and executions."""
        return self.client("lambda")  # type: ignore[no-any-return]

    @cached_property
    def synchronous_lambda(self) -> "LambdaClient":
        """The client for an invoke that waits for an order's end: at most 15 minutes, and never sent twice."""
        config = client_config(read_timeout_seconds=_MAX_SYNCHRONOUS_SECONDS, max_tries=1)
        return self._session.client("lambda", config=config, endpoint_url=self.endpoint_url)

    @cached_property
    def sqs(self) -> "SQSClient":
        """The client of the queues."""
        return self.client("sqs")  # type: ignore[no-any-return]

    @cached_property
    def caller(self) -> str:
        """The ARN of the identity that the credentials belong to."""
        return str(self.client("sts").get_caller_identity()["Arn"])

    @cached_property
    def jobs(self) -> Jobs:
        """The jobs of operators."""
        return Jobs(self.dynamodb, self.outputs["OperationsTableName"])

    @cached_property
    def log(self) -> OperationsLog:
        """The log of what operators did, written as the caller."""
        return OperationsLog(self.dynamodb, self.outputs["OperationsTableName"], self.caller)

    @cached_property
    def ledger(self) -> LedgerTable:
        """The ledger, one order at a time."""
        retention = timedelta(days=int(self.parameters.get("LedgerRetentionDays", "0")))
        return LedgerTable(self.dynamodb, self.outputs["LedgerTableName"], retention=retention)

    @cached_property
    def ledger_items(self) -> LedgerItems:
        """The ledger, many items at a time."""
        return LedgerItems(self.dynamodb, self.outputs["LedgerTableName"])

    @cached_property
    def evidence(self) -> Sources:
        """Where the evidence about an order is."""
        return Sources(self.ledger, self.aws_lambda, self.sqs, self.client("logs"), self.outputs, self.stack_id)

    @cached_property
    def intake(self) -> Intake:
        """The event source mapping of the orders queue."""
        return Intake(
            self.aws_lambda,
            self.sqs,
            self.client("cloudwatch"),
            self.outputs["OrderIngestArn"],
            self.outputs["OrdersQueueUrl"],
        )

    @cached_property
    def running(self) -> Executions:
        """The orchestrator's executions, to pause and resume."""
        function_arn = self.outputs["DurableOrderProcessorArn"].rpartition(":")[0]
        return Executions(self.aws_lambda, function_arn, self.stack_id, Pace(CALLS_PER_SECOND))

    @cached_property
    def executions(self) -> ExecutionsClient:
        """The orchestrator's executions."""
        return ExecutionsClient(self.aws_lambda, self.outputs["DurableOrderProcessorArn"], self.stack_id)


ENVIRONMENT: Final = Connection()
"""What a command connects to without options."""

AWS_ERRORS: Final = (ClientError, BotoCoreError)
"""What boto3 raises when AWS refuses a request or does not answer."""
