"""The two kinds of failure of the local stack: one a person reads, one an AWS client parses."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from http import HTTPStatus

# What a throttled caller is told to wait: quotas here are counted by the second.
RETRY_AFTER_SECONDS = 1


class LocalStackError(Exception):
    """The stack could not do what it was asked; its text is the one line a person gets to see."""


def one_line(error: Exception) -> str:
    """The error's text and its notes, for a person."""
    return "; ".join([str(error), *getattr(error, "__notes__", [])])


@dataclass
class ApiError(Exception):
    """An error as AWS Lambda answers it (REST-JSON), so that `client.exceptions.<code>` is raised by boto3.

    botocore reads the code from the `x-amzn-errortype` header. Lambda's models spell the text `message` in
    some shapes and `Message` in others, so both are sent.
    """

    code: str
    message: str
    status: int = HTTPStatus.BAD_REQUEST
    details: dict[str, str] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        """The response's: `x-amzn-errortype`, and `Retry-After` where Lambda's model has it."""
        headers = {"Content-Type": "application/json", "x-amzn-errortype": self.code}
        if self.status == HTTPStatus.TOO_MANY_REQUESTS:
            headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return headers

    @property
    def body(self) -> bytes:
        """The response's, with `Type` naming whose fault it is."""
        fault = "User" if self.status < HTTPStatus.INTERNAL_SERVER_ERROR else "Service"
        content = {"Type": fault, "message": self.message, "Message": self.message, **self.details}
        return json.dumps(content).encode()

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def invalid_parameter(message: str) -> ApiError:
    """Lambda's answer (400) to a request that makes no sense."""
    return ApiError("InvalidParameterValueException", message)


def not_found(message: str) -> ApiError:
    """Lambda's answer (404) to a name that stands for nothing."""
    return ApiError("ResourceNotFoundException", message, HTTPStatus.NOT_FOUND)


def conflict(message: str) -> ApiError:
    """Lambda's answer (409) to what the present state of a resource does not allow."""
    return ApiError("ResourceConflictException", message, HTTPStatus.CONFLICT)
