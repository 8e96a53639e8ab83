# mypy: disable-error-code="import-not-found"
"""Starts MiniStack. MiniStack's own environment runs this file, so it imports nothing of this project.

Arguments: the port to listen on, the interpreter for Lambda workers, the stack's directory (which also marks
the process as this stack's).

Four things MiniStack's own entry point cannot do:
- It runs Python handlers with `sys.executable`, which would be its own environment, whose botocore is older
  than the durable SDK needs. Handlers must see exactly what `src/requirements.txt` ships, so `sys.executable`
  names that environment before MiniStack is imported.
- It listens on the port it advertises (in queue URLs, to workers). Here it advertises the front door's
  (`GATEWAY_PORT`) and listens on another.
- It outlives its parent. Here standard input is a pipe held by the front door: when that process ends, however
  it ends, the pipe closes and this process group goes with it, workers busy in a handler included. That works
  on every Unix, unlike PR_SET_PDEATHSIG, which also fires when only the parent's thread ends.
- Its CloudFormation drops some properties of a function that its Lambda service knows, `DurableConfig` among
  them, without which nobody could tell a durable function from a plain one.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def end_with_the_front_door() -> None:
    """Blocks until the front door's end of the pipe closes."""
    sys.stdin.buffer.read()
    os.killpg(os.getpgid(0), signal.SIGKILL)


def keep_function_properties() -> None:
    """Wraps what CloudFormation does to create and update a function; versions published later copy the rest."""
    from ministack.services import lambda_svc  # noqa: PLC0415 - only after sys.executable is what workers need
    from ministack.services.cloudformation import provisioners  # noqa: PLC0415

    actions: dict[str, Callable[..., Any]] = provisioners._RESOURCE_HANDLERS["AWS::Lambda::Function"]

    def keeping(action: Callable[..., Any], properties_at: int) -> Callable[..., Any]:
        def act(*arguments: Any, **named: Any) -> Any:
            name, attributes = action(*arguments, **named)
            properties, function = arguments[properties_at], lambda_svc._functions[name]
            for kept in ("DurableConfig", "DeadLetterConfig"):
                if kept in properties:
                    function["config"][kept] = properties[kept]
                else:
                    function["config"].pop(kept, None)
            reserved = properties.get("ReservedConcurrentExecutions")
            function["concurrency"] = None if reserved is None else int(reserved)
            return name, attributes

        return act

    actions["create"] = keeping(actions["create"], properties_at=1)
    actions["update"] = keeping(actions["update"], properties_at=2)


def main() -> None:
    """Serves until told to stop."""
    port, functions_python, _directory = sys.argv[1:]
    threading.Thread(target=end_with_the_front_door, daemon=True).start()
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    sys.executable = functions_python

    from hypercorn.asyncio import serve  # noqa: PLC0415 - only after sys.executable is what workers need
    from hypercorn.config import Config  # noqa: PLC0415
    from ministack.app import app  # noqa: PLC0415

    keep_function_properties()
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 0.5
    asyncio.run(serve(app, config))


if __name__ == "__main__":
    main()
