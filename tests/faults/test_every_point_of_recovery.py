"""A fault at any one request of the reconciler, a sweep or an operator's program: what they do is done once.

A killed process leaves what its requests have changed. So to kill it before request n+1 is the same as to kill it after
request n was applied: each function is killed at each request that a recorded run made, after it was applied. A program
of an operator ends when its connection breaks, before or after the request was applied, and is then run again.
"""

import contextlib
import json
import time
from collections import Counter

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from durable_local.faults import Cut, Drop, Kill, Point, Redeliver, Rule, Twice
from durable_local.faults.rules import EVENT_SOURCE, STATUS_CHANGE
from shared.aws.clients import client_config
from shared.errors import ExecutionUnavailable, IllegalTransition, LedgerUnavailable, StartUnavailable
from shared.executions.client import ExecutionsClient
from shared.ledger.states import TERMINAL, State
from shared.ledger.table import LedgerTable
from shared.orders.order import parse_order
from tests.faults.invariants import Sent, violations
from tests.faults.observed import observe
from tests.faults.points import Request, not_injected_once, recorded, requests_of
from tests.roles import calls_of, refused, table, unused
from tools.operations.cancel import cancel
from tools.operations.forget import forget
from tools.operations.retry import retry
from tools.pipeline import local_stack

ORCHESTRATOR, RECONCILER, SWEEP = "DurableOrderProcessor", "OrderReconciler", "OrderSweep"
WAIT_TIMEOUT_SECONDS = 300
RECORDING_VISIBILITY_SECONDS = 120
VISIBILITY_SECONDS = 12
"""The status changes' visibility timeout, instead of six minutes: then a killed reconciler's message comes again."""

LONG_AGO = "2026-01-01T00:00:00.000Z"
UNAVAILABLE = (LedgerUnavailable, StartUnavailable, ExecutionUnavailable)
KINDS = ("STOPPED", "LOST", "CONFLICT", "NO-ORDER")
SPARE = "STOPPED_SPARE"  # a retry makes more requests than there are other stopped orders
"""What the reconciler settles: an order stopped while it waited; one that never reached the ledger; another body of a
known order; an input that is no order."""

TO_A_READ = {"KILLED": Kill(Point.APPLIED)}
TO_A_WRITE = {**TO_A_READ, "DOUBLED": Twice()}
TO_A_DELIVERY = {"REDELIVERED": Redeliver()}
WRITES = {"UpdateItem", "PutItem", "SendMessage"}
RESUMED_ORDERS = 11
TO_A_PROGRAM = {"CUT-BEFORE": Cut(Point.BEFORE), "CUT-UNANSWERED": Cut(Point.APPLIED)}


class Recovery:
    """The stack, and what happens to its orders. No wait ends here: an order stays WAITING until something ends it."""

    def __init__(self, stack):
        self.stack, self.faults, self.sent = stack, stack.faults, Sent()
        self.requests = {}
        # An operator's program with one try: it ends at the first request that fails.
        once = client_config(10, 1)
        self.functions, self.sqs, self.dynamodb = (stack.client(name, once) for name in ("lambda", "sqs", "dynamodb"))
        self.alias = stack.outputs["DurableOrderProcessorArn"]
        [described] = stack.client("cloudformation").describe_stacks(StackName=stack.settings.stack_name)["Stacks"]
        self.executions = ExecutionsClient(self.functions, self.alias, described["StackId"])
        self.ledger = LedgerTable(self.dynamodb, stack.outputs["LedgerTableName"])

    def until(self, look, what):
        deadline = time.monotonic() + WAIT_TIMEOUT_SECONDS
        while not (found := look()):
            assert time.monotonic() < deadline, f"waited in vain for {what}"
            time.sleep(0.2)
        return found

    def state(self, order_id):
        entry = self.ledger.get(order_id)
        return entry and entry.state

    def until_waiting(self, order_ids):
        for order_id in order_ids:
            self.until(lambda one=order_id: self.state(one) is State.WAITING, f"{order_id} to wait")

    def until_examined(self, rules=()):
        """Until each of the rules was applied, and every status change is done with."""
        url = self.stack.outputs["StatusChangesQueueUrl"]
        counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

        def left():
            found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=counts)["Attributes"]
            return sum(map(int, found.values()))

        self.until(lambda: {injection.rule for injection in self.faults.injected()} >= set(rules), "the faults")
        self.until(lambda: left() == 0 and time.sleep(1) is None and left() == 0, "the status changes")

    def start(self, order_id):
        body = json.dumps({"orderId": order_id})
        self.sent.direct.append(body)
        return self.executions.start(parse_order(body))

    def invoke(self, name, body):
        """Invoke the alias asynchronously. The name is none that the pipeline gives."""
        response = self.functions.invoke(
            FunctionName=self.alias, InvocationType="Event", DurableExecutionName=name, Payload=body.encode()
        )
        return response["DurableExecutionArn"]

    def visible_again_after(self, seconds):
        url = self.stack.outputs["StatusChangesQueueUrl"]
        self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": str(seconds)})

    def end_badly(self, ids):
        """Let the executions with these ids end without success, each as its kind says."""
        of_kind = {kind: [one for one in ids if one.partition("_")[0] == kind] for kind in KINDS}
        down = [Rule(Cut(), "dynamodb", "UpdateItem", ORCHESTRATOR, one, times=None) for one in of_kind["LOST"]]
        self.faults.add_all(down)
        arns = {one: self.start(one) for kind in ("STOPPED", "CONFLICT", "LOST") for one in of_kind[kind]}
        for one in of_kind["NO-ORDER"]:
            self.invoke(one, json.dumps({"orderId": one, "coupon": "SPRING"}))
        for one in of_kind["LOST"]:
            self.executions.stop(arns[one], "Recall", "the goods are faulty")
        self.until_waiting([*of_kind["STOPPED"], *of_kind["CONFLICT"]])
        for one in of_kind["STOPPED"]:
            self.executions.stop(arns[one], "Recall", "the goods are faulty")
        for one in of_kind["CONFLICT"]:
            body = json.dumps({"orderId": one, "currency": "EUR"})
            self.sent.direct.append(body)
            self.invoke(f"other-{one}", body)

    def sweep(self):
        """One sweep: its answer, or None if it was killed."""
        response = self.functions.invoke(FunctionName=self.stack.outputs["OrderSweepArn"], Payload=b"{}")
        return None if "FunctionError" in response else json.loads(response["Payload"].read())

    def stopped(self, order_id):
        """An order that was stopped in its wait."""
        self.executions.stop(self.start_and_wait(order_id), "Recall", "the goods are faulty")
        self.until(lambda: self.state(order_id) is State.STOPPED, f"{order_id} to be stopped")
        return order_id

    def start_and_wait(self, order_id):
        arn = self.start(order_id)
        self.until_waiting([order_id])
        return arn

    def run_with_each_fault(self, run, orders):
        """Record the requests of an operator's program on the last order; then a fault at each, an order for each.

        The program ends at a request that fails, and is run again. Returns the recorded operations, and for each fault
        the order and the rule.
        """
        first, *orders = reversed(orders)
        before = len(self.faults.requests(first))
        run(first)
        asked = self.faults.requests(first)[before:]
        kinds = [(r.service, r.operation) for r in asked if r.function is None and r.service != STATUS_CHANGE]
        done = {}
        for place, kind in enumerate(kinds):
            for word, action in TO_A_PROGRAM.items():
                order_id = orders.pop(0)
                rule = Rule(action, *kind, text=order_id, skip=kinds[:place].count(kind))
                done[f"{word} {place} {kind[1]}"] = order_id, self.faults.add(rule)
                try:
                    run(order_id)
                except UNAVAILABLE:
                    run(order_id)
        return [operation for _, operation in kinds], done


@pytest.fixture(scope="module")
def recovery():
    parameters = {"WaitSeconds": "3600", "ExecutionTimeoutSeconds": "86400", "BatchSize": "1"}
    with local_stack(parameters=parameters, faults=True) as stack:
        found = Recovery(stack)
        mappings = found.functions.list_event_source_mappings(FunctionName=stack.physical_name(RECONCILER))
        for mapping in mappings["EventSourceMappings"]:
            # What kills the reconciler over one event leaves the others alone.
            found.functions.update_event_source_mapping(UUID=mapping["UUID"], BatchSize=1)
        yield found


@pytest.fixture(scope="module")
def recordings(recovery):
    """The reconciler's requests about an execution of each kind, without a fault."""
    recovery.visible_again_after(RECORDING_VISIBILITY_SECONDS)
    ids = {kind: f"{kind}_RECORDED" for kind in KINDS}
    recovery.end_badly([*ids.values(), SPARE])

    def look():
        found = {kind: recorded(recovery.stack, RECONCILER, one) for kind, one in ids.items()}
        done = all(requests and requests[-1].operation == "DeleteMessage" for requests in found.values())
        return found if done else None

    return recovery.until(look, "the reconciler to examine the recorded executions")


@pytest.fixture(scope="module")
def examined(recovery, recordings):
    """An execution for each request of the reconciler and each fault: its rule, by the id in it."""
    rules = {}
    for kind, recording in recordings.items():
        for place, request in enumerate(recording):
            actions = TO_A_WRITE if request.operation in WRITES else TO_A_READ
            for word, action in (TO_A_DELIVERY if request.service == EVENT_SOURCE else actions).items():
                one = f"{kind}_{word}-{place:02}"
                rules[one] = request.rule(action, one)
    recovery.visible_again_after(VISIBILITY_SECONDS)
    added = dict(zip(rules, recovery.faults.add_all(list(rules.values())), strict=True))
    recovery.end_badly(rules)
    recovery.until_examined(added.values())
    return added


@pytest.fixture(scope="module")
def swept(recovery, examined):
    """Sweeps that were killed, each at another request: how often each rule was applied, by the request."""
    recovery.faults.add(Rule(Drop(), STATUS_CHANGE, text="SWEPT", times=None))

    def conflict(order_id):
        """Another body of a known order."""
        recovery.start(order_id)
        recovery.until_waiting([order_id])
        body = json.dumps({"orderId": order_id, "currency": "EUR"})
        recovery.sent.direct.append(body)
        other = recovery.invoke(f"other-{order_id}", body)
        recovery.until(lambda: recovery.executions.get(other).status == "FAILED", f"{other} to fail")

    def gone(order_id):
        """A stalled order whose execution was deleted."""
        arn = recovery.start(order_id)
        recovery.until_waiting([order_id])
        recovery.executions.stop(arn, "Recall", "the goods are faulty")
        recovery.functions.delete_durable_execution(DurableExecutionArn=arn)
        recovery.until(lambda: recovery.executions.get(arn) is None, f"{order_id} to be deleted")
        recovery.dynamodb.update_item(
            TableName=recovery.stack.outputs["LedgerTableName"],
            Key={"orderId": {"S": order_id}},
            UpdateExpression="SET updatedAt = :then",
            ExpressionAttributeValues={":then": {"S": LONG_AGO}},
        )

    lists = [("lambda", "ListDurableExecutionsByFunction"), ("dynamodb", "Query")]
    points = [(Request(*kind, SWEEP, nth=0), "") for kind in lists]
    applied = {}
    for lose in (conflict, gone):
        seen, struck = (f"SWEPT-{lose.__name__.upper()}-{word}" for word in ("RECORDED", "STRUCK"))
        lose(seen)
        assert recovery.sweep()["failed"] == 0
        points += [(request, struck) for request in recorded(recovery.stack, SWEEP, seen)]
        lose(struck)
        # One kind after the other: a sweep that is killed may have settled the other case before.
        for request, text in points:
            rule = recovery.faults.add(request.rule(Kill(Point.APPLIED), text))
            assert recovery.sweep() is None, request
            applied[f"{len(applied)} {request.operation}"] = rule
        points = []
    assert recovery.sweep()["failed"] == 0
    return applied


@pytest.fixture(scope="module")
def operated(recovery, examined, swept):
    """The orders that operators cancelled, retried and redrove, with a fault at each request of their programs."""
    stopped = [SPARE, "STOPPED_RECORDED", *(one for one in examined if one.startswith("STOPPED"))]
    waiting = [one for one in examined if one.startswith("CONFLICT")]

    def retry_once(order_id):
        recovery.sent.retries[order_id] = 1
        with contextlib.suppress(IllegalTransition):  # the run before has started the attempt, and it runs
            retry(order_id, recovery.ledger, recovery.executions)

    def resume_once(order_id):
        recovery.sent.retries[order_id] = 1
        with contextlib.suppress(IllegalTransition):
            retry(order_id, recovery.ledger, recovery.executions, from_finalize=True)

    programs = {
        "cancel": (lambda one: cancel(one, recovery.ledger, recovery.executions), waiting),
        "retry": (retry_once, stopped),
        "retry from finalize": (resume_once, [recovery.stopped(f"RESUMED-{n:02}") for n in range(RESUMED_ORDERS)]),
    }
    done = {}
    for name, (run, orders) in programs.items():
        recovery.requests[name], done[name] = recovery.run_with_each_fault(run, orders)
    done["redrive"] = _redrive(recovery)
    return done


def _redrive(recovery):
    arns, done = {}, {}
    for queue in ("OrdersDlqUrl", "OrdersQueueUrl"):
        url = recovery.stack.outputs[queue]
        found = recovery.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        arns[queue] = found["Attributes"]["QueueArn"]
    for word, action in TO_A_PROGRAM.items():
        order_id = f"REDRIVEN_{word}"
        body = json.dumps({"orderId": order_id})
        sent = recovery.sqs.send_message(QueueUrl=recovery.stack.outputs["OrdersDlqUrl"], MessageBody=body)
        recovery.sent.messages[sent["MessageId"]] = body
        done[word] = order_id, recovery.faults.add(Rule(action, "sqs", "StartMessageMoveTask"))
        for _ in range(2):
            # A second task for the same queue is refused while the first is active.
            with contextlib.suppress(ConnectionClosedError, ClientError):
                recovery.sqs.start_message_move_task(
                    SourceArn=arns["OrdersDlqUrl"], DestinationArn=arns["OrdersQueueUrl"]
                )
        recovery.until_waiting([order_id])
    return done


@pytest.fixture(scope="module")
def taken(recovery, operated):
    """Three messages, after which ingest and the enricher have made each of their calls."""
    order = {"orderId": "TAKEN", "customerId": "CUST-1"}
    for body in (json.dumps(order), json.dumps({**order, "currency": "EUR"}), "no order"):
        sent = recovery.sqs.send_message(QueueUrl=recovery.stack.outputs["OrdersQueueUrl"], MessageBody=body)
        recovery.sent.messages[sent["MessageId"]] = body
        recovery.until_waiting(["TAKEN"])


@pytest.fixture(scope="module")
def observed(recovery, operated, taken):
    """What is left when every order that still runs was cancelled, and the last events were examined."""
    recovery.faults.clear()
    for entry in observe(recovery.stack).entries.values():
        if entry.state not in TERMINAL:
            cancel(entry.order_id, recovery.ledger, recovery.executions)
    recovery.until_examined()
    assert recovery.sweep()["failed"] == 0
    return observe(recovery.stack)


@pytest.fixture(scope="module")
def erased(recovery, observed, operated):
    """Cancelled orders that operators forgot, with a fault at each request of the program."""
    orders = [order_id for order_id, _ in operated["cancel"].values()]
    recovery.requests["forget"], done = recovery.run_with_each_fault(
        lambda one: forget(one, recovery.ledger, recovery.executions), orders
    )
    return done


def test_the_recordings_have_every_read_write_reject_and_mark(recordings):
    operations = {kind: [request.operation for request in recording] for kind, recording in recordings.items()}
    delivered = {kind: (asked[0], asked[-1]) for kind, asked in operations.items()}
    assert set(delivered.values()) == {("ReceiveMessage", "DeleteMessage")}
    assert {kind: Counter(asked[1:-1]) for kind, asked in operations.items()} == {
        "STOPPED": {"GetItem": 2, "GetDurableExecution": 1, "UpdateItem": 1},
        "LOST": {"GetItem": 2, "BatchGetItem": 1, "GetDurableExecution": 1, "UpdateItem": 1},
        "CONFLICT": {
            "BatchGetItem": 1,
            "GetDurableExecution": 1,
            "GetItem": 3,
            "SendMessage": 1,
            "UpdateItem": 1,
            "PutItem": 1,
        },
        "NO-ORDER": {"BatchGetItem": 1, "GetDurableExecution": 1, "SendMessage": 1, "PutItem": 1},
    }


def test_each_fault_was_injected_once_at_each_request_of_the_reconciler(recovery, examined):
    assert not_injected_once(recovery.stack, examined) == {}


def test_each_order_has_the_end_of_its_execution_once(observed, examined, operated):
    retried = {order_id for order_id, _ in operated["retry"].values()}
    for one in examined:
        kind = one.partition("_")[0]
        if kind == "LOST":
            assert [step.state for step in observed.entries[one].history] == [State.RECEIVED, State.STOPPED], one
        elif kind == "STOPPED" and one not in retried:
            states = [step.state for step in observed.entries[one].history if step.attempt == 1]
            assert states[-2:] == [State.WAITING, State.STOPPED], one


def test_each_bad_input_and_conflict_is_rejected_and_again_only_after_a_fault(observed, examined):
    # Those of the reconciler have an execution's ARN as their source.
    sources = [reject.attributes["sourceMessageId"].split("/") for reject in observed.rejected]
    rejects = Counter(source[2] for source in sources if len(source) > 1)
    for one in examined:
        kind = one.partition("_")[0]
        if kind in ("CONFLICT", "NO-ORDER"):
            assert 1 <= rejects[f"other-{one}" if kind == "CONFLICT" else one] <= 2, one


def test_a_sweep_was_killed_at_each_kind_of_request_it_makes(recovery, swept):
    assert not_injected_once(recovery.stack, swept) == {}
    assert Counter(point.split()[1] for point in swept) == {
        "ListDurableExecutionsByFunction": 1,
        "Query": 1,
        "BatchGetItem": 2,
        "GetDurableExecution": 2,
        "GetItem": 4,
        "SendMessage": 1,
        "UpdateItem": 2,
        "PutItem": 1,
    }


def test_what_the_killed_sweeps_left_is_settled_by_the_next(observed):
    assert observed.entries["SWEPT-GONE-STRUCK"].error["type"] == "ExecutionLost"
    assert len(observed.entries["SWEPT-CONFLICT-STRUCK"].conflicts) == 1


def test_each_fault_was_injected_once_at_each_request_of_the_operators(recovery, operated, erased):
    assert recovery.requests == {
        "cancel": ["GetItem", "GetDurableExecution", "UpdateItem", "StopDurableExecution", "GetItem"],
        "retry": ["GetItem", "Invoke", "GetDurableExecution", "GetItem"],
        "retry from finalize": ["GetItem", "UpdateItem", "Invoke", "GetDurableExecution", "GetItem"],
        "forget": ["GetItem", "UpdateItem", "DeleteDurableExecution", "DeleteDurableExecution"],
    }
    points = {**operated, "forget": erased}
    rules = {f"{name} {point}": rule for name, those in points.items() for point, (_, rule) in those.items()}
    assert len(rules) == len(TO_A_PROGRAM) * (sum(map(len, recovery.requests.values())) + 1)
    assert not_injected_once(recovery.stack, rules) == {}


def test_a_cancel_that_is_run_again_cancels_once(observed, operated):
    for point, (order_id, _) in operated["cancel"].items():
        states = [step.state for step in observed.entries[order_id].history]
        assert states.count(State.CANCELLED) == 1, point


def test_a_retry_that_is_run_again_is_one_attempt(observed, operated):
    for point, (order_id, _) in operated["retry"].items():
        assert observed.entries[order_id].attempt == 2, point
        records = [record for record in observed.records if f'"{order_id}"' in record.input]
        assert len(records) == 2, point


def test_a_retry_from_finalize_that_is_run_again_completes_once(observed, operated):
    for point, (order_id, _) in operated["retry from finalize"].items():
        entry = observed.entries[order_id]
        states = [step.state for step in entry.history if step.attempt == 2]
        assert states[-3:] == [State.WAITING, State.FINALIZING, State.COMPLETED], point
        assert (entry.attempt, entry.was_resumed) == (2, True), point
        assert len([record for record in observed.records if f'"{order_id}"' in record.input]) == 2, point


def test_an_order_that_is_forgotten_again_keeps_its_end_and_nothing_personal(recovery, observed, erased):
    for point, (order_id, _) in erased.items():
        entry, before = recovery.ledger.get(order_id), observed.entries[order_id]
        assert entry.forgotten_at is not None, point
        assert (entry.state, entry.version, entry.order_digest) == (before.state, before.version, before.order_digest)
        assert (entry.order, entry.enrichment, entry.result) == ({"orderId": order_id}, None, None), point
        recovery.until(lambda arn=before.execution_arn: recovery.executions.get(arn) is None, f"{point} to be deleted")


def test_a_redrive_that_is_run_again_starts_an_order_once(recovery, observed, operated):
    for point, (order_id, _) in operated["redrive"].items():
        starts = [r for r in requests_of(recovery.stack, "OrderIngest", order_id) if r.operation == "Invoke"]
        assert len(starts) == 1, point
        assert len([record for record in observed.records if f'"{order_id}"' in record.input]) == 1, point


def test_each_role_allows_what_its_function_calls_and_nothing_that_is_not_used(recovery, observed):
    """`make calls` shows the table."""
    calls = calls_of(recovery.stack)
    print(*table(calls), sep="\n")
    assert refused(calls) == {}
    assert unused(calls) == {}


def test_nothing_is_lost_doubled_or_left(recovery, observed):
    assert violations(observed, recovery.sent) == []
    assert observed.dead == []
