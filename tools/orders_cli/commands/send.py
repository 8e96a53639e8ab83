"""`orders send`."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, BinaryIO, TextIO

from cyclopts import Parameter
from cyclopts.types import PositiveInt

from shared.orders.order import Order
from tools.operations import send as operation
from tools.operations.order_files import BadLine, Format, OrderLine, format_of, orders_in
from tools.operations.send import GroupBy, Unsent
from tools.orders_cli.connection import ENVIRONMENT, Connection
from tools.orders_cli.failure import CommandFailed, WrongUsage
from tools.orders_cli.output import Json, print_json, print_line, print_notice
from tools.sample_data import generated_orders

_STANDARD_INPUT = "-"


@dataclass
class _Done:
    sent: int = 0
    bad: int = 0
    unsent: list[Unsent] = field(default_factory=list)


def send(
    *files: Annotated[str, Parameter(allow_leading_hyphen=True)],
    generate: PositiveInt | None = None,
    format_: Annotated[Format | None, Parameter(name="--format")] = None,
    group_by: GroupBy | None = None,
    dry_run: bool = False,
    json: Json = False,
    connection: Connection = ENVIRONMENT,
) -> int:
    """Send orders to the queue. A bad line is named, and the rest is sent; the exit status is then 1.

    Parameters
    ----------
    files
        JSON, JSON Lines or CSV by the file's name. - is JSON Lines on standard input.
    generate
        Send this many made-up orders instead.
    format_
        The format of all files.
    group_by
        Set the message group, for SQS's fair queues.
    dry_run
        Check the lines only.
    """
    if bool(files) == (generate is not None):
        raise WrongUsage("name files, or - for standard input, or --generate N (orders send --help)")
    done = _Done()
    orders = generated_orders(generate) if generate is not None else _checked(files, format_, done)
    if dry_run:
        done.sent = sum(1 for _ in orders)
    else:
        with _progress(generate) as advance:
            try:
                for sent, unsent in operation.send(
                    orders, connection.sqs, connection.outputs["OrdersQueueUrl"], group_by
                ):
                    done.sent += sent
                    done.unsent += unsent
                    advance(sent)
            except BaseException:
                print_notice(f"{done.sent} sent; send the same again: an order that is sent twice starts once")
                raise
    for one in done.unsent:
        print_notice(f"{one.order_id}: not sent: {one.code}")
    if json:
        unsent_json = [{"orderId": one.order_id, "code": one.code} for one in done.unsent]
        print_json({"valid" if dry_run else "sent": done.sent, "bad": done.bad, "unsent": unsent_json})
    else:
        verb = "valid" if dry_run else "sent"
        print_line(f"{done.sent} {verb}, {done.bad} bad lines, {len(done.unsent)} not sent")
    return 1 if done.bad or done.unsent else 0


def _checked(files: tuple[str, ...], form: Format | None, done: _Done) -> Iterator[Order]:
    """The valid orders. A bad line is named as soon as it is read."""
    for name in files:
        with _opened(name) as stream:
            for found in orders_in(stream, form or format_of(name)):
                match found:
                    case OrderLine(order=order):
                        yield order
                    case BadLine(line, reason):
                        done.bad += 1
                        print_notice(f"{name}:{line}: {reason}")


def _opened(name: str) -> AbstractContextManager[TextIO]:
    if name == _STANDARD_INPUT:
        return nullcontext(_text(sys.stdin.buffer))
    try:
        return _text(Path(name).open("rb"))
    except OSError as error:
        raise CommandFailed(f"{name} cannot be read: {error.strerror}; name a file of orders, or -") from None


def _text(file: BinaryIO) -> TextIO:
    # The parser names a byte that is not UTF-8 as it names any other mistake of its line.
    return TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")


@contextmanager
def _progress(total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar with the rate on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    # Rich takes a tenth of a second to import.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TimeElapsedColumn  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            """The orders per second of the last seconds."""
            return Text(f"{task.speed or 0:.0f} orders/s")

    columns = (BarColumn(), MofNCompleteColumn(), Rate(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("send", total=total)
        yield lambda sent: bar.advance(task, sent)
