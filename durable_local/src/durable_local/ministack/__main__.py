# mypy: disable-error-code="import-not-found"
"""Starts MiniStack.

Arguments: the file descriptor of the socket to listen on, the interpreter for Lambda workers, the stack's directory
(by which the process is recognized as this stack's), and `--faults` if the stack is started for them.

MiniStack's own entry point cannot do this:
- It runs Python handlers with `sys.executable`, its own environment, whose botocore is too old for the durable SDK.
  Handlers must run in the environment of `src/requirements.txt`, so `sys.executable` is set to that one before
  MiniStack is imported.
- It listens on the port that it advertises in queue URLs and to workers. Here it advertises the front door's port
  (`GATEWAY_PORT`) and listens on another.
- It outlives its parent. Here standard input is a pipe from the front door. When that process ends, the pipe closes and
  this process group ends too, with busy workers. That works on every Unix, unlike PR_SET_PDEATHSIG, which also fires
  when only the parent's thread ends. State to keep is written first.
- It waits for handlers when it ends. Here they end with it, and SQS and Lambda retry what they did not finish.
- It accepts more than AWS does, and reports less: see `patches`.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

END_TIMEOUT_SECONDS = 20


def end_with_the_front_door() -> None:
    """Blocks until the front door's end of the pipe closes."""
    # Not sys.stdin: the interpreter aborts at its end if a thread is inside that buffer.
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(END_TIMEOUT_SECONDS)
    end_the_group()


def end_the_group() -> None:
    """Ends this process and its workers, busy or idle."""
    os.killpg(os.getpgid(0), signal.SIGKILL)


def main() -> None:
    """Serves until SIGTERM."""
    listener, functions_python, _directory, *options = sys.argv[1:]
    from patches import (  # noqa: PLC0415 - a top-level package in this process only
        aliases,
        callers,
        dropped_properties,
        durable_targets,
        event_sources,
        faulty_deliveries,
        front_door_only,
        handler_errors,
        interpreters,
        kept_state,
        lambda_resources,
        memory_limit,
        process_ends,
        reserved_concurrency,
        sqs_rules,
        step_functions,
        worker_credentials,
    )

    header, secret = front_door_only.read_secret()
    threading.Thread(target=end_with_the_front_door, daemon=True).start()
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    sys.executable = functions_python

    # Only after sys.executable is set.
    from hypercorn.config import Config  # noqa: PLC0415
    from ministack.app import app  # noqa: PLC0415

    faulty_deliveries.secret_header[header.decode()] = secret.decode()
    for module in (
        dropped_properties,  # first: it must see what MiniStack itself reads, not what lambda_resources reads
        lambda_resources,
        interpreters,
        aliases,
        durable_targets,
        event_sources,
        handler_errors,
        memory_limit,
        process_ends,
        reserved_concurrency,
        sqs_rules,
        step_functions,
        worker_credentials,
        front_door_only,
        kept_state,
        *((callers, faulty_deliveries) if "--faults" in options else ()),
    ):
        module.patch.apply()
    config = Config()
    config.bind = [f"fd://{listener}"]
    config.keep_alive_timeout = 75
    asyncio.run(serve_until_sigterm(front_door_only.guarded(app, header, secret), config, kept_state.save))


async def serve_until_sigterm(app: Any, config: Any, save_state: Callable[[], None]) -> None:
    """Serves, then writes the state to keep, and ends with all workers."""
    from hypercorn.asyncio import serve  # noqa: PLC0415 - only after sys.executable is set

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    serving = asyncio.create_task(serve(app, config, shutdown_trigger=asyncio.Event().wait))
    await asyncio.wait({serving, asyncio.create_task(stop.wait())}, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()  # raises why it could not start
    save_state()
    end_the_group()


if __name__ == "__main__":
    main()
