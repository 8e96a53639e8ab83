"""The front door's process: it starts MiniStack and the durable runner, serves requests, and ends all of them."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator

import uvloop
from aiohttp import web
from aws_durable_execution_sdk_python_testing.threads import DaemonThreadPool

from durable_local import keys
from durable_local.errors import LocalStackError
from durable_local.faults.register import Register
from durable_local.faults.status_changes import FaultyStatusChanges
from durable_local.function_reference import FunctionReference, FunctionVersion
from durable_local.gateway.admission import Admission
from durable_local.gateway.durable_api import DurableApi
from durable_local.gateway.faults import FaultInjection
from durable_local.gateway.front_door import FrontDoor, Step
from durable_local.gateway.functions import Functions
from durable_local.gateway.health import Health
from durable_local.gateway.invoke import DurableInvoke
from durable_local.gateway.ministack_proxy import MiniStackProxy, client_session
from durable_local.ministack.child import MiniStack
from durable_local.runner.children import ChildDispatcher
from durable_local.runner.invoker import MiniStackInvoker
from durable_local.runner.named_starts import NamedStarts
from durable_local.runner.quota import StartQuota
from durable_local.runner.runner import DurableRunner
from durable_local.runner.status_events import StatusEvents
from durable_local.runner.store import Store
from durable_local.settings import Settings

logger = logging.getLogger(__name__)

# Calls of the durable API are short but block. The durable SDK makes a few at a time in each handler.
API_THREADS = 32


def serve(settings: Settings, listener: socket.socket, ready: int, *, owned: bool) -> int:
    """Runs until SIGTERM or SIGINT; returns the exit code.

    `ready` is a file descriptor that gets one line: "ready", or the error. `owned`: ends also when standard input
    closes, so that the stack ends with the test that started it.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("aws_durable_execution_sdk_python_testing").setLevel(logging.WARNING)
    try:
        return uvloop.run(_serve(settings, listener, ready, owned=owned))
    except LocalStackError as error:
        logger.error("%s", error)
        _tell(ready, str(error))
        return 1


async def _serve(settings: Settings, listener: socket.socket, ready: int, *, owned: bool) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if owned:
        await _stop_when_standard_input_closes(stop)

    ministack = await MiniStack.start(settings, keys.of(settings))
    try:
        async with _listening(settings, ministack, listener):
            _tell(ready, "ready")
            logger.info("ready at %s, MiniStack on port %d", settings.endpoint, ministack.address.port)
            ended = asyncio.create_task(ministack.ended())
            stopped = asyncio.create_task(stop.wait())
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
    # Daemon threads: one that waits for a checkpoint while the lanes end must not keep this process alive.
    threads = DaemonThreadPool(API_THREADS, thread_name_prefix="durable-api")
    store = Store((settings.state if settings.keep else settings.temporary) / "executions.sqlite", keep=settings.keep)
    register = Register()
    address = ministack.address
    faults = FaultyStatusChanges(register).handle if settings.faults else None
    status_events = StatusEvents(address, faults) if faults else StatusEvents(address)
    invoker = MiniStackInvoker(address, settings.concurrency, store)
    async with client_session() as session:
        functions = Functions(session, address)

        def describe(reference: FunctionReference) -> FunctionVersion:
            return asyncio.run_coroutine_threadsafe(functions.describe(reference), loop).result()

        def versions(reference: FunctionReference) -> frozenset[str] | None:
            return asyncio.run_coroutine_threadsafe(functions.versions(reference), loop).result()

        durable = DurableRunner(
            store,
            invoker,
            ChildDispatcher(describe, invoker),
            settings.concurrency,
            time_scale=settings.time_scale,
            on_status_change=status_events.add,
        )
        durable.start()
        starts = NamedStarts(durable, store, StartQuota(settings.starts_per_second))
        proxy = MiniStackProxy(session, address)
        # A request passes these steps in this order. Each step answers it or gives it to the next one.
        steps: list[Step] = [
            Admission(settings.port, address.keys, proxy.is_issued),
            *([FaultInjection(register, settings.directory)] if settings.faults else []),
            DurableInvoke(functions, durable, starts, threads),
            DurableApi(durable, store, versions, threads),
            Health(settings, durable.now),
            proxy,
        ]
        # Paths and bodies reach the steps exactly as the client sent them.
        server = web.Server(FrontDoor(steps).handle, access_log=None, auto_decompress=False, keepalive_timeout=75)
        runner = web.ServerRunner(server, shutdown_timeout=0.5)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        if restored := await loop.run_in_executor(threads, durable.restore):
            logger.info("%d executions continue", restored)
        try:
            yield
        finally:
            durable.shutdown()
            await runner.cleanup()
            threads.shutdown(wait=False, cancel_futures=True)
            store.close()
            await asyncio.to_thread(status_events.close)


async def _stop_when_standard_input_closes(stop: asyncio.Event) -> None:
    class UntilClosed(asyncio.Protocol):
        def connection_lost(self, _error: Exception | None) -> None:
            stop.set()

    await asyncio.get_running_loop().connect_read_pipe(UntilClosed, sys.stdin)


def _tell(ready: int, line: str) -> None:
    with contextlib.suppress(OSError):
        os.write(ready, line.encode() + b"\n")
        os.close(ready)
