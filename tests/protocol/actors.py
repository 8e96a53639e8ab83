"""The processes of executions, the reconciler and the operator.

Each runs the pipeline's own code, one request at a time, and says after each request which move of the model it was.
"""

import itertools
from dataclasses import replace

from orchestrator import steps
from shared.errors import PermanentError
from shared.executions.names import MAX_ATTEMPT
from shared.ledger.owner import AlreadyCompleted, Claimed, Ledger
from shared.ledger.states import RETRYABLE, TERMINAL, State
from tests.protocol import ledger_model as model
from tests.protocol.ledger_model import EDGES
from tests.protocol.paused import Call, Killed
from tests.protocol.pipeline_model import (
    CANCELS_LATE,
    CHECKPOINTS,
    CLAIM,
    COMPLETE,
    DELETED,
    DELETES,
    FINALIZE,
    FIRST_OF_STEP,
    FORGETS,
    RECORD_ENRICHMENT,
    RECORD_FAILURE,
    RESUMES,
    RUNNING,
    SUCCEEDED,
    mishaps,
    settle,
)
from tests.protocol.stand_ins import EnricherStandIn
from tools.operations.cancel import cancel
from tools.operations.forget import forget
from tools.operations.retry import retry

_NEXT_WRITE = {CLAIM: RECORD_ENRICHMENT, FINALIZE: COMPLETE}
_LOOKS = {"GetItem", "UpdateItem"}
_numbers = itertools.count(1)


class Process:
    """A process in one step of an execution. `point` is what it does next, in the model's words."""

    def __init__(self, followed, i, point):
        self.followed = followed
        self.execution = i
        self.point = point
        self.answers = []
        self.taken = 0
        self.enricher = EnricherStandIn(next(_numbers))
        me, ledger = followed.me(i), _Noted(Ledger(followed.ledger), self.answers)
        if point == CLAIM:
            self.call = Call(steps.enrich, followed.order(i), me, ledger, self.enricher, lambda _: None)
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
        """Send one request: the write that gives the answer, or one before it."""
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
        """The enricher fails during the call."""
        before = self.followed.entry()
        self.enricher.fails = True
        self.call.go_on()
        assert self.followed.entry() == before
        if self.live:
            self.followed.take("the enricher fails", self.execution, by=self)
        self._move_on()

    def die(self):
        """End a stalled process. In the model it never acts again."""
        self.call.kill()
        self.followed.stalled.remove(self)

    def _answer(self, before, after):
        """The last write's answer in the model's words. Its data must be equal to the item's."""
        match self.answers[-1]:
            case PermanentError() as error:
                return type(error).__name__
            case Claimed(starts, enrichment, resumed):
                assert (starts, enrichment, resumed) == (after.starts, after.enrichment, after.was_resumed)
                if resumed:
                    return model.RESUMED
                return model.CLAIMED if enrichment is None else model.RECORDED_ENRICHMENT
            case _ if after and after.forgotten_at:
                pass  # what was on record is gone
            case AlreadyCompleted(enrichment, result):
                assert (enrichment, result) == (after.enrichment, after.result)
                return model.RECORDED_RESULT
            case None:
                pass
            case recorded:
                assert recorded == (after.enrichment if self.point == RECORD_ENRICHMENT else after.result)
        return model.ON_RECORD if after == before else model.WRITTEN

    def _move_on(self):
        """Compare the code's next action with the model's, or see that the step is over in both."""
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
    """The ledger. It appends to `answers` what each write returned or raised."""

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
    """A call of the reconciler or the operator. Its result depends on what it last read from the ledger.

    `due` is a second move of the model, as (kind, execution), that must follow the first.
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
    """The reconciler's work on an ended execution after an event, or on an order that the sweep found stalled.

    It may end without a write only if the model, too, had nothing to do at the time of the last request.
    """

    def __init__(self, followed, i=None):
        self.execution = i
        self.told = None if i is None else followed.world.executions[i].status
        self.justified = False
        self.wrote = False
        if i is None:
            call = Call(followed.examiner.examine_order, followed.order_id)
        else:
            # An execution that was marked before the item was lost is found again by an operator's `recover`.
            lost = followed.world.item is None
            call = Call(followed.examiner.examine_execution, followed.arn(i), self.told, again=lost)
        super().__init__(followed, call)

    def saw(self, request, before, after):
        world = self.followed.world
        if self.execution is None:  # the first read says which execution to examine: the order's owner
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
                world.executions[self.execution].status == RUNNING
                or settle(self.followed.rules, world, self.execution)[0] is world
            )
            # The item that was read before decides whether the mark is correct.
            self.justified = nothing_to_do or (request == "marks?" and self.justified)

    def ended(self):
        if self.followed.world.item is None and _error_of(self.call) == "OrderUnknown":
            return  # the item was lost meanwhile; it is examined again
        assert self.call.error is None
        assert self.wrote or self.justified, "the reconciler wrote nothing, and the model would write"
        entry = self.followed.entry()
        if (
            self.told not in {None, SUCCEEDED}
            and not self.wrote
            and entry
            and entry.forgotten_at is None
            and entry.execution_arn == self.followed.arn(self.execution)
        ):
            assert entry.execution_status == (None if self.told == entry.state else self.told)

    def _take_mark(self, world):
        """Make the model's move, unless the execution is marked or is in the item: the model does not mark it then."""
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
    """The operator cancels the order. With `dies`, the command is killed after the write."""

    def __init__(self, followed, *, dies=False):
        self.dies = dies
        self.expected = None
        super().__init__(followed, Call(cancel, followed.order_id, followed.ledger, followed.executions))

    def saw(self, request, before, after):
        if request not in _LOOKS:
            return
        if moved(before, after) and after.state is State.CANCELLED:
            owner = self.followed.world.executions[self.followed.world.item.owner].status
            kind = "operator cancels" if owner in {RUNNING, DELETED} else CANCELS_LATE
            self.followed.take(f"{kind} and dies" if self.dies else kind)
            self.due = ("operator stops", self.followed.world.item.owner)
            if self.dies:
                self.call.kill()
        elif moved(before, after):
            self.followed.take("reconciler", self.followed.number(after.execution_arn))
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
    """The operator retries the order: unchanged, corrected, or from finalize. With `dies`, it ends after the mark."""

    def __init__(self, followed, body=None, *, resumes=False, dies=False):
        self.body = body
        self.resumes = resumes
        self.dies = dies
        self.before = None
        self.expected = None
        corrected = followed.orders[body] if body else None
        asked = (followed.order_id, followed.ledger, followed.executions, corrected)
        super().__init__(followed, Call(retry, *asked, from_finalize=resumes))

    def saw(self, request, before, after):
        item = self.followed.world.item
        wrote = moved(before, after)
        if wrote and self.before is not None:
            settled = self.followed.number(after.execution_arn)
            self.followed.take("reconciler", settled)
            succeeded = self.followed.world.executions[settled].status == SUCCEEDED
            self.expected = None if succeeded else "OrderEnded"
        elif request == "UpdateItem" and item is None:
            self.expected = "OrderUnknown"
        elif request in _LOOKS and self.before is None:
            self.expected = _refusal_of_a_retry(item, resumes=self.resumes)
            if self.expected is None and (wrote or (item.mark == model.RESUME) == self.resumes):
                self.before = item
                body = self.body or item.body
                kind = RESUMES if self.resumes else f"operator retries with {body}"
                self.followed.take(f"{kind} and dies" if self.dies else kind)
                self.due = (f"retry: attempt {item.attempt + 1} of {body}", None)
                if self.dies:
                    self.call.kill()
        elif request == "Invoke":
            self.expected = "OrderConflict" if self.followed.took[-1].outcome == "refused" else None

    def ended(self):
        if not isinstance(self.call.error, Killed):
            assert _error_of(self.call) == self.expected


class Erasure(_Other):
    """The operator forgets the order, and deletes its executions."""

    def __init__(self, followed):
        self.expected = None
        super().__init__(followed, Call(forget, followed.order_id, followed.ledger, followed.executions))

    def saw(self, request, before, after):
        if request in _LOOKS:
            item = self.followed.world.item
            if item is None:
                self.expected = "OrderUnknown"
            else:
                self.expected = None if item.state in TERMINAL else "IllegalTransition"
            if moved(before, after):
                self.followed.take(FORGETS)
        deletions = [move for move, _ in self.followed.possible() if move.kind == DELETES]
        self.due = (DELETES, deletions[0].execution) if deletions else None

    def ended(self):
        assert _error_of(self.call) == self.expected
        item, executions = self.followed.world.item, self.followed.world.executions
        assert self.expected or {executions[owner].status for owner in item.owners} == {DELETED}


def _refusal_of_a_retry(item, *, resumes):
    if item is None:
        return "OrderUnknown"
    if item.mark == model.FORGOTTEN:
        return "OrderForgotten"
    if item.state not in RETRYABLE:
        return "IllegalTransition"
    if item.attempt >= MAX_ATTEMPT:
        return "TooManyAttempts"
    return "NotResumable" if resumes and State.ENRICHED not in item.reached else None


def moved(before, after):
    """Whether the items differ in a field that the model has too."""
    return _known(before) != _known(after)


def _known(entry):
    return entry and replace(entry, execution_status=None)


def _error_of(call):
    return call.error and type(call.error).__name__
