"""Stores executions: running ones in memory, ended ones in a SQLite file, which also has the list of all.

A stack that keeps its state also writes running executions to the file at each change. The runner's own SQLite store
parses an execution at each read, which is once for each request and timer. Here only ended executions are parsed, and
they use no memory.
"""

import json
import sqlite3
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aws_durable_execution_sdk_python_testing.execution import Execution
from aws_durable_execution_sdk_python_testing.model import Execution as Summary
from aws_durable_execution_sdk_python_testing.stores.base import BaseExecutionStore

from durable_local.errors import LocalStackError
from durable_local.runner.record import ExecutionRecord

# Lists and the search for expired executions read only columns, not records.
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
    """A filter for the executions of a function; None: any. Times are exclusive, on the stack's clock."""

    function: str
    versions: frozenset[str] | None = None
    name: str | None = None
    statuses: frozenset[str] | None = None
    started_after: datetime | None = None
    started_before: datetime | None = None


class Store(BaseExecutionStore):
    """The executions of the stack. `keep`: those in `file` continue. Raises LocalStackError if they cannot be read."""

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
        """Stores the execution as it is now."""
        assert isinstance(execution, ExecutionRecord)
        # Under one lock, so that of two concurrent saves the last one writes the final state.
        with self._lock:
            if execution.is_complete and self._database is not None:
                self._running.pop(execution.durable_execution_arn, None)
            else:
                self._running[execution.durable_execution_arn] = execution
            self._write(SAVE, _row(execution, whole=self._keep or execution.is_complete))

    def update(self, execution: Execution) -> None:
        """The same as `save`: the runner has two names for it."""
        self.save(execution)

    def load(self, execution_arn: str) -> ExecutionRecord:
        """The execution of that ARN, always the same object while it runs. Raises KeyError."""
        with self._lock:
            if (running := self._running.get(execution_arn)) is not None:
                return running
            rows = self._read("SELECT record FROM executions WHERE arn = ?", (execution_arn,))
        if not rows:
            raise KeyError(execution_arn)
        return ExecutionRecord.from_json_dict(json.loads(rows[0][0]))

    def named(self, function: str, name: str) -> ExecutionRecord | None:
        """The execution of that name; None if there is none, it was deleted or its retention has ended."""
        with self._lock:
            rows = self._read("SELECT arn FROM executions WHERE function = ? AND name = ?", (function, name))
        try:
            return self.load(rows[0][0]) if rows else None
        except KeyError:
            return None

    def running(self) -> list[ExecutionRecord]:
        """The executions that have not ended."""
        with self._lock:
            return list(self._running.values())

    def expired(self, now: datetime) -> list[str]:
        """The ARNs of executions whose retention has ended."""
        with self._lock:
            return [arn for (arn,) in self._read("SELECT arn FROM executions WHERE expires <= ?", (_text(now),))]

    def select(
        self, selection: Selection, limit: int, *, oldest_first: bool, beyond: tuple[str, str] | None = None
    ) -> list[Summary]:
        """At most `limit` selected executions by start time, from after `beyond`, the `place_of` one."""
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
        """All executions by start time, each with its record: part of the runner's interface."""
        with self._lock:
            arns = self._read("SELECT arn FROM executions ORDER BY started, arn")
        return [self.load(arn) for (arn,) in arns]

    def delete(self, execution_arn: str) -> None:
        """Deletes the execution of that ARN."""
        with self._lock:
            self._running.pop(execution_arn, None)
            self._write("DELETE FROM executions WHERE arn = ?", (execution_arn,))

    def clock(self) -> datetime | None:
        """The last stored time of the stack's clock; None at the first start."""
        with self._lock:
            rows = self._read("SELECT now FROM clock")
        return datetime.fromisoformat(rows[0][0]) if rows else None

    def keep_clock(self, now: datetime) -> None:
        """Stores the time, so that the clock does not go backwards at a restart."""
        with self._lock:
            self._write("INSERT OR REPLACE INTO clock VALUES (1, ?)", (now.isoformat(),))

    def close(self) -> None:
        """Closes the file; later changes are in memory only."""
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
    """A place in a list that new executions do not move; ARNs break ties."""
    return _text(summary.start_timestamp) or "", summary.durable_execution_arn


def _opened(file: Path) -> sqlite3.Connection:
    database = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
    # Writes survive a killed process, but not a crash of the machine.
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
    """Text that sorts like the time."""
    return None if time is None else time.astimezone(UTC).isoformat(timespec="microseconds")


def _list(values: frozenset[str] | None) -> str | None:
    return None if values is None else json.dumps(sorted(values))
