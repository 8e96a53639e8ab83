"""What becomes of one message: an execution started once, or the message set aside with its reason.

Anything else is raised, and the message given back to its queue.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from ingest.messages import order_in
from shared.aws.rejected_orders import RejectedOrders
from shared.errors import FieldError, InvalidOrder, OrderConflict, RejectUnavailable
from shared.executions.client import OrderExecutions


@dataclass(frozen=True)
class Intake:
    """Takes messages in."""

    executions: OrderExecutions
    rejected: RejectedOrders
    logger: Logger

    def take(self, record: SQSRecord) -> None:
        """Start the record's order, or set the record aside.

        Raises `StartUnavailable` or `RejectUnavailable`, or whatever else AWS refused the request with: the message
        comes again, and in the end its queue's dead-letter queue keeps it.
        """
        try:
            order = order_in(record.body)
        except InvalidOrder as error:
            self._set_aside(record, None, error.code, error.errors)
            return
        except Exception as error:
            self._log_given_back(record, None, error)
            raise
        try:
            execution_arn = self.executions.start(order)
        except OrderConflict as error:
            self._set_aside(record, order.order_id, error.code, [FieldError("orderId", str(error))])
        except Exception as error:
            self._log_given_back(record, order.order_id, error)
            raise
        else:
            self.logger.info(
                "order started", orderId=order.order_id, messageId=record.message_id, executionArn=execution_arn
            )

    def _set_aside(self, record: SQSRecord, order_id: str | None, code: str, errors: Sequence[FieldError]) -> None:
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
