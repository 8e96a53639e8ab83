"""The format of all log lines: JSON, with the order id and no other value of the order."""

import json
import logging
from typing import Final, TextIO

from aws_lambda_powertools import Logger

_ENCODE: Final = json.JSONEncoder(default=str, separators=(",", ":"), ensure_ascii=False).encode

# At DEBUG these log whole requests, with orders and session tokens, and Lambda sets the level of every logger.
_VERBOSE_LIBRARIES = ("boto3", "botocore", "urllib3", "aws_durable_execution_sdk_python")


def logger(service: str, stream: TextIO | None = None) -> Logger:
    """The function's logger, to standard output or `stream`. Its level is that of Lambda (`AWS_LAMBDA_LOG_LEVEL`).

    Powertools' `location` is off: for lines of the durable context it would name the SDK's code.
    """
    for name in _VERBOSE_LIBRARIES:
        logging.getLogger(name).setLevel(logging.INFO)
    return Logger(
        service=service,
        use_rfc3339=True,
        utc=True,
        location=None,
        stream=stream,
        # Powertools makes an encoder for each line, and tries to read each message as JSON.
        json_serializer=_ENCODE,
        json_deserializer=str,
    )
