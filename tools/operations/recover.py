"""Recovers the ledger from Lambda after items were deleted or an older version of them was put back.

Lambda has the input and the result of each execution until its retention ends. `recover` finds the ended executions
whose end the ledger does not have, and settles them.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from reconciler.examiner import Examiner
from reconciler.marks import Mark
from shared.errors import EntryUnreadable, OrderError
from shared.executions.client import SUCCEEDED, EndedExecution
from shared.executions.names import ExecutionName, stack_hash
from shared.ledger.entry import LedgerEntry
from shared.ledger.states import TERMINAL, State
from tools.operations.ledger_items import LedgerItems

READS_PER_SECOND: Final = 8
"""A pace for the examiner of `recover`. An account may read 30 a second, and the reconciler needs its part."""


@dataclass(frozen=True)
class Recovery:
    """How far `recover` is: executions that were listed, that differ from the ledger, and that were examined.

    `failed` has the error of each execution or item that could not be examined.
    """

    listed: int = 0
    differ: int = 0
    examined: int = 0
    failed: tuple[str, ...] = ()


def recover(
    since: datetime,
    examiner: Examiner,
    ledger: LedgerItems,
    on_progress: Callable[[Recovery], None] = lambda _: None,
) -> Recovery:
    """Bring the ends of all executions that were started since then to the ledger, and return the final figures.

    It can be stopped and run again at any time: settling twice changes nothing, and what the ledger has is not read
    from Lambda again. An execution that ended before the ledger's retention is left out: its item has expired. The
    examiner's pace limits the reads. `on_progress` is called after each page of the list and each examined execution.

    Raises `ExecutionUnavailable` when Lambda does not list, and DynamoDB's errors.
    """
    done = Recovery()
    retention = examiner.ledger.retention
    expired_before = datetime.now(UTC) - retention if retention else None
    found: list[_Difference] = []
    for page in examiner.executions.ended(since):
        kept = [one for one in page if expired_before is None or one.ended_at is None or one.ended_at > expired_before]
        differences, unreadable = _compared(kept, examiner, ledger)
        found += differences
        done = replace(
            done, listed=done.listed + len(page), differ=len(found), failed=(*done.failed, *map(str, unreadable))
        )
        on_progress(done)
    for difference in sorted(found, key=_Difference.turn):
        try:
            if difference.running_order is not None:
                # The item is of an earlier attempt, which may have ended too, or whose execution may be gone.
                examiner.examine_order(difference.running_order)
            examiner.examine_execution(difference.execution.arn, difference.execution.status, again=True)
        except OrderError as error:
            failure = f"{difference.execution.arn}: {type(error).__name__}: {error}"
            done = replace(done, failed=(*done.failed, failure))
        done = replace(done, examined=done.examined + 1)
        on_progress(done)
    return done


@dataclass(frozen=True)
class _Difference:
    """An ended execution whose end the ledger may not have. `running_order`: its order, if it has not ended there."""

    execution: EndedExecution
    name: ExecutionName | None
    running_order: str | None = None

    def turn(self) -> tuple[int, bool, bool]:
        """Where it comes among the others: attempt by attempt, and in each attempt the successes first."""
        return (self.name.attempt if self.name else 1, self.execution.status != SUCCEEDED, self.name is None)


def _compared(
    page: Iterable[EndedExecution], examiner: Examiner, ledger: LedgerItems
) -> tuple[list[_Difference], list[EntryUnreadable]]:
    """The executions of a page that differ from the ledger, and the errors of items that cannot be read."""
    names = {execution: _name_of(execution, examiner) for execution in page}
    items = ledger.of(name.order_id for name in names.values() if name)
    entries: dict[str, LedgerEntry] = {}
    unreadable: dict[str, EntryUnreadable] = {}
    for order_id, item in items.items():
        try:
            entries[order_id] = LedgerEntry.of(item)
        except EntryUnreadable as error:
            unreadable[order_id] = error
    marks = examiner.marks_of([execution.arn for execution in names])
    readable = {execution: name for execution, name in names.items() if name is None or name.order_id not in unreadable}
    return list(_differences(readable, entries, marks)), list(unreadable.values())


def _differences(
    names: dict[EndedExecution, ExecutionName | None], entries: dict[str, LedgerEntry], marks: dict[str, Mark]
) -> Iterator[_Difference]:
    for execution, name in names.items():
        entry = entries.get(name.order_id) if name else None
        # Without a name, only the execution's input says which order it is for.
        if name is None or entry is None:
            yield _Difference(execution, name)
        elif _differs(execution, name, entry, marked=execution.arn in marks):
            running = entry.state not in TERMINAL and entry.execution_arn != execution.arn
            yield _Difference(execution, name, entry.order_id if running else None)


def _differs(execution: EndedExecution, name: ExecutionName, entry: LedgerEntry, *, marked: bool) -> bool:
    if execution.status == SUCCEEDED:
        return entry.state is not State.COMPLETED
    if execution.arn == entry.execution_arn:
        return entry.state not in TERMINAL
    if execution.arn in entry.owners or entry.has_conflict(execution.arn):
        return False
    return not marked or name.attempt > entry.attempt


def _name_of(execution: EndedExecution, examiner: Examiner) -> ExecutionName | None:
    """The execution's name, or None when it is not one of this stack's."""
    name = ExecutionName.in_arn(execution.arn)
    return name if name is not None and name.stack == stack_hash(examiner.executions.stack_id) else None
