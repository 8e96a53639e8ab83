"""The front door's process: MiniStack below it, the durable runner in it, and how all end together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

from aiohttp import web
from aws_durable_execution_sdk_python_testing.threads import DaemonThreadPool

from durable_local import keys
from durable_local.errors import LocalStackError
from durable_local.faults.register import Register
from durable_local.faults.status_changes import FaultyStatusChanges
from durable_local.gateway import front_door
from durable_local.gateway.admission import Admission
from durable_local.gateway.durable_api import DurableApi
from durable_local.gateway.faults import FaultyDoor
from durable_local.gateway.functions import Functions
from durable_local.gateway.invoke import DurableInvoke
from durable_local.ministack.child import MiniStack
from durable_local.runner.chained import DeployedFunctions
from durable_local.runner.invoker import MiniStackInvoker
from durable_local.runner.named_starts import Executions
from durable_local.runner.quota import StartQuota
from durable_local.runner.runner import DurableRunner
from durable_local.runner.status_events import Reports
from durable_local.runner.store import Store

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator

    from durable_local.function_reference import FunctionReference, FunctionVersion
    from durable_local.settings import Settings

logger = logging.getLogger(__name__)

# Durable API calls are short but block; the durable SDK makes a few at a time per handler.
API_THREADS = 32


def serve(settings: Settings, listener: socket.socket, ready: int, *, owned: bool) -> int:
    """Runs until told to stop; the exit code.

    `ready` is a file descriptor that gets one line: "ready", or why not. `owned`: end also when standard input
    closes, so that a stack started by a test cannot outlive it.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("aws_durable_execution_sdk_python_testing").setLevel(logging.WARNING)
    try:
        return asyncio.run(_serve(settings, listener, ready, owned=owned))
    except LocalStackError as error:
        logger.error("%s", error)
        _tell(ready, str(error))
        return 1


async def _serve(settings: Settings, listener: socket.socket, ready: int, *, owned: bool) -> int:
    told_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_stop.set)
    if owned:
        await _stop_when_standard_input_closes(told_to_stop)

    ministack = await MiniStack.start(settings, keys.of(settings))
    try:
        async with _listening(settings, ministack, listener):
            _tell(ready, "ready")
            logger.info("ready at %s, MiniStack on port %d", settings.endpoint, ministack.address.port)
            ended = asyncio.create_task(ministack.ended())
            stopped = asyncio.create_task(told_to_stop.wait())
            await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if ended.done():
                logger.error("MiniStack ended by itself (exit %d); the stack ends with it", ended.result())
                return 1
            ended.cancel()
            return 0
    finally:
        await ministack.stop()


@contextlib.asynccontextmanager
async def _listening(settings: Settings, ministack: MiniStack, listener: socket.socket) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    # Daemons: one that waits for a checkpoint when its lane ends would keep this process alive for ever.
    threads = DaemonThreadPool(API_THREADS, thread_name_prefix="durable-api")
    store = Store((settings.state if settings.keep else settings.temporary) / "executions.sqlite", keep=settings.keep)
    register = Register()
    address = ministack.address
    reports = Reports(address, FaultyStatusChanges(register)) if settings.faults else Reports(address)
    invoker = MiniStackInvoker(address, settings.concurrency, store)
    async with front_door.client_session() as session:
        functions = Functions(session, address)

        def describe(reference: FunctionReference) -> FunctionVersion:
            return asyncio.run_coroutine_threadsafe(functions.describe(reference), loop).result()

        def versions(reference: FunctionReference) -> frozenset[str] | None:
            return asyncio.run_coroutine_threadsafe(functions.versions(reference), loop).result()

        durable = DurableRunner(
            store,
            invoker,
            DeployedFunctions(describe, invoker),
            settings.concurrency,
            time_scale=settings.time_scale,
            on_status_change=reports,
        )
        durable.start()
        door = front_door.FrontDoor(
            session,
            address,
            functions,
            DurableInvoke(durable, Executions(durable, store, StartQuota(settings.starts_per_second)), threads),
            DurableApi(durable, store, versions),
            threads,
            identity=_identity(settings),
        )
        outer_door = FaultyDoor(door, register, settings.directory) if settings.faults else door
        admission = Admission(outer_door, settings.port, address.keys, door.is_issued)
        runner = web.ServerRunner(front_door.server(admission), shutdown_timeout=0.5)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        if resumed := await loop.run_in_executor(threads, durable.resume):
            logger.info("%d executions go on", resumed)
        try:
            yield
        finally:
            durable.shutdown()
            await runner.cleanup()
            threads.shutdown(wait=False, cancel_futures=True)
            store.close()
            await asyncio.to_thread(reports.close)


def _identity(settings: Settings) -> dict[str, str]:
    """What the stack says of itself to whoever asks whether it runs."""
    return {
        "directory": str(settings.directory),
        "pid": str(os.getpid()),
        "keep": str(int(settings.keep)),
        "timeScale": f"{settings.time_scale:g}",
    }


async def _stop_when_standard_input_closes(stop: asyncio.Event) -> None:
    class UntilClosed(asyncio.Protocol):
        def connection_lost(self, _error: Exception | None) -> None:
            stop.set()

    await asyncio.get_running_loop().connect_read_pipe(UntilClosed, sys.stdin)


def _tell(ready: int, line: str) -> None:
    with contextlib.suppress(OSError):
        os.write(ready, line.encode() + b"\n")
        os.close(ready)
