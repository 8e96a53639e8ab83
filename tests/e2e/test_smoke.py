"""`make smoke` on the deployed pipeline: it passes, leaves nothing of an order, and sees a stack that does not work."""

import pytest

from tools.orders_cli.connection import Connection
from tools.smoke import Smoke, form, run


@pytest.fixture
def connection(stack, monkeypatch):
    """As a user has it: the stack's name, and the settings of the shell."""
    for name, value in stack.environment.items():
        monkeypatch.setenv(name, value)
    return Connection(stack.settings.stack_name)


def rejects(pipeline):
    url = pipeline.outputs["RejectedOrdersQueueUrl"]
    return pipeline.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0).get("Messages", [])


def problems(findings):
    """Without the alarms: an earlier test's failed orders can begin to ring during this one."""
    return [finding for finding in findings if finding.problem and finding.check != "alarms"]


def test_a_stack_that_works_passes_and_every_question_has_an_answer(connection, pipeline):
    pipeline.functions.invoke(FunctionName=pipeline.outputs["OrderSweepArn"])["Payload"].read()
    smoke = Smoke(connection)
    findings = list(smoke.checks())
    assert problems(findings) == []
    assert {"alias", "reject INVALID_ORDER", "reject ORDER_CONFLICT", "a duplicate changed nothing", "alarms"} <= {
        finding.check for finding in findings
    }
    answers = list(smoke.questions())
    assert [answer.holds for answer in answers] == [True] * 5, answers
    shown = form(connection, answers)
    assert "only AWS can answer these" in shown
    assert all(f"| {answer.question} | {answer.answer} |" in shown for answer in answers)

    assert list(smoke.clean_up()) == []
    assert all(pipeline.ledger.get(f"{smoke.id}-{number}").forgotten_at for number in (1, 2))
    assert smoke.id not in str(rejects(pipeline))
    # The executions of its questions too. An execution is DELETING for a moment.
    pipeline.until(lambda: smoke.id not in str(pipeline.executions()), "the executions to be deleted")


def test_a_stack_whose_enricher_fails_does_not_pass(connection, pipeline, capsys):
    with pipeline.without_customers():
        assert run(connection) == 1
    shown = capsys.readouterr().out
    assert "-1: it is FAILED: EnricherUnavailable" in shown
    assert "| question |" not in shown
