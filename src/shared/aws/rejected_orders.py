"""Sets aside what can never become an order, with the reason beside the unchanged body."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

from shared.errors import FieldError, RejectUnavailable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageAttributeValueTypeDef

MAX_FIELD_ERRORS_BYTES: Final = 8 * 1024
"""The orders queue takes 16 KiB less than SQS does: room for the attributes beside the largest body."""


class RejectedOrders:
    """The rejected-orders queue. A reject is sent at least once; `sourceMessageId` tells repeats.

    For a conflict that only an execution could see, that is the execution's ARN.
    """

    def __init__(self, client: "SQSClient", queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    def send(self, body: str, source_message_id: str, reason_code: str, errors: Sequence[FieldError]) -> None:
        """Send the body with its reason. Raises `RejectUnavailable`: the message must be given back then."""
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
    """The errors as a JSON list of `{field, reason}`, as many as fit; ASCII, since a field can hold any character."""
    fitting: list[dict[str, str]] = []
    for error in errors:
        more = [*fitting, {"field": error.field, "reason": error.reason}]
        if len(json.dumps(more)) > MAX_FIELD_ERRORS_BYTES:
            break
        fitting = more
    return json.dumps(fitting)


def _text(value: str) -> "MessageAttributeValueTypeDef":
    return {"DataType": "String", "StringValue": value}
