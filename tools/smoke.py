"""Sends a few orders through a deployed stack and checks what becomes of them: `python -m tools.smoke --stack NAME`.

Then it asks the deployment what no local stack can answer, and prints the questions with the answers. Each id that it
sends has SMOKE in it. At the end it forgets its orders and deletes its rejects. Without `--stack` it runs on the local
stack: the one of `make up`, or one of its own.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from typing import Any, Final, TypeVar

from durable_local import LocalStackError, lifecycle
from durable_local.errors import one_line
from durable_local.settings import from_environment
from shared.aws.metrics import NAMESPACE
from shared.errors import OrderError
from shared.executions.client import SUCCEEDED
from shared.executions.names import ExecutionName
from shared.ledger.entry import LedgerEntry
from shared.ledger.states import PATH, TERMINAL, State
from shared.orders.order import parse_order
from tools.operations.doctor import Finding, Stack, check_stack
from tools.operations.forget import forget
from tools.operations.queues import Queue
from tools.orders_cli.connection import AWS_ERRORS, Connection
from tools.orders_cli.failure import CommandFailed
from tools.pipeline import SETTINGS, local_stack
from tools.printable import printable

MAX_WAIT_SECONDS: Final = 600
MARGIN_SECONDS: Final = 180
"""Beside the wait: the time for an order to end, and for CloudWatch to have its metrics."""
POLL_SECONDS: Final = 1.0
MAX_REJECTS: Final = 200
"""How many messages of the rejected-orders queue are received to find those of this run."""

FUNCTIONS: Final = (
    "OrderIngest",
    "DurableOrderProcessor",
    "OrderEnricher",
    "OrderReconciler",
    "OrderSweep",
    "OrderPublisher",
)
EXPECTED_ALARMS: Final = {
    "MessagesRejectedAlarm": "two messages of the run are rejected",
    "SweepNotRunningAlarm": "the first sweep is five minutes after the deployment",
}
"""The alarms that may begin to ring during the checks, each with its reason."""

T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """What a deployment says to one question. `holds`: the pipeline works with it; None: it did not say."""

    question: str
    answer: str
    holds: bool | None


class Smoke:
    """One run on one stack. `checks` comes first, then `questions`, then `clean_up`.

    Raises `CommandFailed` for a stack whose orders wait too long. The methods raise AWS's errors.
    """

    def __init__(self, connection: Connection) -> None:
        parameters = connection.parameters
        wait = int(parameters["WaitSeconds"])
        if wait > MAX_WAIT_SECONDS:
            raise CommandFailed(
                f"an order of this stack waits {wait} s: deploy it with WaitSeconds={MAX_WAIT_SECONDS} or less first"
            )
        self._connection = connection
        self._outputs = connection.outputs
        self._seconds = wait + MARGIN_SECONDS
        self._began = datetime.now(UTC)
        self.id = f"{parameters.get('OrderIdPrefix', '')}SMOKE-{token_hex(4)}"
        self._bodies = {f"{self.id}-{number}": _order(f"{self.id}-{number}") for number in (1, 2)}
        self._rejects = Queue(connection.sqs, self._outputs["RejectedOrdersQueueUrl"])
        self._executions: list[str] = []

    # ── the checks ────────────────────────────────────────────────────────────────────────────────────

    def checks(self) -> Iterator[Finding]:
        """A finding for each check, as it is made."""
        ringing = self._ringing()
        for finding in check_stack(Stack(self._connection.client, self._outputs)):
            if finding.check != "alarms":  # what rang before is not of this run
                yield finding
        first, second = self._bodies
        bad = json.dumps({"orderId": f"{self.id}-BAD", "items": "none"})
        self._send([*self._bodies.values(), self._bodies[second], bad])
        for order_id in self._bodies:
            yield Finding(f"order {order_id}", self._problem_of(order_id))
        conflict = json.dumps({"orderId": first, "customerId": "another"})
        self._send([self._bodies[second], conflict])
        for body, code in ((bad, "INVALID_ORDER"), (conflict, "ORDER_CONFLICT")):
            found = self._until(lambda body=body: self._reason(body))  # type: ignore[misc]
            yield Finding(f"reject {code}", None if found == code else f"the reject has the reason {found}")
        yield Finding("a duplicate changed nothing", self._problem_of(second))
        if self._connection.parameters["LogLevel"] in {"DEBUG", "INFO"}:  # Lambda drops the metrics above INFO
            yield Finding("metrics", self._missing_metrics())
        new = self._ringing() - ringing
        unexpected = sorted(new - EXPECTED_ALARMS.keys())
        yield Finding("alarms", f"these began to ring: {', '.join(unexpected)}" if unexpected else None)

    def _send(self, bodies: list[str]) -> None:
        entries = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)]
        url = self._outputs["OrdersQueueUrl"]
        failed = self._connection.sqs.send_message_batch(QueueUrl=url, Entries=entries).get("Failed", [])  # type: ignore[arg-type]
        if failed:
            raise CommandFailed(f"SQS did not take a message: {failed[0].get('Code')} {failed[0].get('Message', '')}")

    def _problem_of(self, order_id: str) -> str | None:
        """What is wrong with an order that must be COMPLETED by one attempt; None: nothing."""
        entry = self._ended(order_id)
        if entry is None:
            return f"it has not ended after {self._seconds} s: orders why {order_id}"
        if entry.state is not State.COMPLETED:
            return f"it is {entry.state}: {(entry.error or {}).get('type')}; orders why {order_id}"
        if tuple(step.state for step in entry.history) != PATH:
            return f"its history is {', '.join(step.state for step in entry.history)}"
        return None

    def _ended(self, order_id: str) -> LedgerEntry | None:
        def look() -> LedgerEntry | None:
            entry = self._connection.ledger.get(order_id)
            return entry if entry is not None and entry.state in TERMINAL else None

        return self._until(look)

    def _reason(self, body: str | None = None, source: str | None = None) -> str | None:
        """The reason code of the reject with this body or of this execution; None: it is not there yet."""
        with self._rejects.sample(MAX_REJECTS) as found:
            for one in found:
                if one.body == body or (source is not None and one.attribute("sourceMessageId") == source):
                    return one.attribute("reasonCode")
        return None

    def _missing_metrics(self) -> str | None:
        wanted = {
            ("Transitions", "publisher", "OrderPublisherArn", "COMPLETED"): len(self._bodies),
            ("OrdersAccepted", "ingest", "OrderIngestArn", None): len(self._bodies),
            ("MessagesRejected", "ingest", "OrderIngestArn", None): 2,
        }

        def look() -> bool:
            return all(self._sum(*metric) >= least for metric, least in wanted.items())

        return (
            None if self._until(look) else f"CloudWatch does not have the metrics of this run after {self._seconds} s"
        )

    def _sum(self, metric: str, service: str, function: str, state: str | None) -> float:
        name = self._outputs[function].rpartition(":")[2]
        dimensions = {"service": service, "FunctionName": name} | ({"State": state} if state else {})
        points = self._connection.client("cloudwatch").get_metric_statistics(
            Namespace=NAMESPACE,
            MetricName=metric,
            Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
            StartTime=self._began - timedelta(minutes=1),
            EndTime=datetime.now(UTC) + timedelta(minutes=1),
            Period=60,
            Statistics=["Sum"],
        )["Datapoints"]
        return float(sum(point["Sum"] for point in points))

    def _ringing(self) -> set[str]:
        """The logical ids of the stack's alarms that are in ALARM. CloudFormation appends `-` and an id of its own."""
        prefix = f"{self._connection.stack}-"
        pages = self._connection.client("cloudwatch").get_paginator("describe_alarms")
        found = pages.paginate(AlarmNamePrefix=prefix, StateValue="ALARM")
        names = (alarm["AlarmName"].removeprefix(prefix) for page in found for alarm in page["MetricAlarms"])
        # Another stack's name may begin with this one's.
        return {name.partition("-")[0] for name in names if name.count("-") == 1}

    # ── the questions ─────────────────────────────────────────────────────────────────────────────────

    def questions(self) -> Iterator[Answer]:
        """What only AWS can answer, each with its answer, as it is asked. For orders that are COMPLETED."""
        asked: dict[str, Callable[[], tuple[str, bool | None]]] = {
            "List by function: does a list without a qualifier have executions of published versions?": self._list,
            "Name scope: does a start by a version's number join what the alias started?": self._scope,
            "Condition failure: does dynamodb:UpdateItem alone return the item that refused it?": self._refused,
            "Event fields: does a failed execution's event match the rule, and is it read?": self._event,
            "IAM resources: does AWS refuse no call of a function?": self._denied,
        }
        for question, ask in asked.items():
            try:
                answer, holds = ask()
            except (*AWS_ERRORS, OrderError) as error:
                answer, holds = f"not answered: {' '.join(str(error).split())}", None
            yield Answer(question, answer, holds)

    @property
    def _first(self) -> LedgerEntry:
        (order_id, *_) = self._bodies
        entry = self._connection.ledger.get(order_id)
        if entry is None:
            raise CommandFailed(f"{order_id} is not in the ledger any more")
        return entry

    def _list(self) -> tuple[str, bool]:
        name = str(ExecutionName.of(self._connection.stack_id, self._first.order_id, 1))
        found = self._connection.aws_lambda.list_durable_executions_by_function(
            FunctionName=self._function, DurableExecutionName=name
        )["DurableExecutions"]
        arns = [execution["DurableExecutionArn"] for execution in found]
        return ("yes", True) if arns == [self._first.execution_arn] else (f"no: it has {arns}", False)

    def _scope(self) -> tuple[str, bool]:
        """Starts the order again, by another version than the one it ran on if there is one. It is COMPLETED."""
        ran_on = self._first.execution_arn.partition("/")[0].rpartition(":")[2]
        pages = self._connection.aws_lambda.get_paginator("list_versions_by_function").paginate(
            FunctionName=self._function
        )
        versions = {found["Version"] for page in pages for found in page["Versions"]} - {"$LATEST", ran_on}
        version = max(versions, key=int, default=ran_on)
        arn = self._connection.aws_lambda.invoke(
            FunctionName=f"{self._function}:{version}",
            InvocationType="Event",
            DurableExecutionName=str(ExecutionName.of(self._connection.stack_id, self._first.order_id, 1)),
            Payload=parse_order(self._bodies[self._first.order_id]).canonical_bytes(),
        )["DurableExecutionArn"]
        of_versions = f"it ran on {ran_on}, and the start named {version}"
        if arn == self._first.execution_arn:
            return f"yes ({of_versions})", True
        self._executions.append(arn)
        return f"no ({of_versions}): use no canary", False

    def _refused(self) -> tuple[str, bool]:
        """Invokes a COMPLETED order again without a name: its claim is refused, and the item has the result."""
        execution = self._invoke(self._bodies[self._first.order_id])
        recorded = (self._first.result or {})["processedAt"]
        if execution.status == SUCCEEDED and json.loads(execution.result or "{}").get("processedAt") == recorded:
            return "yes", True
        return f"no: the execution is {execution.status} with {execution.error_type}", False

    def _event(self) -> tuple[str, bool | None]:
        body = json.dumps({"orderId": f"{self.id}-INVOKED", "items": "none"})
        execution = self._invoke(body)
        began = time.monotonic()
        code = self._until(lambda: self._reason(source=execution.arn))
        seconds = time.monotonic() - began
        if code is None:
            return f"no: no reject of the execution after {self._seconds} s", False
        if self._log_lines("OrderReconciler", f'"{execution.arn.rpartition("/")[2]}"'):
            return f"yes, within {seconds:.0f} s", True
        return f"not known: the reject came after {seconds:.0f} s, and the sweep may have sent it", None

    def _denied(self) -> tuple[str, bool | None]:
        refused = [name for name in FUNCTIONS if self._log_lines(name, '"AccessDenied"')]
        if refused:
            return f"no: AccessDenied in the log of {', '.join(refused)}", False
        if not self._log_lines("OrderSweep", '"swept"'):
            return "not yet known: no sweep has run, which lists executions; run this again after five minutes", None
        return "yes: no AccessDenied in the logs of the last hour, with a sweep among them", True

    def _invoke(self, body: str) -> Any:
        """The execution of a direct invoke without a name, after its end."""
        executions = self._connection.executions
        arn = self._connection.aws_lambda.invoke(
            FunctionName=self._outputs["DurableOrderProcessorArn"], InvocationType="Event", Payload=body
        )["DurableExecutionArn"]
        self._executions.append(arn)
        ended = self._until(lambda: (found := executions.get(arn)) and found.status != "RUNNING" and found)
        if not ended:
            raise CommandFailed(f"the execution {arn} has not ended after {self._seconds} s")
        return ended

    def _log_lines(self, function: str, pattern: str) -> bool:
        """Whether the function's log of the last hour has a line with the pattern."""
        name = self._outputs["OrderIngestArn"].rpartition(":")[2].removesuffix("OrderIngest")
        pages = (
            self._connection.client("logs")
            .get_paginator("filter_log_events")
            .paginate(
                logGroupName=f"/aws/lambda/{name}{function}",
                startTime=int((self._began - timedelta(hours=1)).timestamp() * 1000),
                filterPattern=pattern,
            )
        )
        return any(page["events"] for page in pages)

    @property
    def _function(self) -> str:
        return self._outputs["DurableOrderProcessorArn"].rpartition(":")[0]

    # ── the end ───────────────────────────────────────────────────────────────────────────────────────

    def clean_up(self) -> Iterator[Finding]:
        """Forget the orders of this run, and delete the executions of its questions and what it has in the rejects."""
        connection = self._connection
        for order_id in self._bodies:
            try:
                forget(order_id, connection.ledger, connection.executions)
            except OrderError as error:
                yield Finding(f"forget {order_id}", str(error))
        for arn in self._executions:
            connection.executions.delete(arn)
        with self._rejects.sample(MAX_REJECTS) as found:
            for one in found:
                if (one.order_id or "").startswith(self.id):
                    connection.sqs.delete_message(
                        QueueUrl=self._rejects.url, ReceiptHandle=one.message["ReceiptHandle"]
                    )
        connection.log.write("smoke", self.id, "orders forgotten")

    def _until(self, look: Callable[[], T]) -> T | None:
        """What `look` returns when it is true, or None when the time is over."""
        deadline = time.monotonic() + self._seconds
        while not (found := look()):
            if time.monotonic() > deadline:
                return None
            time.sleep(POLL_SECONDS)
        return found


def _order(order_id: str) -> str:
    items = [{"sku": "SMOKE", "quantity": 2, "unitPrice": "13.24"}]
    return json.dumps({"orderId": order_id, "customerId": "SMOKE", "currency": "USD", "items": items})


def run(connection: Connection) -> int:
    """Print each finding, then the form. The exit status is 1 if a check failed or an answer breaks the pipeline."""
    smoke = Smoke(connection)
    print(f"sending orders to the stack {connection.stack}; their ids begin with {smoke.id}", flush=True)
    problems = 0
    answers: list[Answer] = []
    try:
        for finding in smoke.checks():
            problems += _print(finding)
        if not problems:
            answers = list(smoke.questions())
    finally:
        for finding in smoke.clean_up():
            problems += _print(finding)
    if answers:
        print(form(connection, answers))
    problems += sum(answer.holds is False for answer in answers)
    print(f"{problems} problems" if problems else "the stack works")
    return 1 if problems else 0


def _print(finding: Finding) -> bool:
    print(printable(f"{finding.check}: {finding.problem or 'ok'}"), flush=True)
    return finding.problem is not None


def form(connection: Connection, answers: list[Answer]) -> str:
    """The questions and answers as a Markdown table, to copy into a report."""
    where = f"Stack {connection.stack}, {connection.aws_lambda.meta.region_name}, {datetime.now(UTC):%Y-%m-%d}"
    if connection.aws_lambda.meta.endpoint_url.startswith("http://127.0.0.1"):
        where += ", a local stack: only AWS can answer these"
    rows = (f"| {answer.question} | {printable(answer.answer)} |" for answer in answers)
    return "\n".join(["", f"{where}.", "", "| question | answer |", "|---|---|", *rows, ""])


@contextmanager
def _local() -> Iterator[Connection]:
    """The local stack that `make up` started, or one of its own. Its environment replaces that of the shell."""
    settings = from_environment(os.environ, SETTINGS)
    running = lifecycle.find(settings)
    with local_stack() if running is None else nullcontext(running) as stack:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name]
        os.environ.update(stack.environment)
        yield Connection(stack.settings.stack_name if running is None else settings.stack_name)


def main() -> int:
    """Run on the stack that is named, with the shell's AWS settings, or on the local stack. The exit status."""
    parser = argparse.ArgumentParser(prog="make smoke")
    parser.add_argument("--stack")
    stack = parser.parse_args().stack
    try:
        if stack is not None:
            return run(Connection(stack))
        with _local() as connection:
            return run(connection)
    except (CommandFailed, *AWS_ERRORS, LocalStackError, OrderError) as error:
        print(
            f"smoke: {printable(one_line(error) if isinstance(error, LocalStackError) else str(error))}",
            file=sys.stderr,
        )
        return 1


if __name__ == "__main__":
    sys.exit(main())
