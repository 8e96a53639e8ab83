"""Where the console reads and acts: a stack on this machine, or an AWS account."""

import functools
import shlex
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import boto3
from botocore.config import Config

from durable_local import lifecycle
from durable_local.errors import LocalStackError
from durable_local.keys import Credentials
from durable_local.settings import Settings

# A page says that there is no answer rather than wait for one.
QUICK = Config(connect_timeout=3, read_timeout=10, retries={"total_max_attempts": 2})


class Source(Protocol):
    """What a console reads. `poll_seconds`: how often an open page is read again."""

    poll_seconds: float

    @property
    def name(self) -> str:
        """For people."""

    def client(self, service: str = "lambda") -> Any:
        """A boto3 client. Raises LocalStackError if no stack runs."""

    def now(self) -> datetime:
        """The time on the clock of durable executions."""

    def commands(self, *lambda_command: str, execution: str | None = None) -> list[str]:
        """The commands for a shell that do the same; `execution`: the ARN that a `durable-local` command shows."""


@dataclass
class StackOnThisMachine:
    """A local stack. It may end and start again, with other keys, while the console runs."""

    settings: Settings
    poll_seconds: float = 1
    _clients: dict[tuple[Credentials, str], Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Such as `local stack on port 4566`."""
        return f"local stack on port {self.settings.port}"

    def client(self, service: str = "lambda") -> Any:
        """A client of the stack that runs now; raises LocalStackError if none does."""
        stack = lifecycle.find(self.settings)
        if stack is None:
            raise LocalStackError(f"no local stack runs on port {self.settings.port}")
        try:
            key = (stack.credentials, service)
        except FileNotFoundError:
            raise LocalStackError(f"the local stack on port {self.settings.port} is ending") from None
        if key not in self._clients:
            self._clients = {known: client for known, client in self._clients.items() if known[0] == key[0]}
            self._clients[key] = stack.client(service, QUICK)
        return self._clients[key]

    def now(self) -> datetime:
        """The stack's time, which a time scale makes faster; raises LocalStackError if it does not run."""
        return lifecycle.now(self.settings)

    def commands(self, *lambda_command: str, execution: str | None = None) -> list[str]:
        """For a shell that has sourced the environment file."""
        shown = [shlex.join(["durable-local", "executions", execution])] if execution else []
        return [shlex.join(["aws", "lambda", *lambda_command]), *shown]


@dataclass
class AwsAccount:
    """An AWS account, with the credentials that the AWS CLI would use here. None: what the shell and `~/.aws` say."""

    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    poll_seconds: float = 5

    @property
    def name(self) -> str:
        """Such as `AWS eu-central-1, profile orders`."""
        profile = f", profile {self.profile}" if self.profile else ""
        endpoint = f" at {self.endpoint_url}" if self.endpoint_url else ""
        return f"AWS {self.region or self._session.region_name or 'without a region'}{profile}{endpoint}"

    @functools.cached_property
    def _session(self) -> boto3.session.Session:
        return boto3.session.Session(profile_name=self.profile, region_name=self.region)

    @functools.cached_property
    def _clients(self) -> dict[str, Any]:
        return {}

    def client(self, service: str = "lambda") -> Any:
        """A client of the account."""
        if service not in self._clients:
            self._clients[service] = self._session.client(
                service,  # type: ignore[call-overload]
                endpoint_url=self.endpoint_url,
                config=QUICK,
            )
        return self._clients[service]

    def now(self) -> datetime:
        """The time."""
        return datetime.now(UTC)

    def commands(self, *lambda_command: str, execution: str | None = None) -> list[str]:  # noqa: ARG002
        """With the options that this console was started with."""
        given = {"--region": self.region, "--profile": self.profile, "--endpoint-url": self.endpoint_url}
        options = [word for option, value in given.items() if value for word in (option, value)]
        return [shlex.join(["aws", *options, "lambda", *lambda_command])]
