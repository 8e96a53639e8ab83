"""Looks for ends that no event told of: status changes reach EventBridge as a best effort.

Two lists, because each misses something: Lambda's of executions that ended badly has those that died before their
first write, the ledger's of orders that do not move has those whose execution is gone.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Final

from aws_lambda_powertools import Logger

from reconciler.marks import Mark
from reconciler.reconciler import Reconciler
from shared.aws.clock import timestamp
from shared.errors import TransientError
from shared.ledger.states import TERMINAL, State

LATE: Final = timedelta(days=1)
"""For how long after its end an execution is still looked for: an outage of the reconciler."""

STILL: Final = timedelta(minutes=5)
"""How long an order may stand in a state, beside its wait, before its execution is looked at."""

RESERVE_S: Final = 20
"""How long before its own deadline a sweep begins nothing new, in seconds."""

_MAX_PAGES: Final = 100
"""Of a thousand executions each: more than one sweep can look at, and what its memory and half its time can hold."""

_MAX_UNMOVED: Final = 5_000


@dataclass(frozen=True)
class _Case:
    """One thing to look at, and how a log line names it."""

    subject: dict[str, str]
    look: Callable[[], None]


@dataclass(frozen=True)
class Sweep:
    """`wait` and `execution_timeout` are the orchestrator's."""

    reconciler: Reconciler
    wait: timedelta
    execution_timeout: timedelta
    logger: Logger

    def run(self, remaining_s: Callable[[], float]) -> dict[str, int]:
        """Reconcile what is found until `remaining_s`, the seconds to the function's deadline, runs out.

        Answers how many cases there were, how many `failed`, and how many were `left`. One that fails is logged and
        keeps no other waiting. Nor does a list that cannot be had, but then the sweep ends in its error:
        `ExecutionUnavailable` or `LedgerUnavailable`.
        """
        now = datetime.now(UTC)
        cases: list[_Case] = []
        unlisted: TransientError | None = None
        for found in (self._ended_badly(now), self._standing_still(now)):
            try:
                cases.extend(found)
            except TransientError as error:
                self.logger.error("list not to be had", reason=f"{type(error).__name__}: {error}")
                unlisted = error
        # Where there are more than one sweep can read, each gets its turn in another.
        random.shuffle(cases)
        looked = failed = 0
        for case in cases:
            if remaining_s() < RESERVE_S:
                self.logger.warning("sweep not finished", cases=len(cases), left=len(cases) - looked)
                break
            looked += 1
            try:
                case.look()
            except Exception as error:
                failed += 1
                reason = f"{type(error).__name__}: {error}"
                self.logger.exception("not reconciled", extra={**case.subject, "reason": reason})
        swept = {"cases": len(cases), "failed": failed, "left": len(cases) - looked}
        self.logger.info("swept", extra=swept)
        if unlisted is not None:
            raise unlisted
        return swept

    def _ended_badly(self, now: datetime) -> Iterator[_Case]:
        # Lambda selects by the start, which lies before the end by the execution timeout at most.
        pages = self.reconciler.executions.ended_badly(now - self.execution_timeout - LATE)
        for page in islice(pages, _MAX_PAGES):
            late = [execution for execution in page if execution.ended_at is None or execution.ended_at > now - LATE]
            marks = self.reconciler.marks_of([execution.arn for execution in late])
            for execution in late:
                if marks.get(execution.arn) is not Mark.FINAL:
                    look = partial(self.reconciler.ended, execution.arn, execution.status)
                    yield _Case({"executionArn": execution.arn}, look)
        if next(pages, None):
            self.logger.warning("more executions ended badly than a sweep lists", extra={"pages": _MAX_PAGES})

    def _standing_still(self, now: datetime) -> Iterator[_Case]:
        for state in State:
            if state in TERMINAL:
                continue
            patience = STILL + (self.wait if state is State.WAITING else timedelta())
            for order_id in self.reconciler.ledger.in_state(state, _MAX_UNMOVED, timestamp(now - patience)):
                yield _Case({"orderId": order_id}, partial(self.reconciler.unmoved, order_id))
