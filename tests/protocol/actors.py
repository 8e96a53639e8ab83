"""Those who work on an order: processes of executions, the reconciler, the operator. Each runs the pipeline's own code,
one request at a time, and says after each which move of the model that was."""

import itertools
from dataclasses import replace

from orchestrator import steps
from shared.errors import PermanentError
from shared.executions.names import MAX_ATTEMPT
from shared.ledger.owner import AlreadyCompleted, Claimed, Ledger
from shared.ledger.states import RETRYABLE, State
from tests.protocol import ledger_model as model
from tests.protocol.ledger_model import EDGES
from tests.protocol.paused import Call, Killed
from tests.protocol.pipeline_model import (
    CHECKPOINTS,
    CLAIM,
    COMPLETE,
    FINALIZE,
    FIRST_OF_STEP,
    NOT_SUCCEEDED,
    RECORD_ENRICHMENT,
    RECORD_FAILURE,
    RUNNING,
    mishaps,
    settle,
)
from tests.protocol.stand_ins import EnricherStandIn
from tools.operations.cancel import cancel
from tools.operations.retry import retry

_NEXT_WRITE = {CLAIM: RECORD_ENRICHMENT, FINALIZE: COMPLETE}
_LOOKS = {"GetItem", "UpdateItem"}
_numbers = itertools.count(1)


class Process:
    """A process at one step of an execution. `point` is what it does next, in the model's words."""

    def __init__(self, followed, i, point):
        self.followed = followed
        self.execution = i
        self.point = point
        self.answers = []
        self.taken = 0
        self.enricher = EnricherStandIn(next(_numbers))
        me, ledger = followed.me(i), _Noted(Ledger(followed.ledger), self.answers)
        if point == CLAIM:
            self.call = Call(steps.enrich, followed.order(i), me, ledger, self.enricher)
        elif point == FINALIZE:
            self.call = Call(steps.finalize, me, ledger)
        else:
            assert point == RECORD_FAILURE
            self.call = Call(steps.record_failure, me, ledger, "EnrichmentRejected", "no such customer")

    @property
    def live(self):
        """Whether the execution waits for this process."""
        return self.followed.live.get(self.execution) is self

    def go_on(self):
        """One request: a write that is answered, or one on the way there."""
        before = self.followed.entry()
        if self.call.request is not None:  # a claim of an attempt after the last is refused without a request
            self.call.go_on()
        after = self.followed.entry()
        if len(self.answers) == self.taken:
            assert after == before
            return
        self.taken = len(self.answers)
        kind = self.point if self.live else f"stalled: {self.point}"
        self.followed.take(kind, self.execution, self._answer(before, after), by=self)
        self._move_on()
        self.followed.compare()

    def fail(self):
        """The enricher, which is being asked, fails."""
        before = self.followed.entry()
        self.enricher.fails = True
        self.call.go_on()
        assert self.followed.entry() == before
        if self.live:
            self.followed.take("the enricher fails", self.execution, by=self)
        self._move_on()

    def die(self):
        """A stalled process is gone: in the model it never acts again."""
        self.call.kill()
        self.followed.stalled.remove(self)

    def _answer(self, before, after):
        """The last write's answer in the model's words. What it gave must be what is on record."""
        match self.answers[-1]:
            case PermanentError() as error:
                return type(error).__name__
            case Claimed(starts, enrichment):
                assert (starts, enrichment) == (after.starts, after.enrichment)
                return model.CLAIMED if enrichment is None else model.RECORDED_ENRICHMENT
            case AlreadyCompleted(enrichment, result):
                assert (enrichment, result) == (after.enrichment, after.result)
                return model.RECORDED_RESULT
            case None:
                pass
            case recorded:
                assert recorded == (after.enrichment if self.point == RECORD_ENRICHMENT else after.result)
        return model.ON_RECORD if after == before else model.WRITTEN

    def _move_on(self):
        """The code stands where the model says, or its step is over in both."""
        says = self.followed.world.executions[self.execution].live
        over = self.call.request is None
        if not over:
            self.point = _NEXT_WRITE[self.point]
        if not self.live:
            if over:
                self.followed.stalled.remove(self)
        elif not over:
            assert says == self.point
        elif says not in CHECKPOINTS:
            assert says is None or FIRST_OF_STEP[says] != FIRST_OF_STEP[self.point]
            del self.followed.live[self.execution]


class _Noted:
    """The ledger, and what each of its writes answered or raised."""

    def __init__(self, ledger, answers):
        self._ledger = ledger
        self._answers = answers

    def __getattr__(self, name):
        def write(*arguments):
            try:
                answer = getattr(self._ledger, name)(*arguments)
            except PermanentError as error:
                self._answers.append(error)
                raise
            self._answers.append(answer)
            return answer

        return write


class _Other:
    """A call of the reconciler or the operator. It answers by what it saw at its last look at the ledger.

    `due` is the model's move, kind and execution, that it has yet to make once it has begun with another.
    """

    def __init__(self, followed, call):
        self.followed = followed
        self.due = None
        self.call = call
        followed.others.append(self)

    def go_on(self):
        """One request."""
        request, before, taken = self.call.request, self.followed.entry(), len(self.followed.took)
        self.call.go_on()
        self.saw(request, before, self.followed.entry())
        if self.due in {(move.kind, move.execution) for move in self.followed.took[taken:]}:
            self.due = None
        if self.call.request is None:
            self.followed.others.remove(self)
            self.ended()
        self.followed.compare()


class Reconciliation(_Other):
    """The reconciler at work on an ended execution, told of by an event; or on the order, when the sweep saw it stand.

    It may end without a write only where, at its last request, the model had nothing left to do either.
    """

    def __init__(self, followed, i=None):
        self.execution = i
        self.told = None if i is None else followed.world.executions[i].status
        self.justified = False
        self.wrote = False
        if i is None:
            call = Call(followed.examiner.examine_order, followed.order_id)
        else:
            call = Call(followed.examiner.examine_execution, followed.arn(i), self.told)
        super().__init__(followed, call)

    def saw(self, request, before, after):
        world = self.followed.world
        if self.execution is None:  # its first look: the order's owner is what this will be about
            if world.item is None:
                self.justified = True
                return
            self.execution = world.item.owner
        if moved(before, after):
            noted = before is not None and before.conflicts != after.conflicts
            self.followed.take("reconciler notes the conflict" if noted else "reconciler", self.execution)
            self.wrote = True
        elif request == "mark":
            self._take_mark(world)
        elif self.call.request == "SendMessage":
            if self.execution not in world.noting:
                self.followed.take("reconciler", self.execution, "rejects its order")
            self.wrote = True
            self.due = ("reconciler notes the conflict", self.execution)
        else:
            nothing_to_do = (
                world.executions[self.execution].status not in NOT_SUCCEEDED
                or settle(self.followed.rules, world, self.execution)[0] is world
            )
            # What a mark means is decided by the item that was read before it.
            self.justified = nothing_to_do or (request == "marks?" and self.justified)

    def ended(self):
        assert self.call.error is None
        assert self.wrote or self.justified, "the reconciler left undone what the model would do"
        entry = self.followed.entry()
        if self.told and not self.wrote and entry and entry.execution_arn == self.followed.arn(self.execution):
            assert entry.execution_status == (None if self.told == entry.state else self.told)

    def _take_mark(self, world):
        """The model's move, unless the execution has a mark or a trace in the item: the model marks no such one."""
        i = self.execution
        marks = [
            move.kind
            for move, _ in mishaps(self.followed.rules, world)
            if move.kind.startswith("reconciler marks") and move.execution == i
        ]
        if marks:
            self.followed.take(marks[0], i)
        else:
            assert i in world.marked or i in world.item.conflicts or i in world.item.owners


class Cancellation(_Other):
    """The operator cancels the order, and perhaps dies when that is written."""

    def __init__(self, followed, *, dies=False):
        self.dies = dies
        self.expected = None
        super().__init__(followed, Call(cancel, followed.order_id, followed.ledger, followed.executions))

    def saw(self, request, before, after):
        if request not in _LOOKS:
            return
        if moved(before, after):
            self.followed.take("operator cancels and dies" if self.dies else "operator cancels")
            self.due = ("operator stops", self.followed.world.item.owner)
            if self.dies:
                self.call.kill()
        item = self.followed.world.item
        if item is None:
            self.expected = "OrderUnknown"
        elif item.state is State.CANCELLED:
            self.expected = None
        else:
            self.expected = "still to be cancelled" if (item.state, State.CANCELLED) in EDGES else "IllegalTransition"

    def ended(self):
        if self.dies and isinstance(self.call.error, Killed):
            return
        assert _error_of(self.call) == self.expected
        if self.expected is None:
            world = self.followed.world
            assert world.executions[world.item.owner].status != RUNNING


class Retrial(_Other):
    """The operator retries the order, as it was or with another body."""

    def __init__(self, followed, body=None):
        self.body = body
        self.before = None
        self.expected = None
        corrected = followed.orders[body] if body else None
        super().__init__(followed, Call(retry, followed.order_id, followed.ledger, followed.executions, corrected))

    def saw(self, request, before, after):
        assert after == before
        item = self.followed.world.item
        if request == "GetItem" and self.before is None:
            self.expected = _refusal_of_a_retry(item)
            if self.expected is None:
                self.before = item
                body = self.body or item.body
                self.followed.take(f"operator retries with {body}")
                self.due = (f"retry: attempt {item.attempt + 1} of {body}", None)
        elif request == "Invoke":
            self.expected = "OrderConflict" if self.followed.took[-1].outcome == "refused" else None
        elif request == "GetItem":
            # It was about to answer with an execution that has ended.
            self.expected = "OrderEnded" if item.history == self.before.history else None

    def ended(self):
        assert _error_of(self.call) == self.expected


def _refusal_of_a_retry(item):
    if item is None:
        return "OrderUnknown"
    if item.state not in RETRYABLE:
        return "IllegalTransition"
    return "TooManyAttempts" if item.attempt >= MAX_ATTEMPT else None


def moved(before, after):
    """Whether the item differs in anything that the model knows of."""
    return _known(before) != _known(after)


def _known(entry):
    return entry and replace(entry, execution_status=None)


def _error_of(call):
    return call.error and type(call.error).__name__
