"""The pipeline's code at work on a real item, beside the model: what the code does, the model does too.

A call of the code takes several requests, and anything else may happen between two of them. The model has no such
in-between: there a write is one move. So each request of the code must be either a move of the model, with the same
item and the same answer after it, or change nothing at all.
"""

from collections import Counter
from unittest.mock import Mock

from moto.core import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends

from reconciler.examiner import Examiner
from shared.aws.rejected_orders import RejectedOrders
from shared.executions.client import ExecutionsClient
from shared.executions.names import ExecutionName, execution_of, stack_hash
from shared.ledger.entry import LedgerEntry
from shared.ledger.states import RETRYABLE, State
from shared.ledger.table import LedgerTable
from shared.orders.order import parse_order
from tests.protocol.actors import Cancellation, Process, Reconciliation, Retrial
from tests.protocol.explore import wrong_always, wrong_at_rest
from tests.protocol.pipeline_model import (
    CHECKPOINTS,
    DELETED,
    FIRST_OF_STEP,
    WRITES,
    Fault,
    Move,
    first_world,
    mishaps,
    progress,
)
from tests.protocol.stand_ins import ORCHESTRATOR, STACK_ID, LambdaStandIn, MarksStandIn, QueueStandIn

PLENTY = dict.fromkeys(Fault, 1_000) | {Fault.INGEST_DIES: 2, Fault.FORGET: 2, Fault.DIRECT: 1, Fault.STRAY: 1}
"""Of every fault; of what only brings in more executions, a few."""


class Followed:
    """One order: its item in the table, the code that works on it, and the model's world.

    `live` are the processes that executions wait for, where one has begun; `stalled` those that nobody waits for;
    `others` are calls of the reconciler and the operator under way. `took` are the model's moves so far.
    """

    def __init__(self, dynamodb, table, order_id, rules):
        self.table = table
        self.order_id = order_id
        self.orders = {
            body: parse_order(f'{{"orderId": "{order_id}", "customerId": "CUST-{body}"}}') for body in ("A", "B", "C")
        }
        self.world = first_world({"A": 2, "B": 1}, PLENTY)
        self.took = []
        self.rules = rules
        self.live = {}
        self.stalled = []
        self.others = []
        self.queue = QueueStandIn()
        self.ledger = LedgerTable(dynamodb, table)
        self.executions = ExecutionsClient(LambdaStandIn(self), f"{ORCHESTRATOR}:prod", STACK_ID)
        rejected = RejectedOrders(self.queue, "https://sqs.us-east-1.amazonaws.com/123456789012/rejected")
        self.examiner = Examiner(
            self.ledger, self.executions, rejected, MarksStandIn(), STACK_ID, pace=Mock(), logger=Mock()
        )

    # ── the code's words for the model's ─────────────────────────────────────────────────────────────

    def arn(self, i):
        """The ARN of an execution, with the name in it and a unique id at its end."""
        attempt = self.world.executions[i].name
        # Written out: a name may be of an attempt after the last.
        name = "direct" if attempt is None else ExecutionName(stack_hash(STACK_ID), self.order_id, attempt)
        return f"{ORCHESTRATOR}:1/durable-execution/{name}/id-{i}"

    def number(self, arn):
        return int(arn.rpartition("-")[2])

    def me(self, i):
        """An execution as it identifies itself to the ledger."""
        return execution_of(self.order(i), self.arn(i), STACK_ID)

    def order(self, i):
        return self.orders[self.world.executions[i].body]

    def letter(self, order):
        """The model's name for a body."""
        return next(body for body, known in self.orders.items() if known.digest() == order.digest())

    def entry(self):
        """The item as it really is, out of moto's own store: its GetItem takes a hundred times as long."""
        store = dynamodb_backends[DEFAULT_ACCOUNT_ID]["us-east-1"]
        item = store.get_item(self.table, {"orderId": {"S": self.order_id}})
        return LedgerEntry.of(item.to_json()["Attributes"]) if item else None

    # ── the model's moves ────────────────────────────────────────────────────────────────────────────

    def possible(self):
        """Every move of the model, and the world after it."""
        return [*progress(self.rules, self.world), *mishaps(self.rules, self.world)]

    def take(self, kind, execution=None, outcome=None, by=None):
        """Take the model's move of this kind, which must be possible, and come to `outcome` where one is given.

        `by` is the process whose own action this is; another's may leave processes behind. Answers the outcome.
        """
        found = [step for step in self.possible() if (step[0].kind, step[0].execution) == (kind, execution)]
        assert len(found) == 1, f"the model does not know this now: {Move(kind, execution)}"
        move, after = found[0]
        assert outcome in {None, move.outcome}, f"{move}; the code: {outcome}"
        self.took.append(move)
        before, self.world = self.world, after
        self._leave_behind(before, by)
        return move.outcome

    def _leave_behind(self, before, by):
        """Where a process stalled or crashed in the model, so does the one that runs the code."""
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

    # ── both together ────────────────────────────────────────────────────────────────────────────────

    def act(self, i):
        """One action of a running execution: a request of its process, its checkpoint, or the end of its wait."""
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
        """The execution goes on to the end of its step, or of its wait."""
        self.act(i)
        while i in self.live:
            self.act(i)

    def crash(self, i):
        """The execution's process is gone."""
        if self.world.executions[i].live == FIRST_OF_STEP[self.world.executions[i].live]:
            self.live.pop(i).call.kill()  # for the model it has not begun
        else:
            self.take("crashes", i)

    def perform(self, move):
        """Make this move of the model with the code, in as many requests as it takes and no other's in between."""
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
            case ["operator", "retries", "with", body]:
                self._until_moved(Retrial(self, None if body == self.world.item.body else body))
            case ["operator", "cancels", *dies]:
                self._until_moved(Cancellation(self, dies=bool(dies)))
            case _:
                self._until_moved(_only(other for other in self.others if other.due == (kind, i)))

    def _until_moved(self, other):
        stands = self.world
        while self.world is stands:
            assert other in self.others, "it ended, and nothing had come of it"
            other.go_on()

    def finish(self, other):
        """Let a call of the reconciler or the operator go on to its end."""
        while other in self.others:
            other.go_on()

    def come_to_rest(self):
        """All calls end, and then all happens that happens by itself. No promise may be left open."""
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
        """End whatever still runs."""
        for call in [*self.live.values(), *self.stalled, *self.others]:
            call.call.kill()

    def compare(self):
        """The item and everything that runs is where the model says."""
        assert wrong_always(self.world) is None
        stalled = Counter((process.execution, process.point) for process in self.stalled)
        assert stalled <= Counter((i, point) for i, e in enumerate(self.world.executions) for point in e.stalled)
        entry, item = self.entry(), self.world.item
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
        }

    def _model_says(self, item):
        return {
            "state": item.state,
            "attempt": item.attempt,
            "owner": self.arn(item.owner),
            "order": self.orders[item.body].canonical(),
            "digest": self.orders[item.body].digest(),
            "starts": item.starts,
            "version": len(item.history),
            "history": [(step.state, step.attempt) for step in item.history],
            "owners": [self.arn(owner) for owner in item.owners],
            "conflicts": sorted(self.arn(i) for i in item.conflicts),
        }

    def _check_fields(self, entry):
        """What an attempt brings it has, and nothing of the attempt before."""
        assert (entry.enrichment is not None) == (State.ENRICHED in entry.reached)
        assert (entry.result is not None) == (entry.state is State.COMPLETED)
        assert (entry.error is not None) == (entry.state in RETRYABLE)
        owner = self.world.executions[self.world.item.owner]
        assert entry.execution_status in {None, owner.status} - {entry.state}


def _only(those):
    """The first of those, which must be some."""
    found = list(those)
    assert found, "nothing in the code is about to do what the model does"
    return found[0]
