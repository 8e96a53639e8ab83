"""The commands that say what is wrong, and those that stop and start the pipeline, as an operator runs them."""

import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from durable_local.faults import Hold, Point, Rule
from shared.ledger.states import State
from tests.e2e.deployed_pipeline import DeployedPipeline, new_id
from tests.e2e.orders_command import run_orders
from tools.operations.operations_log import OperationsLog
from tools.pipeline import local_stack

ORDERS = Path(__file__).parents[2] / ".venv" / "bin" / "orders"
WAIT_SECONDS = 45
"""Longer than the commands of a test take."""


class Operator(DeployedPipeline):
    """The pipeline, and a shell with the command `orders`."""

    def __init__(self, stack):
        super().__init__(stack)
        self.environment = stack.environment | {"PATH": "/usr/bin:/bin"}

    def asked(self, operation):
        """How many requests of the operation the stack got."""
        return sum(request.operation == operation for request in self.stack.faults.requests())

    def killed(self, *arguments, at):
        """Start the command, and kill it when it has sent the request that the rule `at` holds."""
        rule = self.stack.faults.add(at)
        with subprocess.Popen([ORDERS, *arguments], env=self.environment, stderr=subprocess.DEVNULL) as process:
            self.stack.faults.wait(rule)
            process.kill()
        self.stack.faults.release(rule)

    def waits_of(self, ids):
        """Whether the waits of these orders are over, by the histories of their executions."""
        arns = [self.ledger.get(order_id).execution_arn for order_id in ids]
        histories = [self.functions.get_durable_execution_history(DurableExecutionArn=arn)["Events"] for arn in arns]
        return all("WaitSucceeded" in {event["EventType"] for event in events} for events in histories)

    def orders(self, *arguments):
        """What the command prints as JSON."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def run(self, *arguments):
        """The command that has ended."""
        return run_orders(self.environment, *arguments, "--json")

    def waiting(self, count):
        """Send orders, and return their ids when all are WAITING."""
        ids = [new_id("WHY") for _ in range(count)]
        self.send([json.dumps({"orderId": order_id}) for order_id in ids])
        for order_id in ids:
            self.entry_when(order_id, lambda entry: entry.state == State.WAITING, "to wait")
        return ids

    def problems(self):
        """What `orders doctor` finds, without the alarms: which of them ring depends on when the sweep last ran."""
        found = json.loads(self.run("doctor").stdout)
        return [(one["check"], one["problem"]) for one in found if one["problem"] and one["check"] != "alarms"]

    def age(self, order_id):
        """Set the time of the order's last transition to long ago."""
        self.dynamodb.update_item(
            TableName=self.outputs["LedgerTableName"],
            Key={"orderId": {"S": order_id}},
            UpdateExpression="SET updatedAt = :then",
            ExpressionAttributeValues={":then": {"S": "2026-01-01T00:00:00.000Z"}},
        )

    def statuses(self, ids):
        """How many of the orders' executions have each status."""
        arns = [self.ledger.get(order_id).execution_arn for order_id in ids]
        return Counter(self.functions.get_durable_execution(DurableExecutionArn=arn)["Status"] for arn in arns)


@pytest.fixture(scope="module")
def operator():
    with local_stack(parameters={"WaitSeconds": str(WAIT_SECONDS)}, faults=True) as stack:
        yield Operator(stack)


def test_everything_pauses_though_the_first_pause_was_killed_and_resumes(operator):
    ids = operator.waiting(10)
    (other,) = operator.waiting(1)
    arn = operator.ledger.get(other).execution_arn
    operator.functions.pause_durable_execution(DurableExecutionArn=arn, Reason="not ours")

    operator.killed(
        "pause", "--all", "--job", "drill", at=Rule(Hold(Point.APPLIED), "lambda", "PauseDurableExecution", skip=3)
    )
    left = operator.statuses(ids)["RUNNING"]
    assert 0 < left < len(ids)
    paused = operator.orders("pause", "--all", "--job", "drill")
    assert (paused["job"], paused["paused"], paused["intakePaused"]) == ("drill", left, True)
    assert paused["resumeIntakeBy"] > operator.ledger.get(ids[0]).updated_at
    assert operator.statuses(ids) == {"PAUSED": len(ids)}
    entries = [operator.ledger.get(order_id) for order_id in ids]
    assert operator.orders("pause", "--all", "--job", "again")["paused"] == 0
    why = operator.orders("why", ids[0])
    assert (why["cause"], why["next"]) == ("paused", f"orders resume {ids[0]}")
    assert "orders:drill" in why["evidence"][0]
    later = new_id("LATER")
    operator.send([json.dumps({"orderId": later})])
    assert operator.orders("why", later)["cause"] == "intake paused"
    assert [check for check, _ in operator.problems()] == ["event sources"]
    (version,) = operator.orders("versions")
    assert version == {"version": "1", "running": 11, "current": True, "mayGo": False}
    operator.until(lambda: operator.waits_of(ids), "the waits to be over")
    assert [operator.ledger.get(order_id) for order_id in ids] == entries
    assert operator.ledger.get(later) is None

    assert operator.orders("resume", ids[0]) == {"resumed": 1, "intakeResumed": False}
    assert operator.orders("resume", "--job", "other")["resumed"] == 0
    assert operator.orders("resume", "--all") == {"resumed": 9, "intakeResumed": True}
    for order_id in (*ids, later):
        operator.entry_when(order_id, lambda entry: entry.state == State.COMPLETED, "to complete")
    assert operator.statuses([other]) == {"PAUSED": 1}
    operator.functions.resume_durable_execution(DurableExecutionArn=arn)
    assert operator.ended(other).state == State.COMPLETED
    assert operator.problems() == []


def test_a_selection_pauses_only_its_executions(operator):
    first, second = operator.waiting(2)
    assert operator.orders("pause", first, "--state", "ENRICHING")["paused"] == 0
    assert operator.orders("pause", "--older-than", "1h")["paused"] == 0
    assert operator.orders("pause", first, "--state", "WAITING")["paused"] == 1
    assert operator.statuses([second]) == {"RUNNING": 1}
    assert operator.orders("why", second)["cause"] == "waiting"
    operator.age(first)
    (stuck,) = operator.orders("stuck")
    assert stuck == {
        "orderId": first,
        "state": "WAITING",
        "since": "2026-01-01T00:00:00.000Z",
        "cause": "paused",
        "next": f"orders resume {first}",
    }
    operator.age(second)
    before = operator.asked("ListEventSourceMappings")
    assert {one["orderId"] for one in operator.orders("stuck")} == {first, second}
    assert operator.asked("ListEventSourceMappings") - before == 2, "what is the same for all orders is read once"
    assert operator.orders("resume", "--state", "WAITING")["resumed"] == 1
    log = OperationsLog(operator.dynamodb, operator.outputs["OperationsTableName"], "the test")
    resumed, paused = log.newest(2)
    assert (paused.action, paused.what) == ("pause", f"executions: {first}, state WAITING")
    assert (resumed.action, resumed.what, resumed.result) == (
        "resume",
        "executions: state WAITING",
        "executions resumed: 1",
    )
    assert operator.ended(first).state == operator.ended(second).state == State.COMPLETED
    assert operator.orders("why", first)["cause"] == "nothing wrong"
    assert operator.orders("why", new_id("NONE"))["cause"] == "never arrived"


def test_doctor_names_what_is_disabled_a_dead_letter_and_an_unqualified_target(operator):
    events, function = operator.stack.client("events"), operator.outputs["DurableOrderProcessorArn"].rpartition(":")[0]
    (rule,) = [rule["Name"] for rule in events.list_rules()["Rules"] if "EventPattern" in rule]
    events.disable_rule(Name=rule)
    events.put_rule(Name="unqualified", ScheduleExpression="rate(30 days)")
    events.put_targets(Rule="unqualified", Targets=[{"Id": "orchestrator", "Arn": function}])
    for dead in ("OrdersDlqUrl", "EventsDlqUrl"):
        operator.sqs.send_message(QueueUrl=operator.outputs[dead], MessageBody="{}")
    publisher = operator.outputs["OrderPublisherArn"]
    [source] = operator.functions.list_event_source_mappings(FunctionName=publisher)["EventSourceMappings"]
    operator.functions.update_event_source_mapping(UUID=source["UUID"], Enabled=False)
    problems = operator.problems()
    assert [check for check, _ in problems] == ["event sources", "dead letters", "dead letters", "rules", "rules"]
    assert [problem.partition(" has ")[2] for check, problem in problems if check == "dead letters"] == [
        "1 messages: orders dlq list",
        "1 messages: orders dlq list --queue events",
    ]
    for said in (
        f"the event source of {publisher} is Disabled",
        f"aws events enable-rule --name {rule}",
        "the rule unqualified invokes",
    ):
        assert any(said in problem for _, problem in problems)
    (dead,) = operator.orders("dlq", "list", "--queue", "events")["messages"]
    assert operator.orders("dlq", "show", dead["messageId"], "--queue", "events")["body"] == "{}"


def test_a_replaced_version_may_go_when_no_order_runs_on_it(operator):
    with operator.without_finalize():
        (order_id,) = operator.waiting(1)
        operator.stack.deploy({"LogLevel": "WARN"})
        old, new = operator.orders("versions")
        assert (old["running"], old["current"], old["mayGo"]) == (1, False, False)
        assert (new["running"], new["current"], new["mayGo"]) == (0, True, False)
    operator.execution(operator.ended(order_id))
    assert operator.orders("versions")[0]["mayGo"]
