"""A pause of an execution, from its request until it is resumed.

https://docs.aws.amazon.com/lambda/latest/dg/durable-pause-resume.html: a paused execution is not invoked, but its
waits and callbacks complete. A running invocation stops at its next checkpoint.
"""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

# How long a client token identifies a request.
TOKEN_LASTS = timedelta(minutes=15)

TIMES = ("requested", "began", "resume_requested")


@dataclass
class Pause:
    """`began` is None, and the status PAUSING, until the running invocation stops."""

    requested: datetime
    timeout_paused: bool
    reason: str | None = None
    client_token: str | None = None
    began: datetime | None = None
    resume_requested: datetime | None = None
    resume_reason: str | None = None
    resume_client_token: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether the execution was resumed."""
        return self.resume_requested is not None

    @property
    def stopped_timeout(self) -> timedelta:
        """By how much it delays the ExecutionTimeout, once it is over."""
        if not self.timeout_paused or self.began is None or self.resume_requested is None:
            return timedelta()
        return self.resume_requested - self.began

    def is_repeated_by(self, other: "Pause") -> bool:
        """Whether `other` is a repetition of this request, which gets the same answer."""
        return (
            self.client_token is not None
            and self.client_token == other.client_token
            and (self.reason, self.timeout_paused) == (other.reason, other.timeout_paused)
            and other.requested - self.requested < TOKEN_LASTS
        )

    def is_resumption_repeated(self, client_token: str | None, reason: str | None, now: datetime) -> bool:
        """Whether a resume request of `now` repeats the one that ended this pause."""
        return (
            self.resume_requested is not None
            and client_token is not None
            and (self.resume_client_token, self.resume_reason) == (client_token, reason)
            and now - self.resume_requested < TOKEN_LASTS
        )

    def to_json_dict(self) -> dict[str, Any]:
        """What `from_json_dict` reads."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(self).items()
        }

    @classmethod
    def from_json_dict(cls, data: dict[str, Any]) -> "Pause":
        """The stored pause."""
        values: dict[str, Any] = {
            name: datetime.fromisoformat(value) if name in TIMES and value else value for name, value in data.items()
        }
        return cls(**values)
