"""Where executions are: those that run in memory, those that have ended in a file, which also lists them all.

A stack that keeps its state writes the running ones to the file as well, at each change: the runner's own SQLite
store reads and parses an execution anew for whoever looks at it, which is once per request and timer. Here that
is so only of what has ended, and so however many have ended, they cost no memory.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aws_durable_execution_sdk_python_testing.model import Execution as Summary
from aws_durable_execution_sdk_python_testing.stores.base import BaseExecutionStore

from durable_local.errors import LocalStackError
from durable_local.runner.record import ExecutionRecord

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from aws_durable_execution_sdk_python_testing.execution import Execution

# What others ask for is in columns, so that a list or a look for what has expired reads no record.
SCHEMA = """
    CREATE TABLE IF NOT EXISTS executions (
        arn TEXT PRIMARY KEY, function TEXT NOT NULL, version TEXT NOT NULL, name TEXT NOT NULL,
        status TEXT NOT NULL, started TEXT NOT NULL, ended TEXT, expires TEXT, record TEXT
    );
    CREATE INDEX IF NOT EXISTS by_start ON executions (function, started, arn);
    CREATE INDEX IF NOT EXISTS by_name ON executions (function, name);
    CREATE INDEX IF NOT EXISTS by_expiry ON executions (expires) WHERE expires IS NOT NULL;
    CREATE TABLE IF NOT EXISTS clock (only INTEGER PRIMARY KEY CHECK (only = 1), now TEXT NOT NULL);
"""
SAVE = """
    INSERT INTO executions VALUES (:arn, :function, :version, :name, :status, :started, :ended, :expires, :record)
    ON CONFLICT (arn) DO UPDATE
    SET status = excluded.status, ended = excluded.ended, expires = excluded.expires, record = excluded.record
"""
SELECT = """
    SELECT arn, name, status, started, ended FROM executions
    WHERE function = :function
    AND (:name IS NULL OR name = :name)
    AND (:versions IS NULL OR version IN (SELECT value FROM json_each(:versions)))
    AND (:statuses IS NULL OR status IN (SELECT value FROM json_each(:statuses)))
    AND (:after IS NULL OR started > :after)
    AND (:before IS NULL OR started < :before)
"""
OLDEST_FIRST = "AND (:place IS NULL OR (started, arn) > (:place, :place_arn)) ORDER BY started, arn LIMIT :limit"
NEWEST_FIRST = (
    "AND (:place IS NULL OR (started, arn) < (:place, :place_arn)) ORDER BY started DESC, arn DESC LIMIT :limit"
)


@dataclass(frozen=True)
class Selection:
    """Which executions of a function are meant; None: any. Times are exclusive, on the stack's clock."""

    function: str
    versions: frozenset[str] | None = None
    name: str | None = None
    statuses: frozenset[str] | None = None
    started_after: datetime | None = None
    started_before: datetime | None = None


class Store(BaseExecutionStore):
    """The executions of the stack; `keep`: those that `file` holds go on. Raises LocalStackError if they cannot."""

    def __init__(self, file: Path, *, keep: bool = False) -> None:
        self._keep = keep
        self._running: dict[str, ExecutionRecord] = {}
        self._lock = threading.Lock()
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._database: sqlite3.Connection | None = _opened(file)
            for (record,) in self._database.execute("SELECT record FROM executions WHERE ended IS NULL"):
                execution = ExecutionRecord.from_json_dict(json.loads(record))
                self._running[execution.durable_execution_arn] = execution
        except (sqlite3.Error, ValueError, KeyError, TypeError) as error:
            message = f"the kept executions cannot be read ({error!r}); remove {file.parent} to start without"
            raise LocalStackError(message) from error

    def save(self, execution: Execution) -> None:
        """Keeps the execution as it is now."""
        assert isinstance(execution, ExecutionRecord)
        # As a whole: of two that save the same execution, the last one writes what it is at last.
        with self._lock:
            if execution.is_complete and self._database is not None:
                self._running.pop(execution.durable_execution_arn, None)
            else:
                self._running[execution.durable_execution_arn] = execution
            self._write(SAVE, _row(execution, whole=self._keep or execution.is_complete))

    def update(self, execution: Execution) -> None:
        """The same: the runner has two names for it."""
        self.save(execution)

    def load(self, execution_arn: str) -> ExecutionRecord:
        """The one of that ARN: for as long as it runs always the same object. Raises KeyError."""
        with self._lock:
            if (running := self._running.get(execution_arn)) is not None:
                return running
            rows = self._read("SELECT record FROM executions WHERE arn = ?", (execution_arn,))
        if not rows:
            raise KeyError(execution_arn)
        return ExecutionRecord.from_json_dict(json.loads(rows[0][0]))

    def named(self, function: str, name: str) -> ExecutionRecord | None:
        """The execution of that name; None also for one that was deleted or whose retention has ended."""
        with self._lock:
            rows = self._read("SELECT arn FROM executions WHERE function = ? AND name = ?", (function, name))
        try:
            return self.load(rows[0][0]) if rows else None
        except KeyError:
            return None

    def running(self) -> list[ExecutionRecord]:
        """Those that have not ended."""
        with self._lock:
            return list(self._running.values())

    def expired(self, now: datetime) -> list[str]:
        """The ARNs of those that nothing should remember any more."""
        with self._lock:
            return [arn for (arn,) in self._read("SELECT arn FROM executions WHERE expires <= ?", (_text(now),))]

    def select(
        self, selection: Selection, limit: int, *, oldest_first: bool, beyond: tuple[str, str] | None = None
    ) -> list[Summary]:
        """At most `limit` of those meant, in the order of their starts, from after the `place_of` one."""
        place, place_arn = beyond or (None, None)
        values = {
            "function": selection.function,
            "name": selection.name,
            "versions": _list(selection.versions),
            "statuses": _list(selection.statuses),
            "after": _text(selection.started_after),
            "before": _text(selection.started_before),
            "place": place,
            "place_arn": place_arn,
            "limit": limit,
        }
        with self._lock:
            rows = self._read(SELECT + (OLDEST_FIRST if oldest_first else NEWEST_FIRST), values)
        return [_summary(*row) for row in rows]

    def list_all(self) -> list[Execution]:
        """All of them, in the order of their starts, each read whole: the runner's interface wants it."""
        with self._lock:
            arns = self._read("SELECT arn FROM executions ORDER BY started, arn")
        return [self.load(arn) for (arn,) in arns]

    def delete(self, execution_arn: str) -> None:
        """Forgets the one of that ARN."""
        with self._lock:
            self._running.pop(execution_arn, None)
            self._write("DELETE FROM executions WHERE arn = ?", (execution_arn,))

    def clock(self) -> datetime | None:
        """The time at which the stack was last seen running; None for a first start."""
        with self._lock:
            rows = self._read("SELECT now FROM clock")
        return datetime.fromisoformat(rows[0][0]) if rows else None

    def keep_clock(self, now: datetime) -> None:
        """Remembers the time, so that it does not run backwards when the stack starts again."""
        with self._lock:
            self._write("INSERT OR REPLACE INTO clock VALUES (1, ?)", (now.isoformat(),))

    def close(self) -> None:
        """Ends the writing; what happens to executions from now on is in memory only."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None

    def _write(self, statement: str, values: tuple[str, ...] | Mapping[str, Any]) -> None:
        if self._database is not None:
            self._database.execute(statement, values)

    def _read(self, query: str, values: tuple[Any, ...] | Mapping[str, Any] = ()) -> list[Any]:
        return self._database.execute(query, values).fetchall() if self._database is not None else []


def place_of(summary: Summary) -> tuple[str, str]:
    """A place in a list that stays where it is while executions are added; ARNs break ties."""
    return _text(summary.start_timestamp) or "", summary.durable_execution_arn


def _opened(file: Path) -> sqlite3.Connection:
    database = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
    # What is written survives the end of the process at any instant, though not the end of the machine.
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.executescript(SCHEMA)
    return database


def _row(execution: ExecutionRecord, *, whole: bool) -> dict[str, str | None]:
    return {
        "arn": execution.durable_execution_arn,
        "function": execution.start_input.function_name,
        "version": execution.executed_version(),
        "name": execution.start_input.execution_name,
        "status": execution.status,
        "started": _text(execution.started),
        "ended": _text(execution.ended),
        "expires": _text(execution.expires),
        "record": json.dumps(execution.to_json_dict()) if whole else None,
    }


def _summary(arn: str, name: str, status: str, started: str, ended: str | None) -> Summary:
    return Summary(
        durable_execution_arn=arn,
        durable_execution_name=name,
        function_arn=arn.partition("/durable-execution/")[0],
        status=status,
        start_timestamp=datetime.fromisoformat(started),
        end_timestamp=datetime.fromisoformat(ended) if ended else None,
    )


def _text(time: datetime | None) -> str | None:
    """Sorts as the time does."""
    return None if time is None else time.astimezone(UTC).isoformat(timespec="microseconds")


def _list(values: frozenset[str] | None) -> str | None:
    return None if values is None else json.dumps(sorted(values))
