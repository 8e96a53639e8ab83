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
- It serves with hypercorn, whose HTTP parser in Python was half of its CPU. Here uvicorn serves: see `serving`.
- It accepts more than AWS does, and reports less: see `patches`.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# On a busy machine, the state of 10,000 orders took more than 20 seconds to write.
END_TIMEOUT_SECONDS = 120
# New objects before a collection. Python's own number is 700 or 2,000.
GC_THRESHOLD = 20_000


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
    listener, functions_python, directory, *options = sys.argv[1:]
    from patches import (  # noqa: PLC0415 - a top-level package in this process only
        alarms,
        aliases,
        callers,
        dropped_properties,
        durable_targets,
        embedded_metrics,
        event_sources,
        faulty_deliveries,
        filter_patterns,
        forked_workers,
        front_door_only,
        handler_errors,
        interpreters,
        kept_records,
        kept_state,
        lambda_resources,
        memory_limit,
        message_moves,
        process_ends,
        queries,
        reserved_concurrency,
        sam_parameters,
        saved_queries,
        sqs_rules,
        step_functions,
        stream_sources,
        tenants,
        worker_credentials,
        worker_logs,
    )

    header, secret = front_door_only.read_secret()
    threading.Thread(target=end_with_the_front_door, daemon=True).start()
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    sys.executable = functions_python

    # MiniStack reads templates with this class. libyaml's needs a tenth of the time.
    import yaml  # noqa: PLC0415

    yaml.SafeLoader = yaml.CSafeLoader  # type: ignore[assignment,misc]
    # Only after sys.executable is set.
    import uvloop  # noqa: PLC0415
    from ministack.app import app  # noqa: PLC0415

    forked_workers.server.directory = directory
    faulty_deliveries.secret_header[header.decode()] = secret.decode()
    for module in (
        saved_queries,  # before dropped_properties, which watches every handler
        dropped_properties,  # first: it must see what MiniStack itself reads, not what lambda_resources reads
        lambda_resources,
        interpreters,
        forked_workers,
        alarms,
        aliases,
        durable_targets,
        embedded_metrics,
        event_sources,
        filter_patterns,
        handler_errors,
        memory_limit,
        process_ends,
        queries,
        reserved_concurrency,
        sam_parameters,
        sqs_rules,
        message_moves,  # after sqs_rules: a moved message is sent by its rules
        step_functions,
        stream_sources,
        tenants,
        worker_credentials,
        worker_logs,
        front_door_only,
        kept_records,
        kept_state,
        *((callers, faulty_deliveries) if "--faults" in options else ()),
    ):
        module.patch.apply()
    # Collections were a tenth of MiniStack's CPU: it allocates much for each request, and little of it is in cycles.
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    guarded = front_door_only.guarded(app, header, secret)
    uvloop.run(serve_until_sigterm(guarded, socket.socket(fileno=int(listener)), kept_state.save))


async def serve_until_sigterm(app: Any, listener: socket.socket, save_state: Callable[[], None]) -> None:
    """Serves, then writes the state to keep, and ends with all workers."""
    from serving import serve  # noqa: PLC0415 - only after sys.executable is set

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    serving = asyncio.create_task(serve(app, listener))
    await asyncio.wait({serving, asyncio.create_task(stop.wait())}, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()  # raises why it could not start
    save_state()
    end_the_group()


if __name__ == "__main__":
    main()
