# mypy: disable-error-code="import-not-found"
"""Starts MiniStack.

Arguments: the port to listen on, the interpreter for Lambda workers, the stack's directory (which also marks
the process as this stack's).

What MiniStack's own entry point cannot do:
- It runs Python handlers with `sys.executable`, which would be its own environment, whose botocore is older
  than the durable SDK needs. Handlers must see exactly what `src/requirements.txt` ships, so `sys.executable`
  names that environment before MiniStack is imported.
- It listens on the port it advertises (in queue URLs, to workers). Here it advertises the front door's
  (`GATEWAY_PORT`) and listens on another.
- It outlives its parent. Here standard input is a pipe held by the front door: when that process ends, however
  it ends, the pipe closes and this process group goes with it, workers busy in a handler included. That works
  on every Unix, unlike PR_SET_PDEATHSIG, which also fires when only the parent's thread ends.
- It is laxer than AWS, and quieter, in ways that matter here: see the modules beside this one, an idea each.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
import threading


def end_with_the_front_door() -> None:
    """Blocks until the front door's end of the pipe closes."""
    # Not sys.stdin: a thread inside its buffer makes the interpreter abort when it ends.
    os.read(0, 1)
    os.killpg(os.getpgid(0), signal.SIGKILL)


def main() -> None:
    """Serves until told to stop."""
    port, functions_python, _directory = sys.argv[1:]
    threading.Thread(target=end_with_the_front_door, daemon=True).start()
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    sys.executable = functions_python

    # Only after sys.executable is what workers need.
    import aliases  # noqa: PLC0415
    import dropped_properties  # noqa: PLC0415
    import durable_targets  # noqa: PLC0415
    import interpreters  # noqa: PLC0415
    import lambda_resources  # noqa: PLC0415
    import sqs_rules  # noqa: PLC0415
    from hypercorn.asyncio import serve  # noqa: PLC0415
    from hypercorn.config import Config  # noqa: PLC0415
    from ministack.app import app  # noqa: PLC0415

    # First: it must see what MiniStack itself reads, not what lambda_resources does.
    dropped_properties.install()
    lambda_resources.install(functions_python)
    interpreters.install(functions_python)
    aliases.install()
    durable_targets.install()
    sqs_rules.install()
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 0.5
    asyncio.run(serve(app, config))


if __name__ == "__main__":
    main()
