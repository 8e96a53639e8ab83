"""Runs the pipeline's code on a real item, and the model with it: each move of the code is a move of the model.

A call of the code makes several requests, and other calls may run between two of them. In the model a write is one
move. So each request of the code must either be a move of the model, with the same item and the same answer after it,
or change nothing.
"""

from collections import Counter
from datetime import timedelta
from unittest.mock import Mock

from moto.core import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends

from reconciler.examiner import Examiner
from shared.aws.rejected_orders import RejectedOrders
from shared.executions.client import ExecutionsClient
from shared.executions.names import ExecutionName, execution_of, stack_hash
from shared.ledger.entry import LedgerEntry
from shared.ledger.states import RETRYABLE, TERMINAL, State
from shared.ledger.table import LedgerTable
from shared.orders.order import parse_order
from tests.protocol.actors import Cancellation, Erasure, Process, Reconciliation, Retrial
from tests.protocol.explore import wrong_always, wrong_at_rest
from tests.protocol.ledger_model import FORGOTTEN, RESUME
from tests.protocol.pipeline_model import (
    CHECKPOINTS,
    DELETED,
    EXPIRES,
    FIRST_OF_STEP,
    LOST,
    SET_BACK,
    WRITES,
    Fault,
    Move,
    first_world,
    mishaps,
    progress,
)
from tests.protocol.stand_ins import ORCHESTRATOR, STACK_ID, LambdaStandIn, MarksStandIn, QueueStandIn

MESSAGES = {"A": 2, "B": 1}
"""How often the queue delivers each body."""
PLENTY = dict.fromkeys(Fault, 1_000) | {Fault.INGEST_DIES: 2, Fault.FORGET: 2, Fault.DIRECT: 1, Fault.STRAY: 1}
PLENTY |= {Fault.LOSE: 0, Fault.SET_BACK: 0, Fault.EXPIRE: 0}
"""Many of each fault, but the item stays, and few of the faults that only start more executions."""
LOSSES = PLENTY | dict.fromkeys((Fault.DELETE, Fault.FORGET, Fault.DIRECT, Fault.STRAY), 0)
LOSSES |= {Fault.LOSE: 1, Fault.SET_BACK: 1, Fault.RESUME: 0, Fault.ERASE: 0}
"""Losses of the item, and no fault after which a lost order cannot be recovered. The model's history does not say which
attempts were resumed, so that it cannot set such an item back; and a lost item may have been a forgotten one."""


class Followed:
    """One order: its item in the table, the code that processes it, and the model's world.

    `live`: the process of each execution that has started one. `stalled`: the processes that no execution waits for.
    `others`: the running calls of the reconciler and the operator. `took`: the model's moves so far.
    """

    def __init__(self, dynamodb, table, order_id, rules, budget=PLENTY, messages=MESSAGES):
        self.table = table
        self.dynamodb = dynamodb
        self.versions = {}
        self.order_id = order_id
        self.orders = {
            body: parse_order(f'{{"orderId": "{order_id}", "customerId": "CUST-{body}"}}') for body in ("A", "B", "C")
        }
        self.world = first_world(messages, budget)
        self.took = []
        self.rules = rules
        self.live = {}
        self.stalled = []
        self.others = []
        self.queue = QueueStandIn()
        self.ledger = LedgerTable(dynamodb, table, retention=timedelta(days=58))
        self.executions = ExecutionsClient(LambdaStandIn(self), f"{ORCHESTRATOR}:prod", STACK_ID)
        self.examiner = self._examiner()

    def _examiner(self):
        """The reconciler's code, with no execution marked."""
        rejected = RejectedOrders(self.queue, "https://sqs.us-east-1.amazonaws.com/123456789012/rejected")
        return Examiner(self.ledger, self.executions, rejected, MarksStandIn(), pace=Mock(), logger=Mock())

    # ── from the model's names to the code's ─────────────────────────────────────────────────────────

    def arn(self, i):
        """The ARN of an execution, with the name in it and a unique id at its end."""
        attempt = self.world.executions[i].name
        # Not `ExecutionName.of`, which refuses an attempt after the last.
        name = "direct" if attempt is None else ExecutionName(stack_hash(STACK_ID), self.order_id, attempt)
        return f"{ORCHESTRATOR}:1/durable-execution/{name}/id-{i}"

    def number(self, arn):
        return int(arn.rpartition("-")[2])

    def me(self, i):
        """The identity that an execution gives to the ledger."""
        return execution_of(self.order(i), self.arn(i), STACK_ID)

    def order(self, i):
        return self.orders[self.world.executions[i].body]

    def body_of(self, order):
        """The model's name for a body."""
        return next(body for body, known in self.orders.items() if known.digest() == order.digest())

    def entry(self):
        """The ledger's entry."""
        item = self.item()
        return LedgerEntry.of(item) if item else None

    def item(self):
        """The item, read from moto's own store: GetItem takes a hundred times as long."""
        store = dynamodb_backends[DEFAULT_ACCOUNT_ID]["us-east-1"]
        item = store.get_item(self.table, {"orderId": {"S": self.order_id}})
        return item.to_json()["Attributes"] if item else None

    # ── the model's moves ────────────────────────────────────────────────────────────────────────────

    def possible(self):
        """Every move of the model, and the world after it."""
        return [*progress(self.rules, self.world), *mishaps(self.rules, self.world)]

    def take(self, kind, execution=None, outcome=None, by=None):
        """Takes the model's move of this kind, which must be possible. Returns its outcome.

        `outcome`, if given, must be the move's outcome. `by` is the process that acts. A move of another actor may
        replace the process of an execution.
        """
        found = [step for step in self.possible() if (step[0].kind, step[0].execution) == (kind, execution)]
        assert len(found) == 1, f"the model has no such move now: {Move(kind, execution)}"
        move, after = found[0]
        assert outcome in {None, move.outcome}, f"{move}; the code: {outcome}"
        self.took.append(move)
        before, self.world = self.world, after
        if kind in {LOST, EXPIRES}:
            self.dynamodb.delete_item(TableName=self.table, Key={"orderId": {"S": self.order_id}})
        if kind == EXPIRES:  # the model's executions are gone, so its numbers begin again
            self.end()
            self.live, self.stalled, self.others, self.examiner = {}, [], [], self._examiner()
            return move.outcome
        if kind.startswith(SET_BACK):
            self._put_back(after.item)
        self._leave_behind(before, by)
        return move.outcome

    def _put_back(self, item):
        """Put the item of this version back, except for the fields that the model does not have at that version."""
        older = {**self.versions[item.history, item.owners], "enrichStarts": {"N": str(item.starts)}}
        older.pop("conflicts", None)
        self.dynamodb.put_item(TableName=self.table, Item=older)

    def _leave_behind(self, before, by):
        """Stalls or kills the process that runs the code, if it stalled or crashed in the model."""
        for i, was in enumerate(before.executions):
            now, process = self.world.executions[i], self.live.get(i)
            stalls = len(now.stalled) > len(was.stalled)
            if (now.live == was.live and not stalls) or (process is not None and process is by):
                continue
            self.live.pop(i, None)
            if stalls:
                self.stalled.append(process or Process(self, i, was.live))
            elif process is not None:
                process.call.kill()

    # ── code and model together ──────────────────────────────────────────────────────────────────────

    def act(self, i):
        """Runs one action of a running execution: a request of its process, its checkpoint, or the end of its wait."""
        point = self.world.executions[i].live
        if point is None:
            self.take("the wait is over", i)
        elif point in CHECKPOINTS:
            self.take(point, i, by=self.live.pop(i))
        else:
            if i not in self.live:
                self.live[i] = Process(self, i, point)
            self.live[i].go_on()

    def finish_step(self, i):
        """Runs the execution to the end of its step or of its wait."""
        self.act(i)
        while i in self.live:
            self.act(i)

    def crash(self, i):
        """Kills the execution's process."""
        if self.world.executions[i].live == FIRST_OF_STEP[self.world.executions[i].live]:
            self.live.pop(i).call.kill()  # in the model this process has not started
        else:
            self.take("crashes", i)

    def perform(self, move):
        """Makes this move of the model with the code: all its requests, and no request of another actor between."""
        kind, i = move.kind, move.execution
        if kind in WRITES or kind == "the enricher fails":
            self._process_performs(kind, i)
        elif kind.startswith("stalled: "):
            stands = self.world
            process = _only(p for p in self.stalled if (p.execution, f"stalled: {p.point}") == (i, kind))
            while self.world is stands:
                process.go_on()
        elif kind.startswith(("reconciler", "operator", "retry")):
            self._other_performs(kind, i)
        elif kind in CHECKPOINTS or kind == "the wait is over":
            self.act(i)
        else:
            self.take(kind, i)
        self.compare()

    def _process_performs(self, kind, i):
        stands = self.world
        while self.world is stands:
            if kind == "the enricher fails" and self.live[i].call.request == "enricher":
                self.live[i].fail()
            else:
                self.act(i)

    def _other_performs(self, kind, i):
        match kind.split():
            case ["reconciler"] | ["reconciler", "marks"]:
                deleted = self.world.executions[i].status == DELETED
                self._until_moved(Reconciliation(self, None if deleted else i))
            case ["operator", "retries", "from", "finalize", *dies]:
                self._until_moved(Retrial(self, resumes=True, dies=bool(dies)))
            case ["operator", "retries", "with", body]:
                self._until_moved(Retrial(self, None if body == self.world.item.body else body))
            case ["operator", "cancels", *dies]:
                self._until_moved(Cancellation(self, dies=bool(dies)))
            case ["operator", "forgets"]:
                self._until_moved(Erasure(self))
            case ["operator", "deletes"]:  # a conflict that was noted after a forget began needs another
                due = [other for other in self.others if other.due == (kind, i)]
                self._until_moved(due[0] if due else Erasure(self))
            case _:
                self._until_moved(_only(other for other in self.others if other.due == (kind, i)))

    def _until_moved(self, other):
        stands = self.world
        while self.world is stands:
            assert other in self.others, "the call ended without a move"
            other.go_on()

    def finish(self, other):
        """Runs a call of the reconciler or the operator to its end."""
        while other in self.others:
            other.go_on()

    def run_to_the_end(self):
        """Runs all calls to their end, then every move that happens by itself. Then every promise must hold."""
        while self.others:
            self.others[0].go_on()
        while move := next((move for move, _ in progress(self.rules, self.world)), None):
            self.perform(move)
        while self.others:
            self.others[0].go_on()
        self.compare()
        assert wrong_at_rest(self.world) is None
        conflicts = self.world.item.conflicts if self.world.item else ()
        assert {source for _, _, source in self.queue.sent} == {self.arn(i) for i in conflicts}

    def end(self):
        """Kills every call that still runs."""
        for call in [*self.live.values(), *self.stalled, *self.others]:
            call.call.kill()

    def compare(self):
        """Asserts that the item and every process have the state that the model says."""
        assert wrong_always(self.world) is None
        stalled = Counter((process.execution, process.point) for process in self.stalled)
        assert stalled <= Counter((i, point) for i, e in enumerate(self.world.executions) for point in e.stalled)
        entry, item = self.entry(), self.world.item
        if item is not None:
            self.versions.setdefault((item.history, item.owners), self.item())
        assert (entry is None) == (item is None)
        if entry is not None:
            assert self._code_says(entry) == self._model_says(item)
            self._check_fields(entry)

    def _code_says(self, entry):
        return {
            "state": entry.state,
            "attempt": entry.attempt,
            "owner": entry.execution_arn,
            "order": entry.order,
            "digest": entry.order_digest,
            "starts": entry.starts,
            "version": entry.version,
            "history": [(step.state, step.attempt) for step in entry.history],
            "owners": [step.execution_arn for step in entry.history if step.execution_arn],
            "conflicts": sorted(conflict["executionArn"] for conflict in entry.conflicts),
            "resumes": entry.resume_from is not None,
            "forgotten": entry.forgotten_at is not None,
            "expires": "expiresAt" in self.item(),
        }

    def _model_says(self, item):
        return {
            "state": item.state,
            "attempt": item.attempt,
            "owner": self.arn(item.owner),
            "order": {"orderId": self.order_id} if item.mark == FORGOTTEN else self.orders[item.body].canonical(),
            "digest": self.orders[item.body].digest(),
            "starts": item.starts,
            "version": len(item.history),
            "history": [(step.state, step.attempt) for step in item.history],
            "owners": [self.arn(owner) for owner in item.owners],
            "conflicts": sorted(self.arn(i) for i in item.conflicts),
            "resumes": item.mark == RESUME,
            "forgotten": item.mark == FORGOTTEN,
            "expires": item.state in TERMINAL,
        }

    def _check_fields(self, entry):
        """Asserts that the item has the fields of this attempt, and no field of the attempt before."""
        if entry.forgotten_at is not None:
            assert not any((entry.enrichment, entry.result, entry.error, entry.execution_status))
            return
        assert (entry.enrichment is not None) == (State.ENRICHED in entry.reached)
        assert (entry.result is not None) == (entry.state is State.COMPLETED)
        assert (entry.error is not None) == (entry.state in RETRYABLE)
        owner = self.world.executions[self.world.item.owner]
        assert entry.execution_status in {None, owner.status} - {entry.state}


def _only(those):
    """The first of `those`, which must not be empty."""
    found = list(those)
    assert found, "no call of the code can make the model's move now"
    return found[0]
