"""Sends real purchases and kills workers of every function at random, every few seconds."""

import os
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from random import Random
from typing import Final

from durable_local import LocalStack
from shared.ledger.states import TERMINAL, State
from tests.faults.events import Consumer
from tests.faults.invariants import Sent, repeated_events, violations
from tests.faults.observed import observe
from tests.faults.seeded.run import Say, every
from tests.faults.seeded.sources import REPOSITORY
from tools.demo import Demo
from tools.pipeline import local_stack
from tools.sample_data import load_samples

FUNCTIONS: Final = (
    "OrderIngest",
    "DurableOrderProcessor",
    "DurableOrderProcessor",
    "OrderEnricher",
    "OrderReconciler",
    "OrderSweep",
    "OrderPublisher",
)
MIN_SECONDS_BETWEEN_KILLS: Final = 1
MAX_SECONDS_BETWEEN_KILLS: Final = 4
SWEEP_EVERY_SECONDS: Final = 30
# Real time: with the template's four minutes, the run would wait that long after each kill of ingest.
VISIBILITY_SECONDS: Final = 20
WAIT_TIMEOUT_SECONDS: Final = 3600
# All executions start at once and wait for one of eight processes.
PARAMETERS: Final = {"ExecutionTimeoutSeconds": "86400"}


@dataclass(frozen=True)
class Outcome:
    """Orders by final state, killed workers by function, and the violations found."""

    states: Counter[str]
    killed: Counter[str]
    executions: int
    seconds: float
    violations: list[str]


def run_with_kills(seed: int, orders: int, say: Say) -> Outcome:
    """Sends the first `orders` sample purchases at once, and kills workers until every order has ended."""
    with (REPOSITORY / "samples" / "cdnow_orders.jsonl").open() as lines:
        bodies = [line.strip() for line in islice(lines, orders)]
    say("starting a stack")
    with local_stack(concurrency=8, time_scale=40, parameters=PARAMETERS) as stack:
        load_samples(stack)
        consumer = Consumer(stack)
        sqs, queue = stack.client("sqs"), stack.outputs["OrdersQueueUrl"]
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": str(VISIBILITY_SECONDS)})
        began, sent = time.monotonic(), Sent(Demo(stack).send(bodies))
        killed: Counter[str] = Counter()
        with every(SWEEP_EVERY_SECONDS, partial(_sweep, stack)):
            _kill_until_ended(stack, Random(seed), len(bodies), killed, say)
        seconds = time.monotonic() - began
        say("reading queues, ledger, executions and events")
        observed = observe(stack, consumer)
    states = Counter(str(entry.state) for entry in observed.entries.values())
    wrong = [*violations(observed, sent), *repeated_events(observed, killed["OrderPublisher"])]
    if states != {State.COMPLETED: len(bodies)}:
        wrong.append(f"{len(bodies)} purchases ended {dict(states)}")
    return Outcome(states, killed, len(observed.records), seconds, wrong)


def _sweep(stack: LocalStack) -> None:
    functions = stack.client("lambda")
    with suppress(functions.exceptions.TooManyRequestsException):
        functions.invoke(FunctionName=stack.outputs["OrderSweepArn"])


def _kill_until_ended(stack: LocalStack, random: Random, orders: int, killed: Counter[str], say: Say) -> None:
    deadline, next_kill = time.monotonic() + WAIT_TIMEOUT_SECONDS, 0.0
    client, table = stack.client("dynamodb"), stack.outputs["LedgerTableName"]
    while time.monotonic() < deadline:
        if time.monotonic() >= next_kill:
            function = random.choice(FUNCTIONS)
            if workers := stack.workers(function):
                with suppress(ProcessLookupError):
                    os.kill(random.choice(workers), signal.SIGKILL)
                    killed[function] += 1
            next_kill = time.monotonic() + random.uniform(MIN_SECONDS_BETWEEN_KILLS, MAX_SECONDS_BETWEEN_KILLS)
        pages = client.get_paginator("scan").paginate(
            TableName=table, ProjectionExpression="#state", ExpressionAttributeNames={"#state": "state"}
        )
        states = Counter(item["state"]["S"] for page in pages for item in page["Items"])
        ended = sum(states[state] for state in TERMINAL)
        say(f"{ended} of {orders} ended, {sum(killed.values())} workers killed")
        if ended == orders and not _moving(stack):
            return
        time.sleep(0.5)


def _moving(stack: LocalStack) -> bool:
    running = stack.client("lambda").list_durable_executions_by_function(
        FunctionName=stack.physical_name("DurableOrderProcessor"), Statuses=["RUNNING"], MaxItems=1
    )
    queue = stack.client("sqs").get_queue_attributes(
        QueueUrl=stack.outputs["OrdersQueueUrl"],
        AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    )
    return bool(running["DurableExecutions"]) or any(map(int, queue["Attributes"].values()))
