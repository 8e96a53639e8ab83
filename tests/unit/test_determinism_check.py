"""What a replay does not bear is refused, by the rule's name, wherever the workflow reaches it."""

import pytest

from tools import determinism_check
from tools.determinism_check import check

# A project of three files: a workflow, what its steps do, and the ledger with its client.
WORKFLOW = """
import os
import random
import secrets
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

import boto3
import requests
from aws_durable_execution_sdk_python import DurableContext

import work
from ledger import Ledger
from policies import POLICY

CLIENT = boto3.client("dynamodb")
LOADED = time.time()


@dataclass(frozen=True)
class Pipeline:
    ledger: Ledger


def process(context: DurableContext, order: dict, pipeline: Pipeline) -> dict:
    ledger = pipeline.ledger
    seen = []
    # LINES
    return order


def described(order: dict) -> str:
    return f"{order} at {work.now()}"


def later(context: DurableContext) -> None:
    context.step(lambda _: None, name="later", config=POLICY)
"""
WORK = """
import time


def now():
    return time.time()


def pure(order):
    return {"order": order, "length": len(order)}


def finish(order, ledger: "Ledger"):
    return ledger.completed(order)


class Clock:
    def __init__(self):
        self.at = time.monotonic()
"""
LEDGER = """
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class Table:
    def __init__(self, client: "DynamoDBClient") -> None:
        self._client = client

    def update(self, item) -> dict:
        return self._client.update_item(Item=item)


class Ledger:
    def __init__(self, client: "DynamoDBClient", name: str) -> None:
        self._table = Table(client)
        self.name = name

    def completed(self, item) -> dict:
        return self._table.update(item)

    def title(self) -> str:
        return self.name.title()
"""


@pytest.fixture
def found(tmp_path):
    """The rules, and what they say, of a workflow with these lines in it."""

    def checked(lines):
        indented = "\n    ".join(lines.strip("\n").splitlines())
        (tmp_path / "workflow.py").write_text(WORKFLOW.replace("# LINES", indented))
        (tmp_path / "work.py").write_text(f"from ledger import Ledger\n{WORK}")
        (tmp_path / "ledger.py").write_text(LEDGER)
        return check(tmp_path)

    return checked


@pytest.mark.parametrize(
    ("rule", "lines"),
    [
        ("clock", "order['at'] = time.time()"),
        ("clock", "time.sleep(1)"),
        ("clock", "order['at'] = datetime.now(UTC)"),
        ("clock", "order['at'] = work.now()"),
        ("clock", "order['text'] = described(order)"),
        ("clock", "order['clock'] = work.Clock()"),
        ("clock", "if datetime.now(UTC).hour > 12:\n    return {}"),
        ("clock", "order['at'] = sorted(order, key=lambda _: time.monotonic())"),
        ("clock", "now = time.time\norder['at'] = now()"),
        ("clock", "context.wait(time.time(), name='wait')"),
        ("clock", "def when():\n    return time.time()\norder['at'] = when()"),
        ("clock", "order['loaded'] = LOADED"),
        ("chance", "order['id'] = uuid.uuid4()"),
        ("chance", "order['draw'] = random.random()"),
        ("chance", "order['token'] = secrets.token_hex()"),
        ("chance", "order['hash'] = hash(str(order))"),
        ("chance", "from random import choice\norder['draw'] = choice([1, 2])"),
        ("environment", "order['region'] = os.environ['AWS_REGION']"),
        ("environment", "order['region'] = os.getenv('AWS_REGION')"),
        ("io", "boto3.client('sqs').send_message(MessageBody=str(order))"),
        ("io", "CLIENT.put_item(Item=order)"),
        ("io", "requests.get('https://example.com')"),
        ("io", "open('/tmp/order').read()"),
        ("io", "print(order)"),
        ("io", "ledger.completed(order)"),
        ("io", "pipeline.ledger.completed(order)"),
        ("io", "work.finish(order, ledger)"),
        ("nested", "context.step(lambda _: context.wait(order, name='wait'), name='a', config=POLICY)"),
        ("captured", "context.step(lambda _: seen.append(order), name='a', config=POLICY)"),
        ("captured", "def act(_):\n    order['done'] = True\ncontext.step(act, name='a', config=POLICY)"),
        ("captured", "def act(_):\n    nonlocal seen\n    seen = [1]\ncontext.step(act, name='a', config=POLICY)"),
        ("captured", "def act(_):\n    del order['x']\ncontext.step(func=act, name='a', config=POLICY)"),
        ("name", "context.step(lambda _: None, config=POLICY)"),
        ("name", "context.step(lambda _: None, name=f'step-{order}', config=POLICY)"),
        ("name", "context.step(lambda _: None, name='', config=POLICY)"),
        ("name", "context.wait(order)"),
        ("name", "context.invoke('function', order)"),
        ("name", "context.step(lambda _: None, name='later', config=POLICY)"),
        ("policy", "context.step(lambda _: None, name='a')"),
    ],
)
def test_what_a_replay_does_not_bear_is_refused_by_the_rules_name(found, rule, lines):
    assert {finding.rule for finding in found(lines)} == {rule}


@pytest.mark.parametrize(
    "lines",
    [
        "context.step(lambda _: time.time(), name='a', config=POLICY)",
        "context.step(lambda _: work.finish(order, ledger), name='a', config=POLICY)",
        "context.step(lambda _: pipeline.ledger.completed(order), name='a', config=POLICY)",
        "def act(_):\n    a = []\n    a.append(time.time())\n    return a\ncontext.step(act, name='a', config=POLICY)",
        "context.step(func=lambda _: random.random(), name='a', config=POLICY)",
        "context.step(work.now, name='a', config=POLICY)",
        "context.wait_for_callback(lambda callback, _: requests.post(callback), name='a')",
        "context.wait(order, name='wait')",
        "order['pure'] = work.pure(order)",
        "order['title'] = ledger.title()",
        "seen.append(order)",
        "at: datetime = order['at']",
        "order['at'] = datetime.fromisoformat(order['at'])",
        "time = order['time']\norder['later'] = time.time()",
        "context.logger.info('enriched')",
    ],
)
def test_what_a_replay_bears_is_let_through(found, lines):
    assert found(lines) == []


def test_a_finding_names_its_place_and_the_function_that_is_replayed(found):
    (finding,) = found("order['at'] = work.now()")
    assert str(finding) == "work.py:7: clock: time.time in now, which is replayed"


def test_the_orchestrator_bears_it():
    assert check() == []


def test_the_orchestrators_own_steps_would_be_refused_outside_a_step(tmp_path):
    """So the check reads what it is meant to read: the same calls, with nothing of a step around them."""
    for path in determinism_check.SRC.rglob("*.py"):
        copy = tmp_path / path.relative_to(determinism_check.SRC)
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text().replace(
            "context.step(lambda _: steps.finalize(me, ledger),", "dict(a=steps.finalize(me, ledger),"
        )
        copy.write_text(text)
    assert {finding.rule for finding in check(tmp_path)} == {"clock", "io"}


def test_the_command_ends_with_what_it_found(monkeypatch, capsys):
    assert determinism_check.main() == 0
    finding = determinism_check.Finding("workflow.py", 7, "clock", "time.time")
    monkeypatch.setattr(determinism_check, "check", lambda: [finding])
    assert determinism_check.main() == 1
    assert capsys.readouterr().err == "workflow.py:7: clock: time.time\n"
