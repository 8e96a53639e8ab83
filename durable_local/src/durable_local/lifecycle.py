"""Up and down: a stack starts as a whole, and ends as a whole."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO

from durable_local import clients, environment_file, folder, keys, processes
from durable_local.deploy import deployment, packaging
from durable_local.errors import LocalStackError
from durable_local.faults import Faults
from durable_local.gateway.health import HEALTH_PATH
from durable_local.processes import End
from durable_local.settings import HOST, PORT_VARIABLE, REGION, REPOSITORY, Settings, process_environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from botocore.config import Config

START_TIMEOUT_SECONDS = 90
HEALTH_TIMEOUT_SECONDS = 90


@dataclass(frozen=True)
class LocalStack:
    """A running stack."""

    settings: Settings
    outputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def endpoint(self) -> str:
        """What `AWS_ENDPOINT_URL` is to be."""
        return self.settings.endpoint

    def client(self, service: str, config: Config | None = None) -> Any:
        """A boto3 client of this stack."""
        return clients.client(self.endpoint, self._keys.credentials, service, config)

    def workers(self, function: str) -> list[int]:
        """The process ids of a function's workers right now, idle or busy; by its logical id or its name."""
        name = self.physical_name(function)
        return [pid for pid, its in processes.workers(self.settings.directory).items() if its == name]

    def physical_name(self, function: str) -> str:
        """A function's name by its logical id in the template; any other text is taken for the name itself."""
        return self._physical_names.get(function, function)

    @cached_property
    def _keys(self) -> keys.Keys:
        return keys.of(self.settings)

    @cached_property
    def _physical_names(self) -> dict[str, str]:
        return deployment.physical_names(self.settings, "AWS::Lambda::Function")

    @cached_property
    def faults(self) -> Faults:
        """Makes requests fail, in a stack started with `faults`."""
        return Faults(self.endpoint, self._keys, self.physical_name)

    @property
    def notices(self) -> list[str]:
        """What of the template the stack does not carry out: one line for each resource."""
        return deployment.notices(self.settings)

    def deploy(self, parameters: Mapping[str, str] | None = None) -> LocalStack:
        """Deploys the template as it is now; raises LocalStackError. Parameters not given are as before."""
        settings = replace(self.settings, parameters={**self.settings.parameters, **(parameters or {})})
        return LocalStack(settings, deployment.deploy(settings, packaging.package(settings.template)))

    @property
    def environment(self) -> dict[str, str]:
        """What makes the AWS CLI and any SDK talk to this stack, unchanged."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            **self._keys.credentials.environment,
            # A default profile in them could set other things: a CA bundle, FIPS endpoints.
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
    stack_name: str = Settings.stack_name,
    parameters: Mapping[str, str] | None = None,
    concurrency: int = Settings.concurrency,
    home: Path = Settings.home,
    keep: bool = False,
    time_scale: float = Settings.time_scale,
    starts_per_second: int | None = None,
    faults: bool = False,
) -> Iterator[LocalStack]:
    """A stack for the length of a `with` block: started, deployed, and gone afterwards, come what may.

    `port` 0 is any free one. It ends even if this process is killed. Its directory under `.local` (logs) is
    removed too, unless `keep` leaves its state to the next one on that port, or the stack or the block failed; then
    a note on the error says where the logs are. With `faults`, `stack.faults` makes requests fail. Raises
    LocalStackError.
    """
    settings = Settings(
        port,
        stack_name,
        template.resolve(),
        parameters or {},
        concurrency,
        home.resolve(),
        keep=keep,
        time_scale=time_scale,
        starts_per_second=starts_per_second,
        faults=faults,
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

    What could not be deployed at the first time is not left running; a running stack whose update failed is,
    with what was deployed before.
    """
    package = packaging.package(settings.template)
    with folder.locked(settings):
        running = _running(settings)
        if running is not None:
            # What a stack keeps and how fast its clock runs is settled when it starts.
            settings = replace(settings, keep=running["keep"] == "1", time_scale=float(running["timeScale"]))
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


def down(settings: Settings) -> End:
    """Ends the stack and removes what it wrote, except state that was kept; the logs stay unless it ended in order.

    Raises LocalStackError while another command works on the stack.
    """
    with folder.locked(settings):
        return _end(settings)


def _end(settings: Settings, error: BaseException | None = None) -> End:
    """`error`: why. Logs stay if it is a failure, and a note on it says where."""
    how = processes.end(settings.directory)
    interrupted = isinstance(error, KeyboardInterrupt)
    folder.clear(settings, logs=how is End.IN_ORDER if error is None else interrupted)
    if error is not None and not interrupted and str(settings.directory) not in str(error):
        error.add_note(f"the stack's logs are in {settings.directory}")
    return how


def _running(settings: Settings) -> dict[str, str] | None:
    """What this very stack says of itself, if it answers. One that is just starting answers once it has."""
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
    """The port, taken before anything starts: whether it is free is known at once, and nobody gets between."""
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
    for interpreter in (settings.ministack_python, settings.functions_python):
        if not interpreter.exists():
            message = f"{interpreter} does not exist; `make` creates the environments"
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
                        *("--directory", str(settings.directory)),
                        *("--port", str(settings.port)),
                        *("--listener", str(listener.fileno())),
                        *("--ready", str(writing)),
                        *("--concurrency", str(settings.concurrency)),
                        *("--time-scale", str(settings.time_scale)),
                        *(["--keep"] if settings.keep else []),
                        *(
                            ["--starts-per-second", str(settings.starts_per_second)]
                            if settings.starts_per_second
                            else []
                        ),
                        *(["--faults"] if settings.faults else []),
                        *(["--owned"] if owned else []),
                    ],
                    cwd=REPOSITORY,
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
