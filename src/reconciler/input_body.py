"""An execution's input as the body of a message: SQS accepts fewer texts than Lambda."""

import re
from typing import Final

MAX_BODY_BYTES: Final = 1_032_192
"""The largest message of the orders queue. SQS accepts 16 KiB more, which the reject's attributes need."""

EMPTY: Final = "(the execution has no input)"
"""SQS refuses an empty body."""

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
_REFUSED: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def body_of(text: str) -> tuple[str, bool]:
    r"""The body, and whether all of the input is in it: a longer one is cut.

    A character that SQS refuses is written as `\uXXXX`, which means the same in JSON.
    """
    accepted = _REFUSED.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()
    body = accepted[:MAX_BODY_BYTES].decode(errors="ignore")
    return body or EMPTY, len(accepted) <= MAX_BODY_BYTES
