"""Refuses messages that SQS refuses and MiniStack accepts.

The rules: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html
and the SendMessage API. The codes are SQS's; the texts are similar.
"""

import base64
import contextlib
import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

from .patching import Original, Patch

MAX_ATTRIBUTES = 10
MAX_NAME_CHARACTERS = 256
MAX_BATCH_BYTES = 1_048_576

ATTRIBUTE_NAME = re.compile(r"(?!(?i:aws\.|amazon\.))[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
DATA_TYPE = re.compile(r"(String|Number|Binary)(?:\..{1,249})?", re.DOTALL)
NOT_ALLOWED = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


SQS = "ministack.services.sqs"
patch = Patch(__name__)
queue_of = patch.uses(SQS, "_get_q")
sqs_error = patch.uses(SQS, "_Err")
actions = patch.uses(SQS, "_HANDLERS")
send_message_now = patch.uses(SQS, "_act_send_message")
send_batch_now = patch.uses(SQS, "_act_send_message_batch")


class RefusedMessageError(Exception):
    """The message breaks a rule; `code` is the error code."""

    def __init__(self, message: str, code: str = "InvalidParameterValue") -> None:
        super().__init__(message)
        self.code = code


@patch.replaces(SQS, "_act_send_message")
def send_message(original: Original, data: dict[str, Any], queue_url: str) -> Any:
    """SendMessage, also for each entry of a batch."""
    queue = queue_of.call(data.get("QueueUrl", queue_url), "sqs:SendMessage")
    with _as_sqs_error():
        check_message(data, int(queue["attributes"].get("MaximumMessageSize", MAX_BATCH_BYTES)))
    return original(data, queue_url)


@patch.replaces(SQS, "_act_send_message_batch")
def send_batch(original: Original, data: dict[str, Any], queue_url: str) -> Any:
    """SendMessageBatch."""
    with _as_sqs_error():
        check_batch(data)
    return original(data, queue_url)


@patch.at_start
def register() -> None:
    """MiniStack's table of actions still has the originals."""
    actions.get().update(SendMessage=send_message_now.get(), SendMessageBatch=send_batch_now.get())


@contextlib.contextmanager
def _as_sqs_error() -> Iterator[None]:
    try:
        yield
    except RefusedMessageError as error:
        raise sqs_error.call(error.code, str(error)) from error


def check_message(message: dict[str, Any], max_bytes: int) -> None:
    """Raises RefusedMessageError; `message` is a SendMessage request or an entry of a batch."""
    attributes: dict[str, dict[str, Any]] = message.get("MessageAttributes") or {}
    if len(attributes) > MAX_ATTRIBUTES:
        raise RefusedMessageError(
            f"Number of message attributes [{len(attributes)}] exceeds the allowed maximum [{MAX_ATTRIBUTES}]."
        )
    for name, attribute in attributes.items():
        _check_attribute(name, attribute)
    if size_of(message) > max_bytes:
        raise RefusedMessageError(
            f"One or more parameters are invalid. Reason: Message must be shorter than {max_bytes} bytes."
        )


def check_batch(request: dict[str, Any]) -> None:
    """Raises RefusedMessageError for a batch that is refused as a whole."""
    total = sum(size_of(entry) for entry in request.get("Entries") or [])
    if total > MAX_BATCH_BYTES:
        raise RefusedMessageError(
            f"Batch requests cannot be longer than {MAX_BATCH_BYTES} bytes. You have sent {total} bytes.",
            "BatchRequestTooLong",
        )


def size_of(message: dict[str, Any]) -> int:
    """Bytes of the body and of the attributes' names, types and values."""
    return sum(len(part) for part in _parts(message))


def _parts(message: dict[str, Any]) -> Iterator[bytes]:
    yield _utf8(message.get("MessageBody") or "")
    for name, attribute in (message.get("MessageAttributes") or {}).items():
        yield _utf8(name)
        yield _utf8(attribute.get("DataType") or "")
        yield _utf8(attribute.get("StringValue") or "")
        yield _binary(attribute)


def _check_attribute(name: str, attribute: dict[str, Any]) -> None:
    if len(name) > MAX_NAME_CHARACTERS or not ATTRIBUTE_NAME.fullmatch(name):
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
