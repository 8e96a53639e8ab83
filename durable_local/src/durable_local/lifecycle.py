"""Starts and ends a stack: all of its processes, or none."""

import contextlib
import http.client
import json
import os
import select
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from botocore.config import Config

from durable_local import clients, environment_file, folder, keys, processes
from durable_local.deploy import deployment, packaging
from durable_local.errors import LocalStackError
from durable_local.ministack import imports
from durable_local.processes import End
from durable_local.settings import (
    HEALTH_PATH,
    HOST,
    PORT_VARIABLE,
    PYTHON_VARIABLE,
    REGION,
    Settings,
    process_environment,
    stack_name_of,
)

if TYPE_CHECKING:
    from durable_local.faults import Faults

START_TIMEOUT_SECONDS = 90
HEALTH_TIMEOUT_SECONDS = 90


@dataclass(frozen=True)
class LocalStack:
    """A running stack."""

    settings: Settings
    outputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def endpoint(self) -> str:
        """The value for `AWS_ENDPOINT_URL`."""
        return self.settings.endpoint

    def client(self, service: str, config: Config | None = None) -> Any:
        """A boto3 client of this stack."""
        return clients.client(self.endpoint, self.credentials, service, config)

    def workers(self, function: str) -> list[int]:
        """The process ids of the workers that a function has now, idle or busy; `function`: logical id or name."""
        name = self.physical_name(function)
        return [pid for pid, its in processes.workers(self.settings.directory).items() if its == name]

    def physical_name(self, function: str) -> str:
        """The name of the function with this logical id in the template; any other text is returned as it is."""
        return self._physical_names.get(function, function)

    @property
    def credentials(self) -> keys.Credentials:
        """AWS credentials that the stack accepts."""
        return self._keys.credentials

    @cached_property
    def _keys(self) -> keys.Keys:
        return keys.of(self.settings)

    @cached_property
    def _physical_names(self) -> dict[str, str]:
        return deployment.physical_names(self.settings, "AWS::Lambda::Function")

    @cached_property
    def faults(self) -> "Faults":
        """Makes requests fail, in a stack started with `faults`."""
        # Not at the top: only tests use it, and pydantic takes longer to import than most commands to run.
        from durable_local.faults import Faults  # noqa: PLC0415

        return Faults(self.endpoint, self._keys, self.physical_name)

    @property
    def notices(self) -> list[str]:
        """Properties of the template that have no effect here: one line for each resource."""
        return deployment.notices(self.settings)

    @property
    def import_errors(self) -> dict[str, str]:
        """Imports the handlers of the template's Python functions; the errors by logical id."""
        return imports.errors(self.settings, self._physical_names)

    def deploy(self, parameters: Mapping[str, str] | None = None) -> "LocalStack":
        """Deploys the template as it is now; parameters not given stay as they were. Raises LocalStackError."""
        settings = replace(self.settings, parameters={**self.settings.parameters, **(parameters or {})})
        return LocalStack(settings, deployment.deploy(settings, packaging.package(settings.template)))

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which the AWS CLI and every AWS SDK use this stack."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            **self.credentials.environment,
            # A default profile in these files could set a CA bundle or FIPS endpoints.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_PAGER": "",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": HOST,
            "no_proxy": HOST,
        }


@contextlib.contextmanager
def local_stack(
    *,
    port: int = 0,
    template: Path = Settings.template,
    stack_name: str = "",
    parameters: Mapping[str, str] | None = None,
    concurrency: int = Settings.concurrency,
    home: Path = Settings.home,
    keep: bool = False,
    time_scale: float = Settings.time_scale,
    starts_per_second: int | None = None,
    faults: bool = False,
    functions_python: Path = Settings.functions_python,
) -> Iterator[LocalStack]:
    """A stack for the length of a `with` block, with the template deployed. See `Settings` for the arguments.

    `port` 0: any free port. The stack ends with the block, also if this process is killed. Its directory in `home` is
    removed, with two exceptions: `keep` leaves the state for the next stack on that port, and after an error the logs
    stay and a note on the error names their folder. With `faults`, `stack.faults` makes requests fail. Raises
    LocalStackError.
    """
    template = template.resolve()
    settings = Settings(
        port,
        stack_name or stack_name_of(template),
        template,
        parameters or {},
        concurrency,
        home.resolve(),
        keep=keep,
        time_scale=time_scale,
        starts_per_second=starts_per_second,
        faults=faults,
        functions_python=functions_python.absolute(),
    )
    package = packaging.package(settings.template)
    with contextlib.ExitStack() as locks:
        if port:
            locks.enter_context(folder.locked(settings))
        with _listener(settings) as listener:
            if not port:
                settings = replace(settings, port=listener.getsockname()[1])
                locks.enter_context(folder.locked(settings))
            front_door = _start(settings, listener, owned=True)
        try:
            yield LocalStack(settings, deployment.deploy(settings, package))
        except BaseException as error:
            _end(settings, error)
            raise
        else:
            _end(settings)
        finally:
            if front_door.stdin:
                front_door.stdin.close()
            front_door.wait()


def up(settings: Settings) -> LocalStack:
    """Starts the stack in the background unless it runs, and deploys; raises LocalStackError.

    If the deployment fails, a stack that was started here is ended. A stack that ran before keeps its last deployment.
    """
    package = packaging.package(settings.template)
    with folder.locked(settings):
        running = find(settings)
        if running is not None:
            settings = running.settings
        else:
            with _listener(settings) as listener:
                _start(settings, listener, owned=False)
        try:
            stack = LocalStack(settings, deployment.deploy(settings, package))
            environment_file.write(settings, stack.environment)
        except BaseException as error:
            if running is None:
                _end(settings, error)
            raise
        return stack


def find(settings: Settings) -> LocalStack | None:
    """The stack of the port if it runs, without outputs. `keep` and `time_scale` are those it was started with."""
    running = _running(settings)
    if running is None:
        return None
    return LocalStack(replace(settings, keep=running["keep"] == "1", time_scale=float(running["timeScale"])))


def now(settings: Settings) -> datetime:
    """The time on the clock of the stack of this port; raises LocalStackError if it does not run."""
    running = _running(settings)
    if running is None:
        raise LocalStackError(f"no local stack runs on port {settings.port}")
    return datetime.fromisoformat(running["now"])


def is_running(settings: Settings) -> bool:
    """Whether the front door's process of the stack runs, even if it does not answer."""
    return processes.front_door_of(settings.directory) is not None


def down(settings: Settings) -> End:
    """Ends the stack and removes its files, except kept state; the logs stay unless it ended in order.

    Raises LocalStackError while another command works on the stack.
    """
    with folder.locked(settings):
        return _end(settings)


def _end(settings: Settings, error: BaseException | None = None) -> End:
    """`error`: why the stack is ended. After a failure the logs stay, and a note on `error` names their folder."""
    how = processes.end(settings.directory)
    interrupted = isinstance(error, KeyboardInterrupt)
    folder.clear(settings, logs=how is End.IN_ORDER if error is None else interrupted)
    if error is not None and not interrupted and str(settings.directory) not in str(error):
        error.add_note(f"the stack's logs are in {settings.directory}")
    return how


def _running(settings: Settings) -> dict[str, str] | None:
    """The health answer of the stack of this directory; None if it does not run. Waits for one that is starting."""
    if processes.front_door_of(settings.directory) is None:
        return None
    connection = http.client.HTTPConnection(HOST, settings.port, timeout=HEALTH_TIMEOUT_SECONDS)
    try:
        connection.request("GET", HEALTH_PATH)
        identity: dict[str, str] = json.loads(connection.getresponse().read())
    except (OSError, ValueError, http.client.HTTPException):
        return None
    else:
        return identity if identity.get("directory") == str(settings.directory) else None
    finally:
        connection.close()


@contextlib.contextmanager
def _listener(settings: Settings) -> Iterator[socket.socket]:
    """A socket that listens on the port. Made before any process starts, so a port in use is an error at once."""
    processes.end(settings.directory)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, settings.port))
            listener.listen(1024)
        except OSError as error:
            message = f"port {settings.port} cannot be used ({error.strerror}); set {PORT_VARIABLE} to another"
            raise LocalStackError(message) from error
        yield listener


def _start(settings: Settings, listener: socket.socket, *, owned: bool) -> subprocess.Popen[bytes]:
    """Starts the front door's process and waits until it is ready; raises LocalStackError with its reason."""
    if not settings.ministack_python.exists():
        raise LocalStackError("MiniStack is not installed; run: durable-local install")
    if not settings.functions_python.exists():
        message = f"{settings.functions_python} does not exist; {PYTHON_VARIABLE} names the Python that runs handlers"
        raise LocalStackError(message)
    shutil.rmtree(settings.temporary, ignore_errors=True)
    settings.temporary.mkdir(mode=0o700)
    keys.create(settings)
    reading, writing = os.pipe()
    process = None
    with folder.create(settings.log) as log, os.fdopen(reading, "rb") as ready:
        try:
            with os.fdopen(writing, "wb"):
                process = subprocess.Popen(
                    [
                        sys.executable,
                        *processes.SERVE_ARGUMENTS,
                        str(settings.directory),
                        settings.to_json(),
                        str(listener.fileno()),
                        str(writing),
                        *(["--owned"] if owned else []),
                    ],
                    # `python -m` imports from the working directory first: not from the user's.
                    cwd=settings.temporary,
                    env=process_environment(settings),
                    umask=folder.UMASK,
                    stdin=subprocess.PIPE if owned else subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(listener.fileno(), writing),
                    start_new_session=True,
                )
            _wait_until_ready(ready, settings)
        except BaseException as error:
            _end(settings, error)
            if process is not None:
                process.wait()
            raise
    return process


def _wait_until_ready(ready: BinaryIO, settings: Settings) -> None:
    answered, _, _ = select.select([ready], [], [], START_TIMEOUT_SECONDS)
    line = ready.readline().decode().strip() if answered else ""
    if line != "ready":
        raise LocalStackError(line or f"the front door did not start; see {settings.log}")
