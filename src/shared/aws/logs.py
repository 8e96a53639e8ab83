"""One structured log line for everything: JSON, with the order id, nothing of the order's content."""

import logging

from aws_lambda_powertools import Logger

# At DEBUG they log requests whole, orders and session tokens in them; Lambda sets the level of every logger.
_TALKATIVE = ("boto3", "botocore", "urllib3", "aws_durable_execution_sdk_python")


def logger(service: str) -> Logger:
    """The function's logger. The level comes from Lambda's own log settings (`AWS_LAMBDA_LOG_LEVEL`).

    Without Powertools' `location`: for a line of the durable context it would name the SDK's own code.
    """
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.INFO)
    return Logger(service=service, use_rfc3339=True, utc=True, location=None)
