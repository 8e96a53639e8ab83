"""The command `orders`: its list of commands, and how each ends.

Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted. A command's module is imported when it is run. Cyclopts
starts such a command in half of Typer's time, because Typer needs all modules first.
"""

import os
import sys
from typing import Final

from cyclopts import App, CycloptsError, Parameter

from tools.orders_cli.failure import CommandFailed, WrongUsage
from tools.printable import printable

COMMANDS: Final = {
    "cancel": ("Cancel orders that are not finalizing yet.", 'cancel ORDER-123 --reason "customer called"'),
    "check": ("Find the items of the ledger that cannot be read.", "check"),
    "console": ("See the pipeline in a browser, and act on it.", "console"),
    "copy-back": ("Copy what the ledger lacks from a restored table.", "copy-back --from orders-restored"),
    "dlq": ("Look at dead letters, move them back, or delete them.", "dlq redrive"),
    "doctor": ("Check the stack and the connection to it.", "doctor"),
    "failures": ("Failed orders, grouped by cause.", "failures --since 2h"),
    "forget": ("Erase an order that has ended, and its executions.", "forget ORDER-123"),
    "get": ("Show an order: state, history, error, execution.", "get ORDER-123"),
    "history": ("An order's time line, and what differs between attempts.", "history ORDER-123"),
    "invoke": ("Invoke the orchestrator's alias with one order.", "invoke order.json"),
    "jobs": ("List, show, abort or resume bulk operations.", "jobs resume 20260131T120000Z-1a2b3c"),
    "list": ("List orders by state, customer, error or age.", "list --state FAILED --since 2h"),
    "pause": ("Pause intake, running executions, or all.", "pause --all"),
    "recover": ("Bring the ends of executions to the ledger.", "recover --since 2026-01-31T00:00Z"),
    "rejected": (
        "Look at rejected messages, send one again, delete all.",
        "rejected resend MESSAGE-ID --with order.json",
    ),
    "resume": ("Resume what orders pause has paused.", "resume --all"),
    "retry": ("Retry orders that failed, timed out or were stopped.", "retry --error EnricherUnavailable --since 2h"),
    "send": ("Send orders from files to the queue.", "send orders.jsonl --group-by customerId"),
    "stats": ("Orders by state, their times and what they cost.", "stats --since 2h --plot stats.png"),
    "stuck": ("List the orders that do not move, each with its cause.", "stuck"),
    "sweep": ("Start the sweep now, for ends that were not recorded.", "sweep"),
    "versions": ("Count the running orders of each published version.", "versions"),
    "watch": ("Watch orders until they end, or all counts.", "watch ORDER-123"),
    "why": ("Say why an order does not move.", "why ORDER-123"),
}
"""Each command with its line in the help and an example. It is the function of that name (`_` for `-`)
in the module of that name in `tools/orders_cli/commands/`."""


def _shown_default(value: object) -> str | None:
    """An option that is off, or selects nothing, says nothing by that default."""
    return None if value in (None, False, "", ()) else str(value)


app = App(
    name="orders",
    help="Operate the order pipeline, on AWS or on the local stack.",
    # Markdown takes a quarter of a second to import.
    help_format="plaintext",
    version_flags=[],
    # No --no-json beside --json.
    default_parameter=Parameter(negative="", show_default=_shown_default),
    result_action="return_value",
    # `run` says that it was interrupted.
    suppress_keyboard_interrupt=False,
)
for _name, (_summary, _example) in COMMANDS.items():
    _module = _name.replace("-", "_")
    app.command(
        f"tools.orders_cli.commands.{_module}:{_module}", name=_name, help=f"{_summary}\n\nExample: orders {_example}"
    )
app.register_install_completion_command()


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command. Returns the exit status."""
    try:
        status = app(arguments, exit_on_error=False, print_error=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except CycloptsError as error:
        return _ended(2, f"{error} (orders --help lists the commands)")
    except KeyboardInterrupt:
        return _ended(130, "interrupted")
    except BrokenPipeError:
        # The reader of the output has enough, as in `orders list | head`. Python flushes again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except CommandFailed as error:
        return _ended(2 if isinstance(error, WrongUsage) else 1, str(error))
    except Exception as error:  # noqa: BLE001 (a bug is raised again)
        return _ended(1, _explained(error))


def _explained(error: Exception) -> str:
    """An error of the pipeline or of AWS in one line. Raises any other error: that is a bug."""
    from shared.errors import OrderError  # noqa: PLC0415 (`orders --help` needs neither)
    from tools.orders_cli.connection import AWS_ERRORS  # noqa: PLC0415

    if isinstance(error, OrderError):
        return f"{type(error).__name__}: {error}"
    if isinstance(error, AWS_ERRORS):
        return f"AWS: {error} (orders doctor checks the connection)"
    raise error


def _ended(status: int, message: str) -> int:
    print(f"orders: {printable(' '.join(message.split()))}", file=sys.stderr)
    return status
