"""MiniStack as a child process: every AWS service of the stack and Lambda's worker processes."""

import asyncio
import contextlib
import http.client
import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path

from durable_local.errors import LocalStackError
from durable_local.keys import Credentials, Keys
from durable_local.settings import ACCOUNT, HOST, REGION, Settings, process_environment

PROGRAM = Path(__file__).parent
# In the user agent of every AWS SDK inside a worker (AWS_SDK_UA_APP_ID): it marks requests that a handler makes.
HANDLER = "local-stack-handler"
START_TIMEOUT_SECONDS = 60
# Long enough to write a large state on a busy machine.
STOP_TIMEOUT_SECONDS = 130

# For plain functions: enough for several event source mappings with their default concurrency.
PLAIN_FUNCTION_CONCURRENCY = 64

# MiniStack reads service and region from this header. It verifies no signature.
AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential={key}/20260101/{region}/{service}/aws4_request, SignedHeaders=host, Signature=local"
)


@dataclass(frozen=True)
class MiniStackAddress:
    """Where MiniStack listens, and the keys of a request to it."""

    port: int
    keys: Keys

    @property
    def url(self) -> str:
        """The URL without a path."""
        return f"http://{HOST}:{self.port}"

    def headers(self, service: str) -> dict[str, str]:
        """The headers of a request of the stack itself to a service."""
        key = self.keys.credentials.access_key_id
        return {"Authorization": AUTHORIZATION.format(key=key, region=REGION, service=service), **self.keys.headers}


def worker_environment(settings: Settings, credentials: Credentials) -> dict[str, str]:
    """The whole environment of MiniStack, which every Lambda worker inherits."""
    return {
        **process_environment(settings),
        "AWS_ENDPOINT_URL": settings.endpoint,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_SDK_UA_APP_ID": HANDLER,
        **credentials.environment,
        # MiniStack writes the front door's address, not its own, into queue URLs and workers' environments.
        "MINISTACK_HOST": HOST,
        "GATEWAY_PORT": str(settings.port),
        "MINISTACK_REGION": REGION,
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        **_persistence(settings),
        "LAMBDA_EXECUTOR": "local",
        "LAMBDA_ACCOUNT_CONCURRENCY": str(settings.concurrency + PLAIN_FUNCTION_CONCURRENCY),
    }


def _persistence(settings: Settings) -> dict[str, str]:
    """MiniStack writes its state once, when it ends: see patches/kept_state.py."""
    if not settings.keep:
        return {"PERSIST_STATE": "0"}
    return {
        "PERSIST_STATE": "1",
        "STATE_DIR": str(settings.state / "ministack"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(settings.state / "s3"),
    }


class MiniStack:
    """The running child, in its own process group so that its workers end with it."""

    def __init__(self, process: asyncio.subprocess.Process, listener: socket.socket, address: MiniStackAddress) -> None:
        self._process = process
        self._listener = listener
        self.address = address

    @classmethod
    async def start(cls, settings: Settings, keys: Keys) -> "MiniStack":
        """Starts MiniStack and waits until it answers; raises LocalStackError if it does not."""
        # The child inherits the bound socket. On a port that is free for a moment, another user of the machine could
        # listen and receive the secret.
        listener = socket.create_server((HOST, 0))
        with (settings.directory / "ministack.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                settings.ministack_python,
                PROGRAM,
                str(listener.fileno()),
                str(settings.functions_python),
                str(settings.directory),
                *(["--faults"] if settings.faults else []),
                env=worker_environment(settings, keys.credentials),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(listener.fileno(),),
            )
        ministack = cls(process, listener, MiniStackAddress(listener.getsockname()[1], keys))
        try:
            await _tell_secret(process, keys)
            await ministack._until_healthy(settings)
        except BaseException:
            await ministack.stop()
            raise
        return ministack

    async def _until_healthy(self, settings: Settings) -> None:
        log = settings.directory / "ministack.log"
        deadline = asyncio.get_running_loop().time() + START_TIMEOUT_SECONDS
        while not await asyncio.to_thread(_answers, self.address):
            if self._process.returncode is not None:
                reason = (log.read_text(errors="replace").splitlines() or [f"exit {self._process.returncode}"])[-1]
                raise LocalStackError(f"MiniStack ended while starting: {reason}; see {log}")
            if asyncio.get_running_loop().time() > deadline:
                raise LocalStackError(f"MiniStack did not answer within {START_TIMEOUT_SECONDS} s; see {log}")
            await asyncio.sleep(0.05)

    async def ended(self) -> int:
        """Waits until the process has ended; returns its exit code."""
        return await self._process.wait()

    async def stop(self) -> None:
        """Ends MiniStack and every worker, busy or idle."""
        if self._process.returncode is None:
            self._process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), STOP_TIMEOUT_SECONDS)
        # Workers that are left are in MiniStack's process group. Without any, there is no such group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        self._listener.close()


async def _tell_secret(process: asyncio.subprocess.Process, keys: Keys) -> None:
    """Through standard input: other users can read arguments, and workers inherit the environment."""
    assert process.stdin is not None
    for name, value in keys.headers.items():
        process.stdin.write(f"{name}: {value}\n".encode())
    # `_until_healthy` reports a process that has already ended.
    with contextlib.suppress(ConnectionError):
        await process.stdin.drain()


def _answers(address: MiniStackAddress) -> bool:
    connection = http.client.HTTPConnection(HOST, address.port, timeout=2)
    try:
        connection.request("GET", "/_ministack/health", headers=address.keys.headers)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
