"""`python -m durable_local up | down`. (`serve` is what `up` starts in the background.)"""

from __future__ import annotations

import argparse
import os
import shlex
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from durable_local import settings
from durable_local.errors import LocalStackError, one_line
from durable_local.lifecycle import LocalStack, down, up
from durable_local.processes import End
from durable_local.settings import KEEP_VARIABLE, Settings

if TYPE_CHECKING:
    from collections.abc import Callable


def main(arguments: list[str], prepare: Callable[[LocalStack], str] | None = None) -> int:
    """Runs one command; the exit code. A failure is one line on standard error.

    `prepare` is called with the stack that `up` brought up; `up` prints the text that it returns.
    """
    parser = argparse.ArgumentParser(prog="python -m durable_local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    bringing_up = commands.add_parser(
        "up", help="start in the background, deploy, print the endpoint and lines to paste"
    )
    bringing_up.add_argument("--template", type=Path, help="another template; needs --stack")
    bringing_up.add_argument("--stack", help="the name to deploy it under, beside the stacks that are there")
    commands.add_parser("down", help="end the stack and all its processes")
    serving = commands.add_parser("serve")
    serving.add_argument("--directory", type=Path, required=True)
    for name in ("--port", "--listener", "--ready", "--concurrency"):
        serving.add_argument(name, type=int, required=True)
    serving.add_argument("--time-scale", type=float, required=True)
    serving.add_argument("--starts-per-second", type=int)
    serving.add_argument("--keep", action="store_true")
    serving.add_argument("--faults", action="store_true")
    serving.add_argument("--owned", action="store_true")
    given = parser.parse_args(arguments)
    try:
        if given.command == "serve":
            return _serve(given)
        return _up(given.template, given.stack, prepare) if given.command == "up" else _down()
    except LocalStackError as error:
        print(f"local stack: {one_line(error)}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # `make up | head`: the stack is up, and who read has read enough. Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("local stack: interrupted", file=sys.stderr)
        return 130


def _up(template: Path | None, stack_name: str | None, prepare: Callable[[LocalStack], str] | None) -> int:
    stack = up(settings.of_stack(settings.from_environment(), template, stack_name))
    _print(stack, prepare(stack) if prepare else "")
    return 0


def _down() -> int:
    chosen = settings.from_environment()
    how = down(chosen)
    said = {
        End.IN_ORDER: f"The local stack on port {chosen.port} has ended.",
        End.KILLED: f"The local stack on port {chosen.port} was killed.",
        End.NOTHING_RAN: f"No local stack runs on port {chosen.port}.",
    }[how]
    if how is not End.IN_ORDER and chosen.log.exists():
        said += f" The last one's logs are in {_shown(chosen.directory)}."
    print(said)
    return 0


def _serve(given: argparse.Namespace) -> int:
    # Here, not above: `down` needs no web server, and should not wait for one to be imported.
    from durable_local.gateway.server import serve  # noqa: PLC0415

    chosen = Settings(
        port=given.port,
        concurrency=given.concurrency,
        home=given.directory.parent,
        keep=given.keep,
        time_scale=given.time_scale,
        starts_per_second=given.starts_per_second,
        faults=given.faults,
    )
    return serve(chosen, socket.socket(fileno=given.listener), given.ready, owned=given.owned)


def _print(stack: LocalStack, more: str) -> None:
    chosen = stack.settings
    print(f"The local stack is up at {stack.endpoint} ({chosen.template.name} as stack {chosen.stack_name}).")
    print(_state(chosen))
    if chosen.time_scale != 1:
        print(
            f"The clock of durable executions runs {chosen.time_scale:g} times as fast as real time: waits, retries, "
            "timeouts. Handlers, visibility timeouts and schedules run in real time."
        )
    for notice in stack.notices:
        print(notice, file=sys.stderr)
    print("\n# use it from this shell")
    print(f". {shlex.quote(str(_shown(chosen.environment_file)))}")
    if more:
        print(more)
    print(f"\nLogs: {_shown(chosen.directory)}/*.log")


def _state(chosen: Settings) -> str:
    state = _shown(chosen.state)
    if chosen.keep:
        return f"Its state is kept in {state}: the next stack that keeps goes on from there."
    left = f" What an earlier stack kept in {state} is left alone." if chosen.state.exists() else ""
    return f"It started clean, and ends with all that is in it ({KEEP_VARIABLE}=1 keeps it).{left}"


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
