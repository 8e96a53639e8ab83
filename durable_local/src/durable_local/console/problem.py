"""Why a read or an action failed, in words for a person, with what to do next."""

from dataclasses import dataclass

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
)
from botocore.exceptions import (
    ConnectionError as NoConnection,
)

from durable_local.errors import LocalStackError, one_line

_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedException"})

AGAIN = "A page reads again by itself; an action is not repeated."


@dataclass(frozen=True)
class Problem:
    """`title`: what is wrong. `text`: what to do."""

    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.title}: {self.text}"


class NotShown(Exception):
    """Raised by a page's `read` to say in words why there is nothing to show."""

    def __init__(self, title: str, text: str) -> None:
        self.problem = Problem(title, text)
        super().__init__(str(self.problem))


FAILURES = (ClientError, BotoCoreError, LocalStackError, NotShown)


def problem_of(error: Exception) -> Problem:
    """The problem that an exception of FAILURES is."""
    match error:
        case NotShown():
            return error.problem
        case ClientError():
            return _refusal(error)
        case LocalStackError():
            return Problem("No local stack runs", f"{one_line(error)}. This page continues by itself when it is back.")
        case NoCredentialsError() | NoRegionError():
            return Problem("No credentials or no region", f"{error} Start the console with --profile and --region.")
        case HTTPClientError() | NoConnection():
            return Problem("There is no answer", AGAIN)
        case _:
            return Problem("The request could not be made", str(error))


def is_denied(error: Exception) -> bool:
    """Whether AWS refused a request because the credentials do not allow it."""
    return isinstance(error, ClientError) and error.response["Error"].get("Code") in _DENIED


def _refusal(error: ClientError) -> Problem:
    code, text = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", str(error))
    if is_denied(error):
        return Problem("No permission", f"These credentials may not call {error.operation_name}. {text}")
    match code:
        case "UnrecognizedClientException" | "InvalidSignatureException" | "ExpiredTokenException" | "ExpiredToken":
            return Problem("The credentials are not accepted", text)
        case "TooManyRequestsException" | "ThrottlingException" | "Throttling":
            return Problem("Too many requests", f"{text} {AGAIN}")
        case "ResourceNotFoundException":
            return Problem("Not found", f"{text.rstrip('.')}. It may have been deleted, or its retention has ended.")
        case _:
            return Problem(code, text)
