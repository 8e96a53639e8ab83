"""The commands that only read: status, logs, executions. They use the stack's own AWS API."""

import argparse
import json
import time
from collections import Counter, deque
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from durable_local import executions, lifecycle
from durable_local.errors import LocalStackError
from durable_local.settings import Settings

POLL_SECONDS = 0.2
NOT_RUNNING = 1
"""The exit status of `status` when no stack runs."""


def status(_given: argparse.Namespace, chosen: Settings) -> int:
    """Prints the endpoint, what is deployed and the number of executions by status."""
    stack = lifecycle.find(chosen)
    if stack is None:
        print(f"No local stack runs on port {chosen.port}.")
        return NOT_RUNNING
    print(f"The local stack is up at {stack.endpoint}.")
    if stack.settings.time_scale != 1:
        print(clock(stack.settings))
    print("\nstacks")
    pages = stack.client("cloudformation").get_paginator("describe_stacks").paginate()
    _table([[each["StackName"], each["StackStatus"]] for page in pages for each in page["Stacks"]])
    client = stack.client("lambda")
    print("\nfunctions")
    _table([[name, "durable" if durable else ""] for name, durable in executions.functions(client).items()])
    print("\nexecutions")
    counts = Counter(each["Status"] for each in executions.all_executions(client))
    _table([[state, str(count)] for state, count in sorted(counts.items())])
    return 0


def listing(given: argparse.Namespace, chosen: Settings) -> int:
    """Prints the executions, or the history of one; raises LocalStackError when no stack runs."""
    stack = lifecycle.find(chosen)
    if stack is None:
        raise LocalStackError(f"no local stack runs on port {chosen.port}; run: durable-local up")
    if given.execution:
        client = stack.client("lambda")
        _show_history(client, executions.arn_of(client, given.execution))
    else:
        _show_executions(stack.client("lambda"), given.status, with_arns=given.arns)
    return 0


def logs(given: argparse.Namespace, chosen: Settings) -> int:
    """Prints the last lines of each log; with `follow` also new lines, until the stack ends."""
    files = [(log, log.open(encoding="utf-8", errors="replace")) for log in _logs(chosen)]
    last = None
    for log, file in files:
        last = _print_lines(log, deque(file, maxlen=given.lines), last)
    is_up = bool(given.follow)
    while is_up:
        # The logs are read once more after the stack has ended.
        is_up = lifecycle.is_running(chosen)
        for log, file in files:
            last = _print_lines(log, file.readlines(), last)
        time.sleep(POLL_SECONDS)
    for _, file in files:
        file.close()
    return 0


def clock(chosen: Settings) -> str:
    """A sentence about a clock that is faster than real time."""
    return (
        f"The clock of durable executions runs {chosen.time_scale:g} times as fast as real time: waits, retries, "
        "timeouts. Handlers, visibility timeouts and schedules run in real time."
    )


def _logs(chosen: Settings) -> list[Path]:
    found = [log for log in (chosen.log, chosen.ministack_log) if log.exists()]
    if not found:
        raise LocalStackError(f"there are no logs in {chosen.directory}")
    return found


def _print_lines(log: Path, lines: Iterable[str], last: Path | None) -> Path | None:
    """Prints lines of a log, with its path above them unless `last` is this log; returns the log printed last."""
    text = "".join(lines)
    if not text:
        return last
    print(text if log == last else f"==> {log} <==\n{text}", end="", flush=True)
    return log


def _show_executions(client: Any, state: str | None, *, with_arns: bool) -> None:
    name, column = ("DurableExecutionArn", "ARN") if with_arns else ("DurableExecutionName", "NAME")
    found = executions.all_executions(client, **({"Statuses": [state]} if state else {}))
    rows = [
        [
            each["Status"],
            _time(each["StartTimestamp"]),
            _took(each),
            executions.function_of(each["FunctionArn"]),
            each[name],
        ]
        for each in found
    ]
    _table([["STATUS", "STARTED", "TOOK", "FUNCTION", column], *rows])


def _show_history(client: Any, arn: str) -> None:
    described = executions.describe(client, arn)
    print(f"{described['Status']}  {arn}\n")
    _table(
        [
            [_time(event["EventTimestamp"]), event["EventType"], event.get("Name", ""), _details(event)]
            for event in executions.history(client, arn)
        ]
    )


def _table(rows: list[list[str]]) -> None:
    """Prints rows of as many cells each, the columns aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if not rows:
        print("none")


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _took(execution: dict[str, Any]) -> str:
    if "EndTimestamp" not in execution:
        return "-"
    return f"{(execution['EndTimestamp'] - execution['StartTimestamp']).total_seconds():.1f} s"


def _details(event: dict[str, Any]) -> str:
    """The details of a history event as one line of JSON."""
    details: dict[str, Any] = next((value for name, value in event.items() if name.endswith("Details")), {})
    return json.dumps(details, default=str) if details else ""
