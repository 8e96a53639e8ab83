"""Finds ends that no event reported: Lambda sends status changes to EventBridge on a best-effort basis.

It needs two lists. Only Lambda's list of executions that ended badly contains those that died before their first write.
Only the ledger's list of stalled orders contains those whose execution was deleted or has expired.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Final

from aws_lambda_powertools import Logger

from reconciler.examiner import Examiner
from reconciler.marks import Mark
from shared.aws.clock import timestamp
from shared.errors import TransientError
from shared.ledger.states import TERMINAL, State

LOOKBACK: Final = timedelta(days=1)
"""How long after its end a sweep still finds an execution. The reconciler may be down for that long."""

STALL_THRESHOLD: Final = timedelta(minutes=5)
"""An order whose state does not change for this long has stalled. In WAITING, the order's wait is added."""

RESERVE_SECONDS: Final = 20
"""A sweep begins no new case in the last seconds before its function's timeout."""

_MAX_PAGES: Final = 100
"""Pages of a thousand executions: more than one sweep can examine, and they fit into its memory and half its time."""

_MAX_STALLED: Final = 5_000


@dataclass(frozen=True)
class _Case:
    """One execution or order to examine, and its fields in a log line."""

    subject: dict[str, str]
    examine: Callable[[], None]


@dataclass(frozen=True)
class Sweep:
    """One sweep over both lists. `wait` and `execution_timeout` are the orchestrator's."""

    examiner: Examiner
    wait: timedelta
    execution_timeout: timedelta
    logger: Logger

    def run(self, remaining_seconds: Callable[[], float]) -> dict[str, int]:
        """Examine all cases until `remaining_seconds()`, the time to the function's timeout, is too short.

        Returns how many cases there were, how many `failed`, and how many were `left`. A case that fails is logged, and
        the others are still examined. If a list fails, the cases of the other are still examined, and then the list's
        error is raised: `ExecutionUnavailable`, or `LedgerUnavailable`.
        """
        now = datetime.now(UTC)
        cases: list[_Case] = []
        listing_error: TransientError | None = None
        for found in (self._ended_badly(now), self._stalled(now)):
            try:
                cases.extend(found)
            except TransientError as error:
                self.logger.error("listing failed", reason=f"{type(error).__name__}: {error}")
                listing_error = error
        # When there are more cases than one sweep can examine, each is examined by some later sweep.
        random.shuffle(cases)
        examined = failed = 0
        for case in cases:
            if remaining_seconds() < RESERVE_SECONDS:
                self.logger.warning("sweep not finished", cases=len(cases), left=len(cases) - examined)
                break
            examined += 1
            try:
                case.examine()
            except Exception as error:
                failed += 1
                reason = f"{type(error).__name__}: {error}"
                self.logger.exception("not reconciled", extra={**case.subject, "reason": reason})
        swept = {"cases": len(cases), "failed": failed, "left": len(cases) - examined}
        self.logger.info("swept", extra=swept)
        if listing_error is not None:
            raise listing_error
        return swept

    def _ended_badly(self, now: datetime) -> Iterator[_Case]:
        # Lambda selects by the start, which is at most the execution timeout before the end.
        pages = self.examiner.executions.ended_badly(now - self.execution_timeout - LOOKBACK)
        for page in islice(pages, _MAX_PAGES):
            recent = [
                execution for execution in page if execution.ended_at is None or execution.ended_at > now - LOOKBACK
            ]
            marks = self.examiner.marks_of([execution.arn for execution in recent])
            for execution in recent:
                if marks.get(execution.arn) is not Mark.FINAL:
                    examine = partial(self.examiner.examine_execution, execution.arn, execution.status)
                    yield _Case({"executionArn": execution.arn}, examine)
        if next(pages, None):
            self.logger.warning("more executions ended badly than a sweep lists", extra={"pages": _MAX_PAGES})

    def _stalled(self, now: datetime) -> Iterator[_Case]:
        for state in State:
            if state in TERMINAL:
                continue
            threshold = STALL_THRESHOLD + (self.wait if state is State.WAITING else timedelta())
            for order_id in self.examiner.ledger.in_state(state, _MAX_STALLED, timestamp(now - threshold)):
                yield _Case({"orderId": order_id}, partial(self.examiner.examine_order, order_id))
