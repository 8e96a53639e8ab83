"""Processes one message: starts its order's execution, or rejects it with the reason.

Other errors are raised, and then the message is given back to the queue.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from shared.aws.rejected_orders import Received, RejectedOrders
from shared.errors import FieldError, InvalidOrder, OrderConflict, OrderError, RejectUnavailable
from shared.executions.client import ExecutionsClient
from shared.ledger.conflict import conflict_errors
from shared.ledger.table import LedgerReader
from shared.orders.order import Order, parse_order

ACCEPTED: Final = "ACCEPTED"
"""The outcome of a message whose order is started. The outcome of a reject is its reason code."""


@dataclass(frozen=True)
class Intake:
    """Starts orders and rejects messages."""

    executions: ExecutionsClient
    rejected: RejectedOrders
    ledger: LedgerReader
    logger: Logger
    order_id_prefix: str = ""
    """The beginning that every order id must have."""

    def take(self, record: SQSRecord) -> str:
        """Start the order in the record, or reject the record. Returns `ACCEPTED`, or the reason code.

        An order is accepted when Lambda has an execution with its name and payload. Lambda's response does not say
        whether this start began that execution or joined one that may have ended.

        Raises `StartUnavailable`, `RejectUnavailable`, or another error of AWS. Then the message is received again, and
        after ten receives it moves to the dead-letter queue.
        """
        try:
            order = parse_order(record.body)
        except InvalidOrder as error:
            return self._reject(record, None, error.code, error.errors)
        except Exception as error:
            self._log_given_back(record, None, error)
            raise
        if not order.order_id.startswith(self.order_id_prefix):
            wrong = FieldError("orderId", f"should begin with {self.order_id_prefix}")
            return self._reject(record, order.order_id, InvalidOrder.code, [wrong])
        try:
            execution_arn = self.executions.start(order)
        except OrderConflict as error:
            return self._reject(record, order.order_id, error.code, self._conflict_errors(order))
        except Exception as error:
            self._log_given_back(record, order.order_id, error)
            raise
        self.logger.info(
            "order accepted", orderId=order.order_id, messageId=record.message_id, executionArn=execution_arn
        )
        return ACCEPTED

    def _conflict_errors(self, order: Order) -> list[FieldError]:
        """What differs from the first order. Lambda does not say it, so it is read from the ledger."""
        try:
            return conflict_errors(order, self.ledger.get(order.order_id))
        except OrderError as error:
            # A message that can never become an order must not wait for the ledger.
            self.logger.warning("conflict not explained", orderId=order.order_id, reason=str(error))
            reason = (
                f"order {order.order_id} is known with another body; the ledger could not be read to say what differs"
            )
            return [FieldError("orderId", reason)]

    def _reject(self, record: SQSRecord, order_id: str | None, code: str, errors: Sequence[FieldError]) -> str:
        try:
            self.rejected.send(record.body, record.message_id, code, errors, Received.of(record.raw_event))
        except RejectUnavailable as error:
            self._log_given_back(record, order_id, error)
            raise
        fields = [error.logged_field for error in errors]
        self.logger.warning(
            "message rejected", orderId=order_id, messageId=record.message_id, reasonCode=code, fields=fields
        )
        return code

    def _log_given_back(self, record: SQSRecord, order_id: str | None, error: Exception) -> None:
        self.logger.warning(
            "message given back",
            orderId=order_id,
            messageId=record.message_id,
            error=f"{type(error).__name__}: {error}",
        )
