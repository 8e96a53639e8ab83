# mypy: disable-error-code="import-not-found"
"""Starts MiniStack.

Arguments: the file descriptor of the socket to listen on, the interpreter for Lambda workers, the stack's directory
(which also marks the process as this stack's), and `--faults` if the stack is started for them.

What MiniStack's own entry point cannot do:
- It runs Python handlers with `sys.executable`, which would be its own environment, whose botocore is older
  than the durable SDK needs. Handlers must see exactly what `src/requirements.txt` ships, so `sys.executable`
  names that environment before MiniStack is imported.
- It listens on the port it advertises (in queue URLs, to workers). Here it advertises the front door's
  (`GATEWAY_PORT`) and listens on another.
- It outlives its parent. Here standard input is a pipe held by the front door: when that process ends, however
  it ends, the pipe closes and this process group goes with it, workers busy in a handler included. That works
  on every Unix, unlike PR_SET_PDEATHSIG, which also fires when only the parent's thread ends. State that is to
  be kept is written first.
- It waits for handlers when it ends. Here they end with it: what they did not finish, SQS and Lambda try again.
- It is laxer than AWS, and quieter, in ways that matter here: see the modules beside this one, an idea each.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
import threading
import time
from typing import Any

LONGEST_END_SECONDS = 20
LOOKS = 20


def end_with_the_front_door() -> None:
    """Blocks until the front door's end of the pipe closes."""
    # Not sys.stdin: a thread inside its buffer makes the interpreter abort when it ends.
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LONGEST_END_SECONDS)
    end_the_group()


def end_the_group() -> None:
    """Ends this process and its workers, whatever they are doing."""
    os.killpg(os.getpgid(0), signal.SIGKILL)


def main() -> None:
    """Serves until told to stop."""
    listener, functions_python, _directory, *options = sys.argv[1:]
    # Only modules that import nothing of MiniStack's can be had this early.
    from patches import front_door_only  # noqa: PLC0415 - a top-level module in this process only

    header, secret = front_door_only.read_secret()
    threading.Thread(target=end_with_the_front_door, daemon=True).start()
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    sys.executable = functions_python

    # Only after sys.executable is what workers need.
    from hypercorn.config import Config  # noqa: PLC0415
    from ministack.app import app  # noqa: PLC0415
    from patches import (  # noqa: PLC0415
        aliases,
        dropped_properties,
        durable_targets,
        event_sources,
        handler_errors,
        interpreters,
        lambda_resources,
        memory_limit,
        process_ends,
        reserved_concurrency,
        sqs_rules,
        step_functions,
        worker_credentials,
    )

    # First: it must see what MiniStack itself reads, not what lambda_resources does.
    dropped_properties.install()
    lambda_resources.install(functions_python)
    interpreters.install(functions_python)
    aliases.install()
    durable_targets.install()
    event_sources.install()
    handler_errors.install()
    memory_limit.install()
    process_ends.install()
    reserved_concurrency.install()
    sqs_rules.install()
    step_functions.install()
    worker_credentials.install()
    if "--faults" in options:
        install_faults({header.decode(): secret.decode()})
    config = Config()
    config.bind = [f"fd://{listener}"]
    config.keep_alive_timeout = 75
    asyncio.run(until_told_to_end(front_door_only.guarded(app, header, secret), config))


def install_faults(secret: dict[str, str]) -> None:
    """What faults need beyond the front door; `secret` is the header that it asks for."""
    from patches import callers, faulty_deliveries  # noqa: PLC0415 - as above

    callers.install()
    faulty_deliveries.install(secret)


async def until_told_to_end(app: Any, config: Any) -> None:
    """Serves, then writes what is to be kept, and ends with all workers.

    MiniStack itself would wait for the handlers that are running before it wrote anything, up to 15 minutes.
    """
    from hypercorn.asyncio import serve  # noqa: PLC0415 - as above

    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    serving = asyncio.create_task(serve(app, config, shutdown_trigger=asyncio.Event().wait))
    await asyncio.wait({serving, asyncio.create_task(told.wait())}, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()  # it could not start: raises why
    keep_state()
    end_the_group()


def keep_state() -> None:
    """As MiniStack does when it ends; but the pollers of its queues go on meanwhile, and may need a second look."""
    from ministack import app  # noqa: PLC0415 - as above
    from ministack.core import persistence  # noqa: PLC0415

    if not persistence.PERSIST_STATE:
        return
    for service, get_state in app._build_persistence_save_dict().items():  # noqa: SLF001 - there is no public way
        for _ in range(LOOKS):
            try:
                state = get_state()
            except RuntimeError:  # "changed size during iteration"
                continue
            if state is not None:
                persistence.save_state(service, state)
            break


if __name__ == "__main__":
    main()
