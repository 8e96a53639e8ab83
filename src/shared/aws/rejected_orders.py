"""The rejected-orders queue: messages that can never become an order, with the reason and the unchanged body."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from shared.errors import FieldError, RejectUnavailable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageAttributeValueTypeDef, MessageAttributeValueUnionTypeDef

MAX_FIELD_ERRORS_BYTES: Final = 15 * 1024
"""The limit for `fieldErrors`. The orders queue accepts 16 KiB less than SQS allows: the attributes need that space."""

ATTRIBUTES: Final = ("reasonCode", "sourceMessageId", "fieldErrors")
"""The attributes of a reject that the pipeline sets. Whatever sends the message again leaves these out."""

_MORE_BYTES: Final = 100

MAX_ATTRIBUTES: Final = 10
"""SQS's limit for the attributes of a message."""


@dataclass(frozen=True)
class Received:
    """What a message came with beside its body: a producer finds it by this again."""

    attributes: Mapping[str, "MessageAttributeValueUnionTypeDef"] = field(default_factory=dict)
    group_id: str | None = None
    trace_header: str | None = None

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Received":
        """From a record of Lambda's event, whose names begin with a small letter and whose binary values are base64."""
        attributes: dict[str, MessageAttributeValueTypeDef] = {}
        for name, value in record.get("messageAttributes", {}).items():
            if "stringValue" in value:
                attributes[name] = {"DataType": value["dataType"], "StringValue": value["stringValue"]}
            elif "binaryValue" in value:
                attributes[name] = {
                    "DataType": value["dataType"],
                    "BinaryValue": base64.b64decode(value["binaryValue"]),
                }
        system = record.get("attributes", {})
        return cls(attributes, system.get("MessageGroupId"), system.get("AWSTraceHeader"))

    def options(self, ours: Mapping[str, "MessageAttributeValueTypeDef"]) -> dict[str, Any]:
        """The parameters of `SendMessage`: these attributes as far as SQS's ten allow, after `ours`."""
        others = [(name, value) for name, value in sorted(self.attributes.items()) if name not in ours]
        options: dict[str, Any] = {"MessageAttributes": {**ours, **dict(others[: MAX_ATTRIBUTES - len(ours)])}}
        if self.group_id is not None:
            options["MessageGroupId"] = self.group_id
        if self.trace_header is not None:
            options["MessageSystemAttributes"] = {"AWSTraceHeader": _text(self.trace_header)}
        return options


_NOTHING: Final = Received()


class RejectedOrders:
    """The rejected-orders queue. A message is sent at least once; repeats have the same `sourceMessageId`.

    For a conflict that ingest could not see, `sourceMessageId` is the execution's ARN.
    """

    def __init__(self, client: "SQSClient", queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    def send(
        self,
        body: str,
        source_message_id: str,
        reason_code: str,
        errors: Sequence[FieldError],
        received: Received = _NOTHING,
    ) -> None:
        """Send the body with its reason, and with what it came with.

        Raises `RejectUnavailable`: then the caller must give the message back.
        """
        reason = {
            "reasonCode": _text(reason_code),
            "sourceMessageId": _text(source_message_id),
            "fieldErrors": _text(field_errors_json(errors)),
        }
        try:
            self._client.send_message(QueueUrl=self._queue_url, MessageBody=body, **received.options(reason))
        except (ClientError, BotoCoreError) as error:
            raise RejectUnavailable(f"the rejected-orders queue did not take the message: {error}") from error


def field_errors_json(errors: Sequence[FieldError]) -> str:
    """The errors as a JSON list of `{field, reason}`. In ASCII: a field name can hold any character.

    If not all fit, as many as fit and how many are left out.
    """
    listed: list[dict[str, str]] = []
    size = 0
    for number, error in enumerate(errors):
        entry = {"field": error.field, "reason": f"{error.reason}, {error.hint}" if error.hint else error.reason}
        size += len(json.dumps(entry)) + 2
        if size > MAX_FIELD_ERRORS_BYTES - _MORE_BYTES:
            listed.append({"field": "", "reason": f"{len(errors) - number} more, for which SQS has no space here"})
            break
        listed.append(entry)
    return json.dumps(listed)


def _text(value: str) -> "MessageAttributeValueTypeDef":
    return {"DataType": "String", "StringValue": value}
