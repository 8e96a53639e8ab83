"""The command `durable-local`. An error is one line on standard error and exit status 1."""

import argparse
import os
import shlex
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from durable_local import lifecycle, ministack_environment, settings, show
from durable_local.errors import LocalStackError, one_line
from durable_local.lifecycle import LocalStack
from durable_local.processes import End
from durable_local.settings import KEEP_VARIABLE, NAME_VARIABLE, PYTHON_VARIABLE, Settings

Prepare = Callable[[LocalStack], str]
Command = Callable[[argparse.Namespace, Settings], int]


DESCRIPTION = """\
Runs a SAM template with durable functions on this machine: one endpoint, no Docker, no AWS account.

  durable-local install             once: MiniStack, in an environment of its own
  durable-local up template.yaml    start, deploy
  durable-local executions          what its durable functions did
  durable-local down                end it"""
VARIABLES = """\
variables:
  LOCAL_STACK_PORT=4566             a stack for each port
  LOCAL_STACK_PARAMETERS="A=1 B=2"  parameters of the template
  LOCAL_STACK_KEEP=1                keep the stack's state when it ends
  LOCAL_STACK_TIME_SCALE=86400      the clock of durable executions: a day takes a second
  LOCAL_STACK_CONCURRENCY=6         invocations of durable functions at once
  LOCAL_STACK_STARTS_PER_SECOND=300 more starts are throttled
  LOCAL_STACK_TEMPLATE, LOCAL_STACK_NAME, LOCAL_STACK_FUNCTIONS_PYTHON: as the arguments
  DURABLE_LOCAL_HOME                the folder for all files, instead of .local"""


def main(arguments: list[str] | None = None, prepare: Prepare | None = None, defaults: Settings | None = None) -> int:
    """Runs one command; the exit status.

    `prepare` is called with the stack that `up` started; `up` prints the text that it returns. `defaults`: settings for
    variables that are not set.
    """
    given = _parser().parse_args(arguments, argparse.Namespace(prepare=prepare))
    try:
        chosen = settings.from_environment(os.environ | _variables(given), defaults, getattr(given, "template", None))
        status: int = given.run(given, chosen)
    except (ClientError, BotoCoreError) as error:
        print(f"local stack: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except LocalStackError as error:
        print(f"local stack: {one_line(error)}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # `durable-local up | head`: the reader has ended. Python would fail once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("local stack: interrupted", file=sys.stderr)
        return 130
    else:
        return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="durable-local",
        description=DESCRIPTION,
        epilog=VARIABLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    def add(name: str, run: Command, text: str, example: str) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(run=run)
        return command

    up = add("up", _up, "start the stack in the background, deploy a template", "durable-local up hello/template.yaml")
    up.add_argument("template", type=Path, nargs="?", help="a SAM template; default: template.yaml in this folder")
    up.add_argument("--stack", metavar="NAME", help="the stack's name; default: the name of the template's folder")
    up.add_argument("--python", metavar="PATH", help="runs handlers; default: the Python that runs durable-local")
    add("down", _down, "end the stack and all its processes", "durable-local down")
    add("status", show.status, "show the endpoint, what is deployed, and executions by status", "durable-local status")
    logs = add("logs", show.logs, "show the logs of the front door and of MiniStack", "durable-local logs -f")
    logs.add_argument("-f", "--follow", action="store_true", help="show new lines too, until Ctrl-C or the stack ends")
    logs.add_argument("-n", "--lines", type=int, default=50, help="how many lines of each log; default: 50")
    listing = add(
        "executions", show.listing, "list executions, or show one's history", "durable-local executions order-17"
    )
    listing.add_argument("execution", nargs="?", help="the ARN or name of an execution: shows its history")
    listing.add_argument("--status", help="only executions with this status, such as RUNNING")
    listing.add_argument("--arns", action="store_true", help="show ARNs instead of names")
    console = add("console", _console, "show executions in a browser, and act on them", "durable-local console")
    console.add_argument(
        "--port", type=int, default=0, dest="console_port", help="of the console; default: any free one"
    )
    console.add_argument("--read-only", action="store_true", help="show everything, change nothing")
    console.add_argument("--stack", metavar="NAME", dest="only", help="only the functions of this CloudFormation stack")
    console.add_argument("--aws", action="store_true", help="an AWS account instead of the local stack, as the AWS CLI")
    console.add_argument("--region", help="of the AWS account")
    console.add_argument("--profile", help="of your AWS credentials")
    console.add_argument("--endpoint-url", metavar="URL", help="an endpoint of the AWS API")
    add(
        "install",
        _install,
        "install MiniStack from a package index, in an environment of its own",
        "durable-local install",
    )

    serve = commands.add_parser("serve")  # the process that `up` starts in the background
    serve.set_defaults(run=_serve)
    serve.add_argument("directory")  # by which the process is recognized
    serve.add_argument("settings", type=Settings.from_json)
    serve.add_argument("listener", type=int)
    serve.add_argument("ready", type=int)
    serve.add_argument("--owned", action="store_true")
    return parser


def _variables(given: argparse.Namespace) -> dict[str, str]:
    """The variables that the arguments set."""
    arguments = {NAME_VARIABLE: getattr(given, "stack", None), PYTHON_VARIABLE: getattr(given, "python", None)}
    return {name: value for name, value in arguments.items() if value}


def _install(_given: argparse.Namespace, _chosen: Settings) -> int:
    is_new = ministack_environment.install()
    print(f"MiniStack {'is installed' if is_new else 'was already installed'} in {ministack_environment.folder()}.")
    return 0


def _up(given: argparse.Namespace, chosen: Settings) -> int:
    stack = lifecycle.up(chosen)
    more = given.prepare(stack) if given.prepare else ""
    chosen = stack.settings
    print(f"The local stack is up at {stack.endpoint} ({chosen.template.name} as stack {chosen.stack_name}).")
    print(_state(chosen))
    if chosen.time_scale != 1:
        print(show.clock(chosen))
    for notice in stack.notices:
        print(notice, file=sys.stderr)
    for function, error in stack.import_errors.items():
        print(f"{function} cannot be imported: {error}", file=sys.stderr)
    if stack.outputs:
        print("\n# outputs")
    for name, value in stack.outputs.items():
        print(f"{name}: {value}")
    print("\n# use it from this shell")
    print(f". {shlex.quote(str(_shown(chosen.environment_file)))}")
    if more:
        print(more)
    print(f"\nLogs: {_shown(chosen.directory)}/*.log")
    return 0


def _down(_given: argparse.Namespace, chosen: Settings) -> int:
    how = lifecycle.down(chosen)
    said = {
        End.IN_ORDER: f"The local stack on port {chosen.port} has ended.",
        End.KILLED: f"The local stack on port {chosen.port} was killed.",
        End.NOTHING_RAN: f"No local stack runs on port {chosen.port}.",
    }[how]
    if how is not End.IN_ORDER and chosen.log.exists():
        said += f" The logs of the last stack are in {_shown(chosen.directory)}."
    print(said)
    return 0


def _console(given: argparse.Namespace, chosen: Settings) -> int:
    # Not at the top, as in _serve.
    from durable_local import console  # noqa: PLC0415

    source: console.Source
    notices = []
    if given.aws or given.region or given.profile or given.endpoint_url:
        source = console.AwsAccount(given.region, given.profile, given.endpoint_url)
    else:
        stack = lifecycle.find(chosen)
        if stack is None:
            message = f"no local stack runs on port {chosen.port}; run: durable-local up, or name an account with --aws"
            raise LocalStackError(message)
        source = console.StackOnThisMachine(chosen)
        notices = [show.clock(stack.settings)] if stack.settings.time_scale != 1 else []
    sections = [console.executions_section(source, stack=given.only)]
    console.run(
        lambda guard: console.create_app(
            sections, guard, title="durable-local", notices=notices, poll_seconds=source.poll_seconds
        ),
        given.console_port,
        read_only=given.read_only,
    )
    return 0


def _serve(given: argparse.Namespace, _chosen: Settings) -> int:
    # Not at the top: the other commands need no web server and should not wait for its import.
    from durable_local.gateway.server import serve  # noqa: PLC0415

    return serve(given.settings, socket.socket(fileno=given.listener), given.ready, owned=given.owned)


def _state(chosen: Settings) -> str:
    state = _shown(chosen.state)
    if chosen.keep:
        return f"Its state is kept in {state}: the next stack with {KEEP_VARIABLE}=1 continues from there."
    left = f" What an earlier stack kept in {state} is left alone." if chosen.state.exists() else ""
    return f"It started clean, and its contents are lost when it ends ({KEEP_VARIABLE}=1 keeps them).{left}"


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
