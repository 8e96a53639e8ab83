"""The local stack's errors: one kind for people, one for AWS clients.

- `LocalStackError`: a command or `local_stack` failed. Its text is one line.
- `ApiError`: a request failed. It is answered as Lambda would answer it.
"""

import json
from dataclasses import dataclass, field
from http import HTTPStatus

# For throttled callers: quotas here are counted per second.
RETRY_AFTER_SECONDS = 1


class LocalStackError(Exception):
    """A command or `local_stack` failed; the text is the one line that the user sees."""


def one_line(error: Exception) -> str:
    """The error's text and its notes on one line."""
    return "; ".join([str(error), *getattr(error, "__notes__", [])])


@dataclass
class ApiError(Exception):
    """An error in Lambda's format (REST-JSON): boto3 raises `client.exceptions.<code>` for it.

    botocore reads the code from the `x-amzn-errortype` header. In Lambda's model the text is called `message` in some
    shapes and `Message` in others, so both are sent.
    """

    code: str
    message: str
    status: int = HTTPStatus.BAD_REQUEST
    details: dict[str, str] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        """The response's headers: `x-amzn-errortype`, and `Retry-After` where Lambda's model has it."""
        headers = {"Content-Type": "application/json", "x-amzn-errortype": self.code}
        if self.status == HTTPStatus.TOO_MANY_REQUESTS:
            headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return headers

    @property
    def body(self) -> bytes:
        """The response's body; its `Type` says whether the caller or the service caused the error."""
        caused_by = "User" if self.status < HTTPStatus.INTERNAL_SERVER_ERROR else "Service"
        content = {"Type": caused_by, "message": self.message, "Message": self.message, **self.details}
        return json.dumps(content).encode()

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def invalid_parameter(message: str) -> ApiError:
    """Lambda's answer (400) to an invalid request."""
    return ApiError("InvalidParameterValueException", message)


def not_found(message: str) -> ApiError:
    """Lambda's answer (404) to the name of something that does not exist."""
    return ApiError("ResourceNotFoundException", message, HTTPStatus.NOT_FOUND)


def conflict(message: str) -> ApiError:
    """Lambda's answer (409) to a request that the present state of a resource does not allow."""
    return ApiError("ResourceConflictException", message, HTTPStatus.CONFLICT)
