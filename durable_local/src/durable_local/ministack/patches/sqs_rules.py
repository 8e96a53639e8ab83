# mypy: disable-error-code="import-not-found"
"""What SQS refuses in a message and MiniStack does not: a green run here must mean green on AWS.

The rules: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html
and the SendMessage API. Codes are SQS's; texts are close to its.
"""

from __future__ import annotations

import base64
import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST_ATTRIBUTES = 10
LONGEST_NAME = 256
LARGEST_BATCH_BYTES = 1_048_576

ATTRIBUTE_NAME = re.compile(r"(?!(?i:aws\.|amazon\.))[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
DATA_TYPE = re.compile(r"(String|Number|Binary)(?:\..{1,249})?", re.DOTALL)
NOT_ALLOWED = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class RefusedMessageError(Exception):
    """The message breaks a rule; `code` is the error's."""

    def __init__(self, message: str, code: str = "InvalidParameterValue") -> None:
        super().__init__(message)
        self.code = code


def install() -> None:
    """Puts the rules in front of MiniStack's SendMessage and SendMessageBatch."""
    from ministack.services import sqs  # noqa: PLC0415 - not before sys.executable is set

    send, send_batch = sqs._act_send_message, sqs._act_send_message_batch  # noqa: SLF001 - there is no public way

    def checked(check: Callable[[dict[str, Any], str], None], action: Callable[..., Any]) -> Callable[..., Any]:
        def act(data: dict[str, Any], queue_url: str) -> Any:
            try:
                check(data, queue_url)
            except RefusedMessageError as error:
                raise sqs._Err(error.code, str(error)) from error  # noqa: SLF001
            return action(data, queue_url)

        return act

    def check_one(data: dict[str, Any], queue_url: str) -> None:
        queue = sqs._get_q(data.get("QueueUrl", queue_url), "sqs:SendMessage")  # noqa: SLF001
        check_message(data, int(queue["attributes"].get("MaximumMessageSize", LARGEST_BATCH_BYTES)))

    # A batch sends each of its entries by the first of the two.
    sqs._act_send_message = checked(check_one, send)  # noqa: SLF001
    sqs._act_send_message_batch = checked(lambda data, _: check_batch(data), send_batch)  # noqa: SLF001
    for table in (value for value in vars(sqs).values() if isinstance(value, dict)):
        for name, action in table.items():
            if action is send:
                table[name] = sqs._act_send_message  # noqa: SLF001
            elif action is send_batch:
                table[name] = sqs._act_send_message_batch  # noqa: SLF001


def check_message(message: dict[str, Any], largest_bytes: int) -> None:
    """Raises RefusedMessageError; `message` is a SendMessage request or an entry of a batch."""
    attributes: dict[str, dict[str, Any]] = message.get("MessageAttributes") or {}
    if len(attributes) > MOST_ATTRIBUTES:
        raise RefusedMessageError(
            f"Number of message attributes [{len(attributes)}] exceeds the allowed maximum [{MOST_ATTRIBUTES}]."
        )
    for name, attribute in attributes.items():
        _check_attribute(name, attribute)
    if size_of(message) > largest_bytes:
        raise RefusedMessageError(
            f"One or more parameters are invalid. Reason: Message must be shorter than {largest_bytes} bytes."
        )


def check_batch(request: dict[str, Any]) -> None:
    """Raises RefusedMessageError for what refuses a batch as a whole."""
    total = sum(size_of(entry) for entry in request.get("Entries") or [])
    if total > LARGEST_BATCH_BYTES:
        raise RefusedMessageError(
            f"Batch requests cannot be longer than {LARGEST_BATCH_BYTES} bytes. You have sent {total} bytes.",
            "BatchRequestTooLong",
        )


def size_of(message: dict[str, Any]) -> int:
    """Bytes of body and attributes: names, types and values count."""
    return sum(len(part) for part in _parts(message))


def _parts(message: dict[str, Any]) -> Iterator[bytes]:
    yield _utf8(message.get("MessageBody") or "")
    for name, attribute in (message.get("MessageAttributes") or {}).items():
        yield _utf8(name)
        yield _utf8(attribute.get("DataType") or "")
        yield _utf8(attribute.get("StringValue") or "")
        yield _binary(attribute)


def _check_attribute(name: str, attribute: dict[str, Any]) -> None:
    if len(name) > LONGEST_NAME or not ATTRIBUTE_NAME.fullmatch(name):
        raise RefusedMessageError(f"The message (user) attribute name {name!r} is not valid.")
    data_type = DATA_TYPE.fullmatch(attribute.get("DataType") or "")
    if data_type is None:
        raise RefusedMessageError(
            f"The message attribute '{name}' has an invalid message attribute type, the set of supported type "
            "prefixes is Binary, Number, and String."
        )
    kind = data_type[1]
    text = attribute.get("StringValue") or ""
    if not (_binary(attribute) if kind == "Binary" else text):
        raise RefusedMessageError(f"Message (user) attribute '{name}' must contain a non-empty value of type '{kind}'.")
    if found := NOT_ALLOWED.search(text):
        raise RefusedMessageError(
            f"Invalid binary character '#x{ord(found[0]):X}' was found in the message attribute '{name}' value, "
            "the set of allowed characters is #x9 | #xA | #xD | [#x20 to #xD7FF] | [#xE000 to #xFFFD] | "
            "[#x10000 to #x10FFFF]"
        )
    if kind == "Number" and not _is_number(text):
        raise RefusedMessageError(f"Can't cast the value of message (user) attribute '{name}' to a number.")


def _is_number(text: str) -> bool:
    try:
        return Decimal(text).is_finite()
    except InvalidOperation:
        return False


def _binary(attribute: dict[str, Any]) -> bytes:
    value = attribute.get("BinaryValue") or b""
    return value if isinstance(value, bytes) else base64.b64decode(value)


def _utf8(text: str) -> bytes:
    return text.encode(errors="surrogatepass")
