"""Processes one message: starts its order's execution, or rejects it with the reason.

Other errors are raised, and then the message is given back to the queue.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from ingest.messages import order_in
from shared.aws.rejected_orders import RejectedOrders
from shared.errors import FieldError, InvalidOrder, OrderConflict, RejectUnavailable
from shared.executions.client import ExecutionsClient


@dataclass(frozen=True)
class Intake:
    """Starts orders and rejects messages."""

    executions: ExecutionsClient
    rejected: RejectedOrders
    logger: Logger

    def take(self, record: SQSRecord) -> None:
        """Start the order in the record, or reject the record.

        Raises `StartUnavailable`, `RejectUnavailable`, or another error of AWS. Then the message is received again, and
        after ten receives it moves to the dead-letter queue.
        """
        try:
            order = order_in(record.body)
        except InvalidOrder as error:
            self._reject(record, None, error.code, error.errors)
            return
        except Exception as error:
            self._log_given_back(record, None, error)
            raise
        try:
            execution_arn = self.executions.start(order)
        except OrderConflict as error:
            self._reject(record, order.order_id, error.code, [FieldError("orderId", str(error))])
        except Exception as error:
            self._log_given_back(record, order.order_id, error)
            raise
        else:
            self.logger.info(
                "order started", orderId=order.order_id, messageId=record.message_id, executionArn=execution_arn
            )

    def _reject(self, record: SQSRecord, order_id: str | None, code: str, errors: Sequence[FieldError]) -> None:
        try:
            self.rejected.send(record.body, record.message_id, code, errors)
        except RejectUnavailable as error:
            self._log_given_back(record, order_id, error)
            raise
        fields = [error.field for error in errors]
        self.logger.warning(
            "message rejected", orderId=order_id, messageId=record.message_id, reasonCode=code, fields=fields
        )

    def _log_given_back(self, record: SQSRecord, order_id: str | None, error: Exception) -> None:
        self.logger.warning(
            "message given back",
            orderId=order_id,
            messageId=record.message_id,
            error=f"{type(error).__name__}: {error}",
        )
