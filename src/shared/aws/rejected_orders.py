"""The rejected-orders queue: messages that can never become an order, with the reason and the unchanged body."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

from shared.errors import FieldError, RejectUnavailable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageAttributeValueTypeDef

MAX_FIELD_ERRORS_BYTES: Final = 8 * 1024
"""The limit for `fieldErrors`. The orders queue accepts 16 KiB less than SQS allows: the attributes need that space."""


class RejectedOrders:
    """The rejected-orders queue. A message is sent at least once; repeats have the same `sourceMessageId`.

    For a conflict that ingest could not see, `sourceMessageId` is the execution's ARN.
    """

    def __init__(self, client: "SQSClient", queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    def send(self, body: str, source_message_id: str, reason_code: str, errors: Sequence[FieldError]) -> None:
        """Send the body with its reason. Raises `RejectUnavailable`: then the caller must give the message back."""
        try:
            self._client.send_message(
                QueueUrl=self._queue_url,
                MessageBody=body,
                MessageAttributes={
                    "reasonCode": _text(reason_code),
                    "sourceMessageId": _text(source_message_id),
                    "fieldErrors": _text(field_errors_json(errors)),
                },
            )
        except (ClientError, BotoCoreError) as error:
            raise RejectUnavailable(f"the rejected-orders queue did not take the message: {error}") from error


def field_errors_json(errors: Sequence[FieldError]) -> str:
    """The errors as a JSON list of `{field, reason}`, as many as fit. In ASCII: a field name can hold any character."""
    fitting: list[dict[str, str]] = []
    for error in errors:
        more = [*fitting, {"field": error.field, "reason": error.reason}]
        if len(json.dumps(more)) > MAX_FIELD_ERRORS_BYTES:
            break
        fitting = more
    return json.dumps(fitting)


def _text(value: str) -> "MessageAttributeValueTypeDef":
    return {"DataType": "String", "StringValue": value}
