"""MiniStack as a child process: SQS, DynamoDB, CloudFormation with SAM, S3, and Lambda's worker processes."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import signal
import socket
from pathlib import Path

from tools.local_stack.durable.slots import HANDLER
from tools.local_stack.errors import LocalStackError
from tools.local_stack.settings import ACCOUNT, CREDENTIALS, HOST, REGION, Settings, process_environment

PROGRAM = Path(__file__).with_name("ministack_process")
START_TIMEOUT_SECONDS = 60
# Writing a large state takes a moment; without one MiniStack ends at once.
STOP_TIMEOUT_SECONDS = 20

# Plain functions beside the durable ones: enough for several event source mappings at their default width.
PLAIN_FUNCTION_CONCURRENCY = 64

# MiniStack only routes by region and account, taken from here; it verifies no signature.
AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential={key}/20260101/{region}/{service}/aws4_request, SignedHeaders=host, Signature=local"
)


def authorization(service: str) -> str:
    """The header that tells MiniStack which service, account and region an internal request is for."""
    return AUTHORIZATION.format(key=CREDENTIALS["AWS_ACCESS_KEY_ID"], region=REGION, service=service)


def worker_environment(settings: Settings) -> dict[str, str]:
    """The whole environment of MiniStack, which every Lambda worker inherits."""
    return {
        **process_environment(settings),
        "AWS_ENDPOINT_URL": settings.endpoint,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_SDK_UA_APP_ID": HANDLER,
        **CREDENTIALS,
        # What MiniStack writes into queue URLs and hands to workers: the front door, not itself.
        "MINISTACK_HOST": HOST,
        "GATEWAY_PORT": str(settings.port),
        "MINISTACK_REGION": REGION,
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        **_persistence(settings),
        "LAMBDA_EXECUTOR": "local",
        "LAMBDA_ACCOUNT_CONCURRENCY": str(settings.concurrency + PLAIN_FUNCTION_CONCURRENCY),
    }


def _persistence(settings: Settings) -> dict[str, str]:
    """MiniStack writes its state once, when it is told to end; see `ministack_process` for who tells it."""
    if not settings.keep:
        return {"PERSIST_STATE": "0"}
    return {
        "PERSIST_STATE": "1",
        "STATE_DIR": str(settings.state / "ministack"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(settings.state / "s3"),
    }


class MiniStack:
    """The running child, in a process group of its own so that its workers end with it."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process = process
        self.port = port

    @classmethod
    async def start(cls, settings: Settings) -> MiniStack:
        """Starts MiniStack and waits until it answers; raises LocalStackError if it does not."""
        port = _free_port()
        with (settings.directory / "ministack.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                settings.ministack_python,
                PROGRAM,
                str(port),
                str(settings.functions_python),
                str(settings.directory),
                *(["--faults"] if settings.faults else []),
                env=worker_environment(settings),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                process_group=0,
            )
        ministack = cls(process, port)
        try:
            await ministack._until_healthy(settings)
        except BaseException:
            await ministack.stop()
            raise
        return ministack

    async def _until_healthy(self, settings: Settings) -> None:
        log = settings.directory / "ministack.log"
        deadline = asyncio.get_running_loop().time() + START_TIMEOUT_SECONDS
        while not await asyncio.to_thread(_answers, self.port):
            if self._process.returncode is not None:
                message = f"MiniStack ended while starting (exit {self._process.returncode}); see {log}"
                raise LocalStackError(message)
            if asyncio.get_running_loop().time() > deadline:
                message = f"MiniStack did not answer within {START_TIMEOUT_SECONDS} s; see {log}"
                raise LocalStackError(message)
            await asyncio.sleep(0.05)

    async def ended(self) -> int:
        """Waits for the process to end by itself; its exit code."""
        return await self._process.wait()

    async def stop(self) -> None:
        """Ends MiniStack and every worker, those busy in a handler included."""
        if self._process.returncode is None:
            self._process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), STOP_TIMEOUT_SECONDS)
        # Workers that outlive MiniStack are still in its group; with none left there is no such group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", "/_ministack/health")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
