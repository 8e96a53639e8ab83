"""What the screens read and act on: the connection of `orders`, for a console that outlives a local stack."""

import logging
import os
import shlex
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from durable_local import lifecycle, settings
from durable_local.console import AwsAccount, Source, StackOnThisMachine
from durable_local.console.problem import FAILURES, NotShown, is_denied, problem_of
from durable_local.show import clock
from shared.errors import OrderError
from tools.operations.pause import PauseFailed
from tools.orders_cli.connection import Connection
from tools.orders_cli.failure import CommandFailed
from tools.pipeline import SETTINGS

NEEDED: Final = "The role needs the stack's managed policy OrdersOperatorPolicy: docs/operations.md."

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Connected(Connection):
    """The connection of one screen's reads. `source` makes the clients."""

    source: Source | None = None

    def client(self, service: Any) -> Any:
        assert self.source is not None  # noqa: S101 (a default only because the fields of Connection have one)
        return self.source.client(service)


class Desk:
    """The pipeline that a console shows. `given`: the connection's options, as on the command line."""

    def __init__(self, given: Connection) -> None:
        self.given = given
        self.local = _local_stack(given)
        self.source: Source = self.local or AwsAccount(given.region, given.profile, given.endpoint_url)
        self._lock = threading.Lock()
        self._connected: tuple[Any, Connection] | None = None

    @property
    def connection(self) -> Connection:
        """The connection now; another one after the local stack was started again. Raises LocalStackError."""
        with self._lock:
            # A stack that was started again has other keys, so another client.
            client = self.source.client("lambda")
            if self._connected is None or self._connected[0] is not client:
                made = _Connected(self.given.stack, self.given.region, self.given.profile, source=self.source)
                self._connected = client, made
            return self._connected[1]

    @cached_property
    def notices(self) -> list[str]:
        """Sentences that every page shows."""
        stack = lifecycle.find(self.local.settings) if self.local else None
        return [clock(stack.settings)] if stack and stack.settings.time_scale != 1 else []

    def record(self, action: str, what: str, result: str) -> str:
        """Add a line to the operations log. Returns a sentence for the page if that is not possible, else nothing."""
        try:
            with explained():
                self.connection.log.write(action, what, result)
        except FAILURES as error:
            problem = problem_of(error)
            logger.warning("not in the operations log: %s, %s: %s (%s)", action, what, result, problem)
            return f" The operations log has no line about this. {problem}"
        return ""

    @contextmanager
    def action(self, action: str, what: str) -> Iterator[None]:
        """`explained`, for an action: its failure becomes a line of the operations log too."""
        try:
            with explained():
                yield
        except FAILURES as error:
            self.record(action, what, str(problem_of(error)))
            raise

    def command(self, *words: str) -> str:
        """A command of `orders` or `aws` for a shell, with the options that this console was started with."""
        given = {"region": self.given.region, "profile": self.given.profile, "endpoint-url": self.given.endpoint_url}
        if words[0] == "orders" and self.given.stack != Connection.stack:
            given["stack"] = self.given.stack
        options = [word for name, value in given.items() if value for word in (f"--{name}", value)]
        return shlex.join([*words, *options])


@contextmanager
def explained() -> Iterator[None]:
    """Errors of the pipeline and of `orders` become problems that a page can show."""
    try:
        yield
    except CommandFailed as error:
        raise NotShown("This console cannot find the pipeline", f"{error}.") from error
    except ClientError as error:
        if is_denied(error):
            raise _needs_policy(error) from error
        raise
    except (OrderError, PauseFailed) as error:
        cause = error.__cause__
        if isinstance(cause, FAILURES):
            raise (_needs_policy(cause) if is_denied(cause) else cause) from error
        raise NotShown(type(error).__name__, f"{error}.") from error


def _needs_policy(denied: Exception) -> NotShown:
    """A missing permission, with the policy that has it."""
    problem = problem_of(denied)
    return NotShown(problem.title, f"{problem.text.rstrip('.')}. {NEEDED}")


def _local_stack(given: Connection) -> StackOnThisMachine | None:
    """The local stack that the options or the environment name; None for AWS."""
    url = urlsplit(given.endpoint_url or os.environ.get("AWS_ENDPOINT_URL", ""))
    if url.hostname != settings.HOST or url.port is None:
        return None
    chosen = replace(settings.from_environment(defaults=SETTINGS), port=url.port)
    return StackOnThisMachine(chosen) if lifecycle.find(chosen) else None
