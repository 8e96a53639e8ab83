"""One structured log line for everything: JSON, with the order id, nothing of the order's content."""

from aws_lambda_powertools import Logger


def logger(service: str) -> Logger:
    """The function's logger. The level comes from Lambda's own log settings (`AWS_LAMBDA_LOG_LEVEL`).

    Without Powertools' `location`: for a line of the durable context it would name the SDK's own code.
    """
    return Logger(service=service, use_rfc3339=True, utc=True, location=None)
