"""Finds ends that no event reported: Lambda sends status changes to EventBridge on a best-effort basis.

It needs two lists. Only Lambda's list of executions that ended badly contains those that died before their first write.
Only the ledger's list of stalled orders contains those whose execution was deleted or has expired.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Final

from aws_lambda_powertools import Logger

from reconciler.examiner import Examiner
from reconciler.marks import Mark
from reconciler.stalled import stalled_orders
from shared.errors import TransientError
from shared.executions.client import UNSUCCESSFUL

LOOKBACK: Final = timedelta(days=1)
"""How long after its end a sweep still finds an execution. The reconciler may be down for that long."""

RESERVE_SECONDS: Final = 20
"""A sweep begins no new case in the last seconds before its function's timeout."""

_MAX_PAGES: Final = 100
"""Pages of a thousand executions: more than one sweep can examine, and they fit into its memory and half its time."""

Emit = Callable[[Mapping[str, Sequence[float]]], None]
"""Is given the values of each metric by its name."""


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

    def run(self, remaining_seconds: Callable[[], float], emit: Emit) -> dict[str, int]:
        """Examine all cases until `remaining_seconds()`, the time to the function's timeout, is too short.

        Returns how many cases there were, how many `failed`, and how many were `left`, and gives `emit` the metrics.
        A case that fails is logged, and the others are still examined. If a list fails, the cases of the other are
        still examined, and then the list's error is raised: `ExecutionUnavailable`, or `LedgerUnavailable`.
        """
        now = datetime.now(UTC)
        cases: list[_Case] = []
        metrics: dict[str, list[float]] = {}
        ended_before = self.examiner.ended.total()
        listing_error: TransientError | None = None
        for metric, found in (("ExecutionsEndedBadly", self._ended_badly(now)), ("StuckOrders", self._stalled(now))):
            try:
                before = len(cases)
                cases.extend(found)
                metrics[metric] = [len(cases) - before]
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
        ended = self.examiner.ended.total() - ended_before
        emit({**metrics, "SweepEnded": [ended], "SweepFailed": [failed], "SweepLeft": [swept["left"]]})
        self.logger.info("swept", extra={**swept, "ended": ended})
        if listing_error is not None:
            raise listing_error
        return swept

    def _ended_badly(self, now: datetime) -> Iterator[_Case]:
        # Lambda selects by the start, which is at most the execution timeout before the end.
        pages = self.examiner.executions.ended(now - self.execution_timeout - LOOKBACK, UNSUCCESSFUL)
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
        for order in stalled_orders(self.examiner.ledger, self.wait, now):
            yield _Case({"orderId": order.order_id}, partial(self.examiner.examine_order, order.order_id))
